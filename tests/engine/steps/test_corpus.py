"""The carrier: lazy, immutable, faithful through the codec, and merged without loss."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import (
    Chunk,
    Corpus,
    CorpusWriter,
    Document,
    Entity,
    Relation,
    Vector,
)
from semantica.pipeline.engine.steps.errors import StepInputError
from semantica.pipeline.engine.steps.normalize import normalize
from semantica.pipeline.engine.steps.parse import parse
from semantica.pipeline.events.artifacts import FileArtifacts, MemoryArtifacts
from semantica.pipeline.events.codec import decode, encode
from semantica.pipeline.events.errors import LogCorrupt, UnencodableValue

NAMES = ("documents", "chunks", "entities", "relations", "vectors")

# Lone surrogates too: that is how undecodable file names look.
texts = st.text(st.characters(codec=None), max_size=30)
metadata = st.dictionaries(
    texts, st.recursive(st.none() | st.booleans() | st.integers() | texts | st.dates(), st.tuples)
)
documents = st.builds(
    Document,
    id=texts,
    source=texts,
    media_type=texts,
    size=st.integers(0, 2**40),
    text=st.none() | texts,
    metadata=metadata,
    error=st.none() | texts,
)
chunks = st.builds(Chunk, texts, texts, st.integers(0, 9), st.integers(0), st.integers(0), texts)
entities = st.builds(Entity, texts, texts, texts, texts, st.integers(0), st.integers(0))
relations = st.builds(Relation, texts, texts, texts, texts, texts, texts, st.floats(0, 1))
vectors = st.builds(Vector, texts, texts, texts, st.binary(max_size=32).map(lambda b: b * 4))


def write(*records: Any, artifacts: MemoryArtifacts | None = None) -> Corpus:
    writer = CorpusWriter(artifacts or MemoryArtifacts())
    writer.add(*records)
    return writer.finish()


def document(name: str, text: str | None = None, **more: Any) -> Document:
    return Document(name, f"/{name}", "text/plain", text=text, **more)


@given(st.lists(documents | chunks | entities | relations | vectors, max_size=20))
def test_what_was_written_comes_back_through_the_codec(records: list[Any]) -> None:
    artifacts = MemoryArtifacts()
    corpus = write(*records, artifacts=artifacts)
    back = decode(encode(corpus, artifacts, allow_pickle=False), artifacts, allow_pickle=False)
    assert back == corpus
    for name, kind in zip(NAMES, (Document, Chunk, Entity, Relation, Vector), strict=True):
        expected = [record for record in records if type(record) is kind]
        assert list(back.collection(name)) == expected
        assert len(back.collection(name)) == len(expected)


def test_a_collection_is_read_lazily_and_as_often_as_you_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("semantica.pipeline.engine.steps.corpus.SHARD_SIZE", 200)
    corpus = write(*(document(str(number), "x" * 50) for number in range(20)))
    ids = [str(number) for number in range(20)]
    assert len(corpus.documents.shards) > 3
    assert [found.id for found in corpus.documents] == ids
    assert [found.id for found in corpus.documents] == ids
    assert [corpus.documents[place].id for place in range(-20, 0)] == ids
    assert [found.id for found in corpus.documents[3:18:4]] == ids[3:18:4]
    assert [found.id for found in corpus.documents[::-1]] == ids[::-1]
    with pytest.raises(IndexError):
        corpus.documents[20]


def test_records_and_corpora_cannot_be_changed() -> None:
    corpus = write(document("a", "text"))
    found = corpus.documents[0]
    with pytest.raises(AttributeError):
        found.text = "other"  # type: ignore[misc]
    found.metadata["x"] = 1
    assert corpus.documents[0].metadata == {}


def test_metadata_keeps_its_types_and_refuses_what_only_pickle_could_record() -> None:
    corpus = write(document("a", metadata={"day": date(2020, 1, 2), "pair": (1, 2), "!": b"x"}))
    assert corpus.documents[0].metadata == {"day": date(2020, 1, 2), "pair": (1, 2), "!": b"x"}
    with pytest.raises(UnencodableValue, match="pickle"):
        write(document("a", metadata={"x": object()}))


def test_encoding_into_another_store_brings_the_shards_along(tmp_path: Path) -> None:
    memory, files = MemoryArtifacts(), FileArtifacts(tmp_path / "artifacts", sync=False)
    corpus = write(document("a", "text"), artifacts=memory)
    back = decode(encode(corpus, files), FileArtifacts(tmp_path / "artifacts"))
    assert list(back.documents) == list(corpus.documents)


def test_a_missing_shard_is_named() -> None:
    artifacts = MemoryArtifacts()
    value = encode(write(document("a"), artifacts=artifacts), artifacts)
    digest = write(document("a")).documents.shards[0].digest
    with pytest.raises(LogCorrupt, match=digest):
        list(decode(value, _without(artifacts, digest)).documents)


def _without(artifacts: MemoryArtifacts, digest: str) -> MemoryArtifacts:
    less = MemoryArtifacts()
    less._data = {name: data for name, data in artifacts._data.items() if name != digest}
    return less


def test_collections_that_do_not_change_are_carried_by_reference() -> None:
    artifacts = MemoryArtifacts()
    corpus = write(document("a", "one"), document("b", "two"), artifacts=artifacts)
    writer = CorpusWriter(artifacts)
    writer.carry(corpus, "documents")
    writer.add(document("c", "three"))
    writer.carry(write(document("d"), artifacts=artifacts))
    result = writer.finish()
    assert [found.id for found in result.documents] == ["a", "b", "c", "d"]
    assert result.documents.shards[0] == corpus.documents.shards[0]


def test_a_vector_gives_its_floats_back() -> None:
    vector = Vector.of("chunk", "model", [0.5, -1.0, 3.25])
    assert vector.floats == (0.5, -1.0, 3.25)
    assert vector.id == Vector.of("chunk", "model", []).id != Vector.of("chunk", "other", []).id


# What a step accepts


def test_what_counts_as_documents(tmp_path: Path) -> None:
    artifacts = MemoryArtifacts()

    def sources(data: Any) -> list[str]:
        return [found.source for found in Corpus.of(data, artifacts).documents]

    file = str(tmp_path / "a.txt")
    assert sources(None) == []
    assert sources(file) == sources(Path(file)) == sources([file]) == [file]
    assert sources({"documents": [file, {"path": file, "id": "other"}]}) == [file, file]
    assert sources({"documents": file}) == [file]
    assert sources("doc1.pdf") == [str(Path.cwd() / "doc1.pdf")]
    assert sources([file, file]) == [file]
    corpus = Corpus.of({"text": "Hello.", "author": "Ann", "metadata": {"year": 1}}, artifacts)
    (found,) = corpus.documents
    assert (found.text, found.size, found.metadata) == ("Hello.", 6, {"year": 1, "author": "Ann"})
    assert Corpus.of(corpus, artifacts) is corpus
    assert Corpus.of([found], artifacts) == corpus


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (3, "a value of type int is no documents"),
        ([3], "document 0: a value of type int"),
        ([{}], "document 0: neither 'text' nor 'source'"),
        ([{"text": 1}], "document 0: 'text' is a value of type int, not str"),
        ({"documents": 1}, "'documents' holds a value of type int"),
        ({"stats": {"n": 1}}, "input 'stats': input 'n': a value of type int"),
        ([{"id": "x", "text": "a"}, {"id": "x", "text": "b"}], "document 1: an earlier and diff"),
    ],
)
def test_anything_else_is_refused_clearly(data: Any, complaint: str) -> None:
    with pytest.raises(StepInputError, match=complaint) as caught:
        Corpus.of(data, MemoryArtifacts())
    assert isinstance(caught.value, TypeError)


# Fan-in


@given(st.lists(st.lists(st.integers(0, 30), max_size=12, unique=True), max_size=4))
def test_merging_is_the_union_in_order(parts: list[list[int]]) -> None:
    artifacts = MemoryArtifacts()
    corpora = {
        str(place): write(*(document(str(n), "t") for n in part), artifacts=artifacts)
        for place, part in enumerate(parts)
    }
    merged = Corpus.of(corpora, artifacts)
    expected = list(dict.fromkeys(str(n) for part in parts for n in part))
    assert [found.id for found in merged.documents] == expected


def test_equal_and_disjoint_shards_are_merged_by_reference() -> None:
    artifacts = MemoryArtifacts()
    one, two = write(document("a"), artifacts=artifacts), write(document("b"), artifacts=artifacts)
    merged = Corpus.of({"x": one, "y": two, "z": one}, artifacts)
    assert merged.documents.shards == one.documents.shards + two.documents.shards


def test_branches_that_parse_different_formats_meet_again(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.md").write_text("# marked")
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    start = Corpus.of(
        [tmp_path / "a.txt", tmp_path / "b.md", tmp_path / "c.pdf"], context.artifacts
    )
    branches = {name: parse(start, context, formats=[name]) for name in ("pdf", "md", "txt")}
    merged = Corpus.of(branches, context.artifacts)
    assert {Path(d.source).name: d.text for d in merged.documents} == {
        "a.txt": "plain",
        "b.md": "marked",
        "c.pdf": None,
    }
    assert all(d.text or d.error for d in merged.documents)


def test_a_raw_and_a_normalized_branch_keep_their_own_texts(context: Any) -> None:
    start = Corpus.of([{"text": "One  two. Three\n\n\n\nfour."}], context.artifacts)
    raw = chunk(start, context, chunk_size=10, overlap=2)
    clean = chunk(normalize(start, context, case="upper"), context, chunk_size=8, overlap=2)
    merged = Corpus.of({"raw": raw, "clean": clean}, context.artifacts)
    by_id = {found.id: found for found in merged.documents}
    assert len(by_id) == 2
    assert len(merged.chunks) == len(raw.chunks) + len(clean.chunks)
    assert merged.chunking is None
    for piece in merged.chunks:
        assert (by_id[piece.document].text or "")[piece.start : piece.end] == piece.text
