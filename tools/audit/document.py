"""A document of headings, facts and tables, as a page of HTML or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from ..drawing.page import page
from ..drawing.style import escaped
from ..terminal import clean

UNBROKEN = 14
"""Characters of a cell up to which it is kept on a line."""


class Code(msgspec.Struct, frozen=True):
    """Text to be read letter by letter: a digest, an id. ``whole`` is all of it, if it is cut."""

    text: str
    whole: str = ""


Cell = str | Code


class Heading(msgspec.Struct, frozen=True):
    """A title; level 1 is that of the document."""

    level: int
    text: str


class Paragraph(msgspec.Struct, frozen=True):
    """Prose; ``mood`` is ``ok``, ``bad`` or nothing."""

    text: str
    mood: str = ""


class Facts(msgspec.Struct, frozen=True):
    """Names with what they are."""

    rows: Sequence[tuple[str, Cell]]


class Table(msgspec.Struct, frozen=True):
    """Rows under headers; a cell may have several parts."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell | Sequence[Cell]]]


class Drawn(msgspec.Struct, frozen=True):
    """An SVG under a title, which only a page shows."""

    title: str
    svg: str


Block = Heading | Paragraph | Facts | Table | Drawn


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """A page of its own; all text in it is escaped."""
    return page(title, "\n".join(map(_html, blocks)))


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escaped(block.text)}</h{block.level}>"
        case Paragraph():
            return f'<p class="{block.mood}">{escaped(block.text)}</p>'
        case Facts():
            rows = (f"<dt>{escaped(k)}</dt><dd>{_html_cell(v)}</dd>" for k, v in block.rows)
            return f"<dl>{''.join(rows)}</dl>"
        case Table():
            head = "".join(f"<th>{escaped(one)}</th>" for one in block.headers)
            rows = (f"<tr>{''.join(map(_html_field, row))}</tr>" for row in block.rows)
            body = "\n".join(rows)
            return (
                f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
                f"<tbody>{body}</tbody></table></div>"
            )
        case Drawn():
            title = f"<h2>{escaped(block.title)}</h2>"
            return f'{title}<div class="scroll">{block.svg}</div>'


def _html_field(cell: Cell | Sequence[Cell]) -> str:
    short = ' class="n"' if isinstance(cell, str) and len(cell) <= UNBROKEN else ""
    return f"<td{short}>{_html_cell(cell)}</td>"


def _html_cell(cell: Cell | Sequence[Cell]) -> str:
    if isinstance(cell, Code):
        title = f' title="{escaped(cell.whole)}"' if cell.whole else ""
        return f"<code{title}>{escaped(cell.text)}</code>"
    if isinstance(cell, str):
        return escaped(cell)
    return "<br>".join(map(_html_cell, cell))


def as_markdown(blocks: Sequence[Block]) -> str:
    """Text in GitHub's Markdown; nothing in a cell is syntax."""
    return "\n".join(line for block in blocks for line in _markdown(block)) + "\n"


def _markdown(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {_plain(block.text)}\n"
        case Paragraph():
            yield f"{_plain(block.text)}\n"
        case Facts():
            yield from (f"- {_plain(k)}: {_markdown_cell(v)}" for k, v in block.rows)
            yield ""
        case Table():
            yield f"| {' | '.join(map(_plain, block.headers))} |"
            yield f"|{'---|' * len(block.headers)}"
            yield from (f"| {' | '.join(map(_markdown_cell, row))} |" for row in block.rows)
            yield ""
        case Drawn():
            return


def _markdown_cell(cell: Cell | Sequence[Cell]) -> str:
    if isinstance(cell, Code):
        text = clean(cell.whole or cell.text)
        if "`" in text or "|" in text:
            return _plain(text)
        return f"`{text}`" if text else ""
    if isinstance(cell, str):
        return _plain(cell)
    return "<br>".join(map(_markdown_cell, cell))


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@:-])", _masked, clean(" ".join(text.split())))


def _masked(found: re.Match[str]) -> str:
    # Entities for what a backslash does not take from HTML or from a table.
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}.get(found[0]) or (
        found[0] if found[0] in "():-+!@$#{}" else f"\\{found[0]}"
    )
