"""Fan-in: several corpora become one.

Records with the same id count once. Shards that hold nothing double are taken over by reference;
memory holds the ids of a collection and one shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...events.artifacts import Artifacts
from .corpus import KINDS, Corpus, CorpusWriter
from .records import Document, Record, Records, Shard


def merge(corpora: Sequence[Corpus], artifacts: Artifacts) -> Corpus:
    """The union of ``corpora``, in order.

    Of a document that several hold, the one with text counts rather than one with an error or one
    not parsed yet, so that branches which parse different formats can meet again.
    """
    corpora = [corpus for corpus in corpora if corpus]
    if len(corpora) == 1:
        return corpora[0]
    writer = CorpusWriter(artifacts)
    for name in KINDS:
        _merge_records(writer, [corpus.collection(name) for corpus in corpora])
    chunkings = {corpus.chunking for corpus in corpora if corpus.chunks}
    writer.chunking = chunkings.pop() if len(chunkings) == 1 else None
    return writer.finish()


def _merge_records(writer: CorpusWriter, parts: Iterable[Records[Any]]) -> None:
    sources: dict[Shard, Records[Any]] = {}
    for records in parts:
        for shard in records.shards:
            sources.setdefault(shard, records)
    if len(set(map(id, sources.values()))) > 1:
        winners = _winners(sources)
        for number, (shard, records) in enumerate(sources.items()):
            _take(writer, records, shard, number, winners)
    else:  # one part holds all there is, and no id twice
        for shard, records in sources.items():
            writer.carry_shards(records, shard)


def _winners(sources: dict[Shard, Records[Any]]) -> dict[str, int]:
    """For each id, the number of the shard to take it from: the first of the highest rank."""
    best: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for number, (shard, records) in enumerate(sources.items()):
        for record in records.read(shard):
            rank = _rank(record)
            if record.id not in best or rank > ranks.get(record.id, 0):
                best[record.id] = number
                if rank:
                    ranks[record.id] = rank
    return best


def _rank(record: Record) -> int:
    if not isinstance(record, Document) or (record.text is None and record.error is None):
        return 0
    return 1 if record.text is None else 2


def _take(
    writer: CorpusWriter, records: Records[Any], shard: Shard, number: int, winners: dict[str, int]
) -> None:
    kept = []
    for record in records.read(shard):
        if winners.get(record.id) == number:
            del winners[record.id]  # a second one in the same shard is double too
            kept.append(record)
    if len(kept) == shard.count:
        writer.carry_shards(records, shard)
    else:
        writer.add(*kept)
