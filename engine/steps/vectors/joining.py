"""Vectors, with the texts that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from ..corpus import Corpus
from ..errors import StepInputError
from ..records import Chunk, Document, Entity, Vector
from .store import Item, Kind

Embedded = Chunk | Document | Entity


class Whence(NamedTuple):
    """What is known of a document: its origin, and its title if it has one."""

    origin: str
    title: str | None


def whence(corpus: Corpus) -> dict[str, Whence]:
    """Every document's id, and where it is from."""
    found = {}
    for one in corpus.documents:
        title = one.metadata.get("title")
        found[one.id] = Whence(one.source or one.id, title if isinstance(title, str) else None)
    return found


def items(corpus: Corpus, documents: Mapping[str, Whence]) -> Iterator[Item]:
    """An item for each vector.

    Both collections are streams, usually in the same order; memory holds what the one of texts is
    ahead.

    Raises:
        StepInputError: There is no record that a vector says it is of.
    """
    sources: Iterator[Embedded] = chain(corpus.chunks, corpus.entities, corpus.documents)
    ahead: dict[str, Embedded] = {}
    for vector in corpus.vectors:
        record = ahead.pop(vector.source, None)
        while record is None:
            following = next(sources, None)
            if following is None:
                raise StepInputError(
                    f"store_vectors: a vector is of {vector.source!r}, which is no chunk, document "
                    "or entity of the input: hand on the corpus that was embedded"
                )
            if following.id == vector.source:
                record = following
            else:
                ahead[following.id] = following
        yield _item(vector, record, documents)


def _item(vector: Vector, record: Embedded, documents: Mapping[str, Whence]) -> Item:
    if isinstance(record, Document):
        document, start, end, metadata = record.id, 0, len(record.text or ""), record.metadata
    else:
        document, start, end, metadata = record.document, record.start, record.end, record.metadata
    known = documents.get(document, Whence(document, None))
    if known.title is not None:
        metadata = {**metadata, "title": known.title}
    if isinstance(record, Entity):
        metadata = {**metadata, "type": record.type}
    return Item(
        id=record.id,
        kind=_KINDS[type(record)],
        document=document,
        origin=known.origin,
        start=start,
        end=end,
        text=record.text or "",
        metadata=metadata,
        values=vector.values,
    )


_KINDS: Mapping[type[Embedded], Kind] = {Chunk: "chunk", Document: "document", Entity: "entity"}
