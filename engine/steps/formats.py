"""Names of document formats, and how a format is told from a file name or media type."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...events.errors import nearest
from .errors import StepConfigError


class Format(NamedTuple):
    """``media_type`` and the file name endings (with the dot) of a format."""

    media_type: str
    suffixes: tuple[str, ...]


_OFFICE = "application/vnd.openxmlformats-officedocument"

FORMATS: Mapping[str, Format] = {
    "txt": Format("text/plain", (".txt", ".text", ".log", ".rst")),
    "md": Format("text/markdown", (".md", ".markdown")),
    "html": Format("text/html", (".html", ".htm", ".xhtml")),
    "pdf": Format("application/pdf", (".pdf",)),
    "docx": Format(f"{_OFFICE}.wordprocessingml.document", (".docx",)),
    "pptx": Format(f"{_OFFICE}.presentationml.presentation", (".pptx",)),
    "xlsx": Format(f"{_OFFICE}.spreadsheetml.sheet", (".xlsx",)),
    "odt": Format("application/vnd.oasis.opendocument.text", (".odt",)),
    "rtf": Format("application/rtf", (".rtf",)),
    "epub": Format("application/epub+zip", (".epub",)),
    "csv": Format("text/csv", (".csv", ".tsv")),
    "json": Format("application/json", (".json",)),
    "jsonl": Format("application/jsonl", (".jsonl", ".ndjson")),
    "xml": Format("application/xml", (".xml",)),
    "eml": Format("message/rfc822", (".eml",)),
}
"""Every format that may be named; not all of them can be parsed."""

UNKNOWN = "application/octet-stream"

_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([\w.:+-]{1,40})""", re.I | re.A)
_ALIASES = {"text": "txt", "markdown": "md", "xhtml": "html"}
_BY_SUFFIX = {suffix: name for name, known in FORMATS.items() for suffix in known.suffixes}
_BY_MEDIA_TYPE = {known.media_type: name for name, known in FORMATS.items()} | {
    "application/xhtml+xml": "html",
    "text/tab-separated-values": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonlines": "jsonl",
    "application/x-jsonlines": "jsonl",
    "text/x-markdown": "md",
    "application/x-pdf": "pdf",
}


def suffix_of(source: str) -> str:
    """The ending of a file name or of a URL's path, with the dot, in lower case."""
    if "://" in source:
        address = re.split("[?#]", source.partition("://")[2], maxsplit=1)[0]
        source = address.partition("/")[2]  # the host's name has no ending
    return Path(source).suffix.lower()


def media_type_of(source: str) -> str:
    """By the name's ending; :data:`UNKNOWN` for an ending that is in no format."""
    name = _BY_SUFFIX.get(suffix_of(source))
    return FORMATS[name].media_type if name else UNKNOWN


def format_of(media_type: str) -> str | None:
    """The format of ``media_type`` (parameters such as ``; charset=`` do not count)."""
    return _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())


def charset_of(media_type: str) -> str | None:
    """What ``media_type`` says in ``; charset=``, in lower case."""
    match = _CHARSET.search(media_type)
    return match[1].lower() if match else None


def format_names(names: object) -> frozenset[str]:
    """The formats a configuration names, as in ``["pdf", ".HTM", "markdown"]``.

    Raises:
        StepConfigError: A name that is no format.
    """
    found = set()
    for name in as_list("formats", names):
        plain = name.lower().removeprefix(".")
        format_name = _ALIASES.get(plain) or _BY_SUFFIX.get(f".{plain}")
        if format_name is None:
            hint = nearest(plain, [*FORMATS, *_ALIASES])
            raise StepConfigError(f"'formats' names the unknown format {name!r}{hint}")
        found.add(format_name)
    return frozenset(found)


def suffixes_of(names: object) -> frozenset[str]:
    """The file name endings a configuration names: those of formats, and any others as given."""
    found: set[str] = set()
    for name in as_list("formats", names):
        plain = name.lower().removeprefix(".")
        plain = _ALIASES.get(plain, plain)
        found.update(FORMATS[plain].suffixes if plain in FORMATS else (f".{plain}",))
    return frozenset(found)


def as_list(key: str, value: object) -> list[str]:
    """One name, path or several of them, as a list of strings. Raises StepConfigError."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)]
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        listed = list(value)
        if all(isinstance(item, (str, os.PathLike)) for item in listed):
            return [os.fspath(item) for item in listed]
    raise StepConfigError(f"{key}={value!r} should be a string or a list of strings")
