"""What a vector store keeps and finds, whichever it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from ....events.errors import PipelineError

Kind = Literal["chunk", "document", "entity"]


class Item(msgspec.Struct, frozen=True):
    """A vector, and what it is of.

    Args:
        id: Of the chunk, document or entity; of each the index has one.
        origin: The source of its document, or the document's id if it has none: what is stored of
            an origin takes the place of what was stored of it before.
        start: Where the text is in its document, in characters, and ``end`` where it ends.
        values: Little-endian 32-bit floats; length 1.
    """

    id: str
    kind: Kind
    document: str
    origin: str
    start: int
    end: int
    text: str
    metadata: dict[str, Any]
    values: bytes


class Hit(msgspec.Struct, frozen=True):
    """Something that a search found.

    Args:
        score: Cosine of the angle between the question and this: 1 is the same direction.
        source: Path or name of the document, and ``document`` its id.
        start: Where ``text`` is in the document's text, in characters, and ``end`` where it ends.
    """

    score: float
    source: str
    start: int
    end: int
    text: str
    kind: Kind
    id: str
    document: str
    metadata: dict[str, Any] = {}


class Contents(msgspec.Struct, frozen=True):
    """What an index holds: the model of its vectors, their dimensions, and how many there are."""

    model: str
    dimensions: int
    count: int


class NoIndex(PipelineError, LookupError):
    """There is no index of that name."""


class IndexMismatch(PipelineError, ValueError):
    """An index holds vectors of another kind."""


class VectorStore(Protocol):
    """One index of a store."""

    def begin(self, model: str, dimensions: int) -> None:
        """Get ready for vectors of a model. Raises IndexMismatch when others are there."""
        ...

    def upsert(self, items: Sequence[Item], run: str) -> None:
        """Keep items, each in place of the one with its id, durably, on behalf of a run."""
        ...

    def forget(self, origins: Collection[str], run: str) -> int:
        """Drop what is of these origins and was not kept by this run. Returns how many that is,
        or -1 if the store cannot tell."""
        ...

    def contents(self) -> Contents:
        """Raises NoIndex."""
        ...

    def search(self, vector: Iterable[float], top: int) -> list[Hit]:
        """The ``top`` items nearest to a vector of length 1, nearest first. Raises NoIndex."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
