"""The text of Word documents (DOCX)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

from .errors import DocumentError, MissingExtra
from .layout import BLOCK, CELL, LINE, SPACE, Layout
from .parsed import Parsed

MAX_UNPACKED = 256 << 20
"""Bytes; a document that would unpack to more is refused (a "zip bomb")."""

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_OLD_WORD = b"\xd0\xcf\x11\xe0"  # also the envelope of an encrypted document
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_WHITE = {f"{_W}tab": "\t", f"{_W}ptab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n"}
_LISTS = f"./{_W}pPr/{_W}numPr"
_UNSEEN = {f"{_W}del", f"{_W}moveFrom"}  # what a tracked change has removed
_SECOND = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


def read_docx(data: bytes) -> Parsed:
    """Paragraphs, lists and tables in their order; no headers, footers, notes or comments.

    Tracked insertions count, tracked deletions do not.

    Raises:
        DocumentError: It is damaged, encrypted, no DOCX, or would unpack to more than
            :data:`MAX_UNPACKED` bytes.
        MissingExtra: python-docx is not installed.
    """
    try:
        import docx
    except ImportError as error:
        raise MissingExtra("parsing DOCX", "documents") from error
    _check(data)
    try:
        document = docx.Document(BytesIO(data))
        properties = document.core_properties
        said = {"title": properties.title, "author": properties.author}
    except Exception as error:  # lxml's, zipfile's and python-docx's own have nothing in common
        raise DocumentError(f"it is damaged, or no Word document: {error}") from error
    styles = {style.style_id: style.name or "" for style in document.styles}
    layout = Layout()
    _write(document.element.body, layout, styles)
    metadata = layout.metadata("utf-8", said["title"])
    del metadata["encoding"]  # of no interest: the file is an archive
    if said["author"]:
        metadata["author"] = said["author"]
    return Parsed(layout.text(), metadata)


def _check(data: bytes) -> None:
    if data.startswith(_OLD_WORD):
        raise DocumentError("it is encrypted, or of Word 97-2003 (.doc): save it as DOCX")
    try:
        with ZipFile(BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    # NotImplementedError: zipfile does not read this form of archive, which no Word writes.
    except (BadZipFile, NotImplementedError, ValueError) as error:
        raise DocumentError(f"it is damaged, or no DOCX: {error}") from error
    if size > MAX_UNPACKED:  # no entry unpacks to more than it declares
        raise DocumentError(
            f"it would unpack to {size >> 20} MiB, more than the {MAX_UNPACKED >> 20} MiB allowed"
        )


def _write(parent: Any, layout: Layout, styles: dict[str, str], *, cell: bool = False) -> None:
    """Write paragraphs and tables, also those in content controls and other wrappers.

    python-docx's own ``iter_inner_content`` would leave the wrapped ones out.
    """
    for element in parent:
        if element.tag == f"{_W}p":
            _write_paragraph(element, layout, styles, cell=cell)
        elif element.tag == f"{_W}tbl":
            layout.separate(LINE if cell else BLOCK)
            _write_table(element, layout, styles)
            layout.separate(LINE if cell else BLOCK)
        elif element.tag not in _UNSEEN:
            _write(element, layout, styles, cell=cell)


def _write_paragraph(element: Any, layout: Layout, styles: dict[str, str], *, cell: bool) -> None:
    style = styles.get(element.style or "", "")
    level = _level(style)
    if level:
        layout.open_heading()
    elif element.find(_LISTS) is not None or style.startswith("List "):
        layout.item("- ")
    else:
        layout.separate(SPACE if cell else BLOCK)
    for number, line in enumerate("".join(_pieces(element)).split("\n")):
        if number:
            layout.separate(LINE)
        layout.write(line)
    if level:
        layout.close_heading(level)
    else:
        layout.separate(SPACE if cell else LINE)


def _write_table(table: Any, layout: Layout, styles: dict[str, str]) -> None:
    for row in table.iter(f"{_W}tr"):
        if next(row.iterancestors(f"{_W}tbl")) is not table:
            continue  # of a table within a cell, which is written with the cell
        layout.separate(LINE)
        for cell in row.iterchildren(f"{_W}tc", f"{_W}sdt"):
            layout.separate(CELL)
            _write(cell, layout, styles, cell=True)
        layout.separate(LINE)


def _level(style: str) -> int:
    match = _HEADING.fullmatch(style)
    return int(match[1]) if match else int(style == "Title")


def _pieces(element: Any) -> Iterator[str]:
    for node in element:
        if node.tag == f"{_W}t":
            yield node.text or ""
        elif node.tag in _WHITE:
            yield _WHITE[node.tag]
        elif node.tag == f"{_W}noBreakHyphen":
            yield "-"
        elif node.tag == f"{_W}p":  # in a text box
            yield "\n"
            yield from _pieces(node)
        elif node.tag not in _UNSEEN and node.tag not in (_SECOND, f"{_W}pPr"):
            yield from _pieces(node)
