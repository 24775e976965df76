"""The text of Markdown, without its marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import MissingExtra
from .html_text import parse_html, write_html
from .layout import BLOCK, CELL, LINE, SPACE, Layout

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(
    r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.+?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_SEPARATORS = {
    "blockquote": BLOCK,
    "table": BLOCK,
    "hr": BLOCK,
    "tr": LINE,
    "td": CELL,
    "th": CELL,
    "softbreak": SPACE,
    "hardbreak": LINE,
}
_NESTING = 100  # the default drops silently what is nested deeper than 20


def parse_markdown(text: str) -> Sequence[Token]:
    """CommonMark with tables and strikethrough. Raises MissingExtra."""
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise MissingExtra("parsing Markdown", "documents") from error
    parser = MarkdownIt("commonmark", {"maxNesting": _NESTING})
    return parser.enable(["table", "strikethrough"]).parse(text)


def split_front_matter(text: str) -> tuple[str | None, str]:
    """The ``title`` in a leading block between ``---`` lines, and what follows the block."""
    block = _FRONT_MATTER.match(text)
    if block is None:
        return None, text
    title = _TITLE.search(block[1])
    return title and title[1].strip("\"'"), text[block.end() :]


def write_markdown(tokens: Sequence[Token], layout: Layout) -> None:
    """Write the text of ``tokens``: paragraphs, headings, list items, table rows, code."""
    for token in tokens:
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if token.children is not None and kind == "inline":
            write_markdown(token.children, layout)
        elif kind in ("text", "text_special", "code_inline", "image"):
            layout.write(token.content)
        elif kind in ("fence", "code_block"):
            layout.separate(BLOCK)
            layout.verbatim(token.content.rstrip("\n"))
            layout.separate(BLOCK)
        elif kind == "html_block":
            write_html(parse_html(token.content), layout)
        elif kind == "html_inline":
            if token.content.lower().startswith("<br"):
                layout.separate(LINE)
        elif kind == "heading":
            if token.nesting > 0:
                layout.open_heading()
            else:
                layout.close_heading(int(token.tag[1:]))
        elif kind == "list_item":
            if token.nesting > 0:
                layout.item(f"{token.info}{token.markup} " if token.info else "- ")
            else:
                layout.separate(LINE)
        elif kind == "paragraph":
            layout.separate(LINE if token.hidden else BLOCK)
        elif kind in ("bullet_list", "ordered_list"):
            layout.separate(LINE if token.level else BLOCK)
        elif kind in _SEPARATORS:
            layout.separate(_SEPARATORS[kind])
