"""Files of a graph: whole or not there at all, and the same bytes for the same graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ....events.artifacts import sync_path
from ..errors import StepConfigError

if TYPE_CHECKING:
    from .graph import KnowledgeGraph

Format: TypeAlias = Literal["graphml", "turtle", "svg", "html"]

_WRITERS: Mapping[Format, str] = {
    "graphml": "graphml:write_graphml",
    "turtle": "rdf:write_turtle",
    "svg": "svg:write_svg",
    "html": "page:write_html",
}
SUFFIXES: Mapping[str, Format] = {
    ".graphml": "graphml",
    ".ttl": "turtle",
    ".svg": "svg",
    ".html": "html",
}
"""How files of a format are named."""
PICTURES: tuple[Format, ...] = ("svg", "html")
_ENDINGS = {form: suffix for suffix, form in SUFFIXES.items()}


def format_of(path: Path) -> Format:
    """The format that a file's name tells. Raises StepConfigError."""
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        listing = ", ".join(SUFFIXES)
        raise StepConfigError(f"{path}: the name of a graph's file should end in one of {listing}")
    return form


def file_name(form: Format) -> str:
    """What a step calls its file of that format."""
    return f"graph{_ENDINGS[form]}"


def save(graph: KnowledgeGraph, path: Path, form: Format, limit: int | None = None) -> None:
    """Write the graph to ``path``, in place of what was there.

    Args:
        limit: Nodes that a picture shows at most; 120 if None.

    Raises:
        MissingExtra: The library for the format is not installed.
        OSError: The file cannot be written.
    """
    module, _, name = _WRITERS[form].partition(":")
    write: Callable[..., None] = getattr(import_module(f".{module}", __package__), name)
    most = {"limit": limit} if form in PICTURES else {}
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            write(graph, file, **most)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == os.fspath(temporary):
            error.filename = os.fspath(path)  # which is the one that means something to the user
        raise
    sync_path(path.parent)
