"""What a reader hands back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .errors import DocumentError

MAX_TEXT = 256 << 20
"""Characters; readers that repeat names refuse a document whose text would be longer."""


class Parsed(NamedTuple):
    """What was read.

    ``metadata`` has what the format knows: ``encoding``, ``title``, ``author``, ``language``,
    ``pages``, ``pages_without_text``, ``rows``, ``columns``, ``header``, and ``headings``, a list
    of ``{"level": 1, "text": ...}``.
    """

    text: str
    metadata: dict[str, Any]


def bounded(pieces: Iterable[str]) -> Iterator[str]:
    """``pieces`` as they are. Raises DocumentError once they have more than :data:`MAX_TEXT`."""
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > MAX_TEXT:
            raise DocumentError(f"its text would be longer than {MAX_TEXT} characters")
        yield piece
