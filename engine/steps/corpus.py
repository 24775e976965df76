"""The corpus: what the built-in steps hand to one another.

A :class:`Corpus` is immutable and holds five lazy collections: ``documents``, ``chunks``,
``entities``, ``relations`` and ``vectors``. In the log it is a list of shard digests, so handing
it on costs nothing and a step that adds chunks does not write the documents again::

    def shout(data, context):
        corpus = Corpus.of(data, context.artifacts)
        writer = CorpusWriter(context.artifacts)
        for document in corpus.documents:
            if document.text is not None:
                document = document.rewritten(document.text.upper(), "shout")
            writer.add(document)
        return writer.finish()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...events.artifacts import Artifacts
from .records import (
    Chunk,
    Document,
    Entity,
    Record,
    Records,
    Relation,
    Shard,
    Vector,
    encode_record,
)

__all__ = [
    "Corpus",
    "CorpusWriter",
    "Chunking",
    "Document",
    "Chunk",
    "Entity",
    "Relation",
    "Vector",
    "Record",
    "Records",
]

SHARD_SIZE = 1 << 20
"""A shard is closed once it has this many bytes; a larger record has one to itself."""

KINDS: Mapping[str, type[Record]] = {
    "documents": Document,
    "chunks": Chunk,
    "entities": Entity,
    "relations": Relation,
    "vectors": Vector,
}
_COLLECTIONS = {kind: name for name, kind in KINDS.items()}


class Chunking(msgspec.Struct, frozen=True):
    """How the chunks of a corpus were cut, so that they can be cut again."""

    chunk_size: int
    overlap: int
    unit: str


class Corpus:
    """Documents and what was found in them. Made by :class:`CorpusWriter` or :meth:`of`.

    ``chunking`` is None when there are no chunks, or they were cut in several ways.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        shards: Mapping[str, tuple[Shard, ...]] | None = None,
        chunking: Chunking | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._shards = {name: found for name, found in (shards or {}).items() if found}
        self._records: dict[str, Records[Any]] = {}
        self.chunking = chunking

    @classmethod
    def of(cls, data: Any, artifacts: Artifacts) -> Corpus:
        """The corpus in a step's input.

        Args:
            data: A corpus; None (nothing); a path, or a list of paths and documents, where a
                document is a mapping with ``text`` or ``source`` and, if you like, ``id``,
                ``media_type``, ``metadata``; ``{"documents": such a list}``; or a mapping of
                dependency names to any of these, which is merged: records with the same id count
                once, and of a document that was parsed in one and not in another, the parsed one.
            artifacts: Where the records of new documents go.

        Raises:
            StepInputError: Anything else, or two different documents with the same id.
        """
        from .inputs import to_corpus

        return to_corpus(data, artifacts)

    @property
    def documents(self) -> Records[Document]:
        return self.collection("documents")

    @property
    def chunks(self) -> Records[Chunk]:
        return self.collection("chunks")

    @property
    def entities(self) -> Records[Entity]:
        return self.collection("entities")

    @property
    def relations(self) -> Records[Relation]:
        return self.collection("relations")

    @property
    def vectors(self) -> Records[Vector]:
        return self.collection("vectors")

    def collection(self, name: str) -> Records[Any]:
        """The collection of that name, such as ``"chunks"``. Raises KeyError."""
        found = self._records.get(name)
        if found is None:
            found = Records(KINDS[name], self._shards.get(name, ()), self._artifacts)
            self._records[name] = found
        return found

    @property
    def counts(self) -> dict[str, int]:
        """How many records each collection has; empty ones are left out."""
        return {name: len(self.collection(name)) for name in KINDS if name in self._shards}

    def __bool__(self) -> bool:
        return bool(self._shards)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Corpus):
            return NotImplemented
        return self._shards == other._shards and self.chunking == other.chunking

    def __hash__(self) -> int:
        return hash((tuple(sorted(self._shards.items())), self.chunking))

    def __repr__(self) -> str:
        return f"Corpus({', '.join(f'{name}={count}' for name, count in self.counts.items())})"

    def __to_pipeline__(self, artifacts: Artifacts) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, shards in self._shards.items():
            copy_shards(shards, self._artifacts, artifacts)
            plain[name] = [[shard.digest, shard.count] for shard in shards]
        if self.chunking is not None:
            plain["chunking"] = msgspec.structs.asdict(self.chunking)
        return plain

    @classmethod
    def __from_pipeline__(cls, plain: dict[str, Any], artifacts: Artifacts) -> Corpus:
        shards = {
            name: tuple(Shard(digest, count) for digest, count in plain[name])
            for name in KINDS
            if name in plain
        }
        chunking = Chunking(**plain["chunking"]) if "chunking" in plain else None
        return cls(artifacts, shards, chunking)


class CorpusWriter:
    """Makes a corpus record by record, holding at most one open shard of each collection.

    Not for several threads at once.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._shards: dict[str, list[Shard]] = {name: [] for name in KINDS}
        self._open: dict[str, _OpenShard] = {name: _OpenShard() for name in KINDS}
        self.chunking: Chunking | None = None

    def add(self, *records: Record) -> None:
        """Append records, each to the collection of its type.

        Raises:
            UnencodableValue: A record's metadata holds what the codec cannot record.
            LogUnavailable: A shard cannot be written.
        """
        for record in records:
            name = _COLLECTIONS[type(record)]
            shard = self._open[name]
            shard.append(encode_record(record, self._artifacts))
            if shard.size >= SHARD_SIZE:
                self._flush(name)

    def carry(self, corpus: Corpus, *names: str) -> None:
        """Append the collections of those names (all when none is given) without rewriting them."""
        for name in names or KINDS:
            self.carry_shards(corpus.collection(name))
        if "chunks" in names or not names:
            self.chunking = corpus.chunking

    def carry_shards(self, records: Records[Any], *shards: Shard) -> None:
        """Append those shards of ``records`` (all when none is given) as they are."""
        name = _COLLECTIONS[records.kind]
        self._flush(name)  # what was added before comes before
        chosen = shards or records.shards
        copy_shards(chosen, records.artifacts, self._artifacts)
        self._shards[name].extend(chosen)

    def finish(self) -> Corpus:
        """The corpus of all that was added."""
        for name in KINDS:
            self._flush(name)
        shards = {name: tuple(found) for name, found in self._shards.items()}
        return Corpus(self._artifacts, shards, self.chunking if shards["chunks"] else None)

    def _flush(self, name: str) -> None:
        shard = self._open[name]
        if shard.lines:
            digest = self._artifacts.put(b"\n".join(shard.lines))
            self._shards[name].append(Shard(digest, len(shard.lines)))
            self._open[name] = _OpenShard()


class _OpenShard:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.size = 0

    def append(self, line: bytes) -> None:
        self.lines.append(line)
        self.size += len(line) + 1


def copy_shards(shards: tuple[Shard, ...], source: Artifacts, target: Artifacts) -> None:
    """Bring shards into ``target``, one at a time."""
    if source is not target:
        for shard in shards:
            target.put(source.get(shard.digest))
