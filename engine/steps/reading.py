"""Reading one document: its bytes, its format's reader, and nothing of the step around it."""

from __future__ import annotations

from typing import NamedTuple

from ...events.artifacts import digest_of
from .errors import DocumentError, MissingExtra
from .files import read_file
from .formats import UNKNOWN, format_of, suffix_of
from .parsed import Parsed
from .readers import READERS


class Reading(NamedTuple):
    """What was read, and the size (bytes) and digest of the source it was read from."""

    parsed: Parsed
    size: int
    digest: str


def read_source(source: str, media_type: str, digest: str, data: bytes | None = None) -> Reading:
    """Read a document. Called here, or in a worker process.

    Args:
        source: Path of the file.
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
    if not parsed.text.strip():
        raise DocumentError("it holds no text")
    return Reading(parsed, len(data), found)


def _read(source: str, media_type: str, data: bytes) -> Parsed:
    name = format_of(media_type)
    if name is None:
        raise DocumentError(f"{_which(source, media_type)}; give the document a 'media_type'")
    reader = READERS.get(name)
    if reader is None:
        known = ", ".join(READERS)
        raise DocumentError(f"the format {name!r} cannot be parsed yet, only {known}")
    if not data.strip():
        raise DocumentError("the file is empty")
    try:
        return reader(data)
    except (DocumentError, MissingExtra):
        raise
    except Exception as error:  # a parser's own bug must not cost the other documents
        raise DocumentError(f"reading it as {name} failed: {error!r}") from error


def _which(source: str, media_type: str) -> str:
    if media_type != UNKNOWN:
        return f"the media type {media_type!r} is of no known format"
    ending = suffix_of(source)
    which = f"files ending in {ending!r}" if ending else "files without an ending"
    return f"{which} are of no known format"
