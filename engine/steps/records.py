"""What a corpus holds: the records, and :class:`Records`, a lazy sequence of them in artifacts.

A shard is one artifact of JSON Lines, one record a line, of about 1 MiB. Only one shard of a
collection is in memory at a time, so a corpus may be far larger than memory.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any, Generic, TypeAlias, TypeVar, overload

import msgspec

from ...events.artifacts import Artifacts, digest_of
from ...events.codec import from_plain, to_plain

Metadata: TypeAlias = dict[str, Any]


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document; its ``id`` names one text for ever.

    Args:
        id: Follows from the source's path, so the same file has the same id in every run.
        source: Absolute path of the file, or whatever name the text was given under.
        media_type: Such as ``text/html``.
        size: Of the source, in bytes.
        digest: BLAKE2b of the source's bytes, in hex; empty until it was ingested or parsed.
        text: The plain text; None until it was parsed.
        metadata: What is known besides, such as ``title``; any values the codec can record.
        error: Why there is no text, for a document that cannot be read.
    """

    id: str
    source: str
    media_type: str
    size: int = 0
    digest: str = ""
    text: str | None = None
    metadata: Metadata = {}
    error: str | None = None

    def rewritten(self, text: str, how: str) -> Document:
        """This document with another text, under another id that follows from ``how``.

        What was derived from the old text keeps naming the old id, so that offsets never lie.
        """
        if text == self.text:
            return self
        return msgspec.structs.replace(self, id=make_id(self.id, how), text=text)


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a document: ``text == document.text[start:end]``, in characters.

    ``index`` counts the chunks of the document ``document`` (an id) from 0.
    """

    id: str
    document: str
    index: int
    start: int
    end: int
    text: str
    metadata: Metadata = {}


class Entity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something named in a document at ``document.text[start:end]``; ``confidence`` is 0 to 1."""

    id: str
    document: str
    type: str
    text: str
    start: int
    end: int
    confidence: float = 1.0
    metadata: Metadata = {}


class Relation(msgspec.Struct, frozen=True, omit_defaults=True):
    """``subject predicate object``, the first and last being entity ids, and where it is said.

    ``evidence`` is the sentence of the document that says so; ``confidence`` is 0 to 1.
    """

    id: str
    document: str
    subject: str
    predicate: str
    object: str
    evidence: str = ""
    confidence: float = 1.0
    metadata: Metadata = {}


class Vector(msgspec.Struct, frozen=True, omit_defaults=True):
    """An embedding: ``values`` are little-endian 32-bit floats.

    ``source`` is the id of what was embedded: a document, chunk or entity.
    """

    id: str
    source: str
    model: str
    values: bytes
    metadata: Metadata = {}

    @classmethod
    def of(cls, source: str, model: str, values: Iterable[float]) -> Vector:
        """The vector of ``source``; its id follows from source and model."""
        floats = _little_endian(array("f", values))
        return cls(make_id(source, model), source, model, floats.tobytes())

    @property
    def floats(self) -> tuple[float, ...]:
        """The values as Python floats."""
        floats = array("f")
        floats.frombytes(self.values)
        return tuple(_little_endian(floats))


def _little_endian(floats: array[float]) -> array[float]:
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


Record: TypeAlias = Document | Chunk | Entity | Relation | Vector
R = TypeVar("R", Document, Chunk, Entity, Relation, Vector)


def make_id(*parts: str) -> str:
    """A short id that follows from ``parts`` alone: 20 hex digits."""
    return digest_of("\0".join(parts).encode("utf-8", "surrogatepass"))[:20]


class Shard(msgspec.Struct, frozen=True, array_like=True):
    """An artifact with ``count`` records."""

    digest: str
    count: int


class Records(Generic[R]):
    """A lazy, immutable sequence of records. Iterating it again reads it again.

    Two are equal when they hold the same shards.
    """

    def __init__(self, kind: type[R], shards: Iterable[Shard], artifacts: Artifacts) -> None:
        self.kind: type[R] = kind
        self.shards = tuple(shards)
        self.artifacts = artifacts
        self._last: tuple[int, list[bytes]] = (-1, [])

    def __len__(self) -> int:
        return self._ends[-1] if self.shards else 0

    def __iter__(self) -> Iterator[R]:
        for shard in self.shards:
            yield from self.read(shard)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        """The record at ``index``; its whole shard is read. A slice gives a list."""
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])  # raises IndexError, and counts from the end

    def _at(self, place: int) -> R:
        number = bisect_right(self._ends, place)
        held, lines = self._last
        if held != number:
            lines = self._lines(self.shards[number])
            self._last = number, lines  # neighbours are likely to be asked for next
        line = lines[place - self._ends[number] + self.shards[number].count]
        return decode_record(line, self.kind, self.artifacts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Records):
            return NotImplemented
        return self.kind is other.kind and self.shards == other.shards

    def __hash__(self) -> int:
        return hash((self.kind, self.shards))

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind.__name__} records in {len(self.shards)} shards>"

    def read(self, shard: Shard) -> Iterator[R]:
        """The records of one shard. Raises LogCorrupt when it is missing or damaged."""
        for line in self._lines(shard):
            yield decode_record(line, self.kind, self.artifacts)

    def _lines(self, shard: Shard) -> list[bytes]:
        return self.artifacts.get(shard.digest).split(b"\n")

    @cached_property
    def _ends(self) -> list[int]:
        """The number of records up to and including each shard."""
        return list(accumulate(shard.count for shard in self.shards))


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Document, Chunk, Entity, Relation, Vector)
}


def encode_record(record: Record, artifacts: Artifacts) -> bytes:
    """One line of JSON, without the line end.

    Raises:
        UnencodableValue: Its metadata holds something that only pickle could record.
    """
    if record.metadata:
        plain = to_plain(record.metadata, artifacts, allow_pickle=False)
        record = msgspec.structs.replace(record, metadata=plain)
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:  # lone surrogates, as in undecodable file names
        return json.dumps(msgspec.to_builtins(record), separators=(",", ":")).encode()


def decode_record(line: bytes, kind: type[R], artifacts: Artifacts) -> R:
    """The inverse of :func:`encode_record`."""
    try:
        record: R = _DECODERS[kind].decode(line)
    except msgspec.DecodeError:  # lone surrogates again: escaped, they are JSON to Python alone
        record = msgspec.convert(json.loads(line), kind)
    if record.metadata:
        metadata = from_plain(record.metadata, artifacts, allow_pickle=False)
        record = msgspec.structs.replace(record, metadata=metadata)
    return record
