"""The text layer of PDF."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import Any

from .errors import DocumentError, MissingExtra
from .parsed import Parsed

_HYPHEN = re.compile("[\u0002\u00ad\ufffe]\n?")  # how PDFium marks a word broken at a line's end
_LOCK = threading.Lock()  # PDFium has global state and no locks of its own
_METADATA = (("Title", "title"), ("Author", "author"))


def read_pdf(data: bytes) -> Parsed:
    """The text of all pages, a blank line between two.

    Raises:
        DocumentError: It is damaged, encrypted, or has no text layer.
        MissingExtra: pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra("parsing PDF", "documents") from error
    with _LOCK:
        try:
            with pypdfium2.PdfDocument(data) as document:
                return _read(document)
        except pypdfium2.PdfiumError as error:
            raise DocumentError(_reason(str(error))) from error


def _read(document: Any) -> Parsed:
    metadata: dict[str, Any] = {"pages": len(document)}
    if not metadata["pages"]:
        raise DocumentError("the PDF has no pages")
    for theirs, ours in _METADATA:
        with suppress(UnicodeDecodeError):  # damaged: no reason to do without the text
            if said := document.get_metadata_value(theirs).replace("\0", "").strip():
                metadata[ours] = said
    texts = [_page_text(document[number]) for number in range(len(document))]
    text = "\n\n".join(filter(None, texts))
    if not text:
        raise DocumentError("no text layer: scanned pages need OCR")
    if missing := texts.count(""):
        metadata["pages_without_text"] = missing  # blank, or scanned
    return Parsed(text, metadata)


def _page_text(page: Any) -> str:
    """Closed at once: all pages of a long document together take much memory."""
    try:
        textpage = page.get_textpage()
        try:
            text: str = textpage.get_text_range()
        finally:
            textpage.close()
    finally:
        page.close()
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return _HYPHEN.sub("", text).strip()


def _reason(said: str) -> str:
    if "assword" in said or "ecurity" in said:
        return "the PDF is encrypted and needs a password"
    return f"the PDF is damaged, or no PDF ({said.rstrip('.')})"
