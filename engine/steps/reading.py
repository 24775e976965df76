"""Reading one document: its bytes, its format's reader, and nothing of the step around it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ...events.artifacts import digest_of
from .encoding import transcode
from .errors import DocumentError, MissingExtra
from .files import read_file
from .formats import UNKNOWN, charset_of, format_of, suffix_of
from .parsed import Parsed
from .readers import READERS

_ARCHIVES = frozenset({"pdf", "docx"})
"""Formats that are no text, whatever charset a server says they have."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_FOREIGN = (
    (re.compile(rb"%PDF-\d"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive, as Office documents are"),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "an Office document of the old kind"),
    (re.compile(rb"\{\\rtf\d"), "RTF"),
)
"""What text formats are mistaken for; some of these would even decode as text."""


class Reading(NamedTuple):
    """What was read, and the size (bytes) and digest of the source it was read from."""

    parsed: Parsed
    size: int
    digest: str


def ready() -> None:
    """Does nothing: a worker process that returns from it has what it takes to read."""


def read_source(source: str, media_type: str, digest: str, data: bytes | None = None) -> Reading:
    """Read a document. Called here, or in a worker process.

    Args:
        source: Path of the file.
        media_type: Its type; a ``charset=`` in it counts.
        digest: Of the bytes, when they are known already; else empty.
        data: The bytes, unless they are in a file.

    Raises:
        DocumentError: It cannot be read, has changed since it was ingested, or holds no text.
        MissingExtra: The library for its format is not installed.
    """
    if data is None:
        data = read_file(source)
    found = digest_of(data)
    if digest and digest != found:
        raise DocumentError("the file has changed since it was ingested: run 'ingest' again")
    parsed = _read(source, media_type, data)
    parsed = Parsed(_clean(parsed.text), _clean(parsed.metadata))
    if not parsed.text.strip():
        raise DocumentError("it holds no text")
    return Reading(parsed, len(data), found)


def _read(source: str, media_type: str, data: bytes) -> Parsed:
    name = format_of(media_type)
    if name is None:
        raise DocumentError(f"{_which(source, media_type)}; give the document a 'media_type'")
    reader = READERS.get(name)
    if reader is None:
        listing = ", ".join(READERS)
        raise DocumentError(f"the format {name!r} cannot be parsed yet, only {listing}")
    if not data.strip():
        raise DocumentError("the file is empty")
    if name not in _ARCHIVES:
        for pattern, what in _FOREIGN:
            if pattern.match(data):
                raise DocumentError(f"it is {what}, not {name}: give the document a 'media_type'")
    try:
        charset = None if name in _ARCHIVES else charset_of(media_type)
        known = transcode(data, charset) if charset else None
        if known is None:
            return reader(data)
        text, metadata = reader(known[0])
        return Parsed(text, {**metadata, "encoding": known[1]})
    except (DocumentError, MissingExtra):
        raise
    except Exception as error:  # a parser's own bug must not cost the other documents
        raise DocumentError(f"reading it as {name} failed: {error!r}") from error


def _clean(value: Any) -> Any:
    """``value`` without lone surrogates, which are no characters and cannot be written as UTF-8."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return value


def _which(source: str, media_type: str) -> str:
    if media_type != UNKNOWN:
        return f"the media type {media_type!r} is of no known format"
    ending = suffix_of(source)
    which = f"files ending in {ending!r}" if ending else "files without an ending"
    return f"{which} are of no known format"
