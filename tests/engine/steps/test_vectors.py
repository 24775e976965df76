"""The step ``store_vectors`` and the search, on the embedded store."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import MakeEngine

from semantica.pipeline import ExecutionResult, PipelineBuilder, search
from semantica.pipeline.engine.steps.vectors import sqlite_vectors
from semantica.pipeline.engine.steps.vectors.sqlite_vectors import SqliteVectors
from semantica.pipeline.engine.steps.vectors.store import IndexMismatch, Item, NoIndex


def rag(engine: Any, data: Any, model: str = "hashing", **config: Any) -> ExecutionResult:
    pipeline = (
        PipelineBuilder()
        .add_step("parse", "parse")
        .add_step("chunk", "chunk", chunk_size=40, overlap=0)
        .add_step("embed", "embed", model=model)
        .add_step("store", "store_vectors", **config)
        .build("rag")
    )
    result: ExecutionResult = engine.execute_pipeline(pipeline, data)
    return result


def write(folder: Path, **texts: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return [str(folder / f"{name}.txt") for name in sorted(texts)]


CATS = "Cats sleep on the sofa all day long. Dogs bark at the postman in the morning."
LAWS = "Parliament passed a law on fishing."


def test_a_search_finds_text_source_and_place(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    files = write(tmp_path / "texts", cats=CATS, laws=LAWS)
    result = rag(make_engine(), files).raise_for_status()
    assert result.metrics["vectors_stored"] == 3
    assert len(result.output.vectors) == 3, "the corpus is handed on"
    first, *others = search("who will bark at the postman?", log=log, top=3)
    assert first.source == files[0]
    assert first.text == CATS[first.start : first.end]
    assert first.text.startswith("Dogs bark")
    assert first.score > 0.4 > others[0].score >= others[1].score
    assert len(search("law", log=log, top=1)) == 1


def test_stored_again_there_is_one_row_for_each_chunk(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    files = write(tmp_path / "texts", cats=CATS, laws=LAWS)
    for _ in range(2):
        rag(make_engine(), files).raise_for_status()
    assert texts_in(log) == sorted([CATS[:36], CATS[37:], LAWS])


def test_what_a_document_no_longer_says_is_dropped_and_other_documents_stay(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    cats, laws = write(tmp_path / "texts", cats=CATS, laws=LAWS)
    rag(make_engine(), [cats, laws]).raise_for_status()
    assert search("dogs bark", log=log)[0].text == CATS[37:]
    write(tmp_path / "texts", cats="Birds sing.")
    result = rag(make_engine(), [cats]).raise_for_status()
    assert result.metrics["vectors_replaced"] == 2
    assert texts_in(log) == ["Birds sing.", LAWS]
    for hit in search("dogs bark", log=log):
        assert hit.text in ("Birds sing.", LAWS)


def texts_in(log: Path, index: str = "default") -> list[str]:
    connection = sqlite3.connect(log.with_name(f"{log.name}.vectors") / f"{index}.db")
    try:
        rows = connection.execute("SELECT text FROM items JOIN vectors USING (place) ORDER BY text")
        found = [row[0] for row in rows]
        assert connection.execute("SELECT count(*) FROM vectors").fetchone()[0] == len(found)
    finally:
        connection.close()
    return found


def test_an_index_holds_vectors_of_one_model(
    make_engine: MakeEngine, log: Path, minilm: str
) -> None:
    engine = make_engine()
    rag(engine, {"text": CATS}).raise_for_status()
    other = rag(engine, {"text": CATS}, model=minilm)
    assert "holds vectors of hashing (512 dimensions), not of all-MiniLM-L6-v2" in other.errors[0]
    rag(engine, {"text": CATS}, model=minilm, index_name="meaning").raise_for_status()
    assert search("a pet that naps", log=log, index="meaning")[0].text == CATS[:36]
    assert texts_in(log) == texts_in(log, "meaning")


def test_a_place_of_your_own(make_engine: MakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "my.index"
    rag(make_engine(log=":memory:"), {"text": CATS}, path=str(path)).raise_for_status()
    assert search("postman", path=path)[0].text == CATS[37:]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"store": "pinecone"}, "needs PINECONE_API_KEY"),
        ({"index_name": "../up"}, "should be letters, digits"),
    ],
)
def test_a_configuration_that_means_nothing(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, config: dict[str, str], told: str
) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    result = rag(make_engine(), {"text": CATS}, **config)
    assert told in result.errors[0]
    assert result.metrics["steps_retried"] == 0


def test_the_embedded_store_takes_the_place_of_pinecone_when_told_to(
    make_engine: MakeEngine, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    result = rag(make_engine(), {"text": CATS}, store="pinecone", fallback="sqlite")
    assert any("PINECONE_API_KEY is not set: stored in SQLite" in one for one in result.warnings)
    assert len(texts_in(log)) == 2


def test_a_log_in_memory_has_no_place_beside_it(make_engine: MakeEngine) -> None:
    assert "give a path" in rag(make_engine(log=":memory:"), {"text": CATS}).errors[0]


def test_a_file_of_something_else_is_left_alone(make_engine: MakeEngine, log: Path) -> None:
    result = rag(make_engine(), {"text": CATS}, path=str(log))
    assert f"{log} is no vector index" in result.errors[0]


def test_nothing_to_store(make_engine: MakeEngine) -> None:
    pipeline = PipelineBuilder().add_step("store", "store_vectors").build("p")
    result = make_engine().execute_pipeline(pipeline, {"text": CATS})
    assert "put an 'embed' step before it" in result.errors[0]


def test_a_search_that_cannot_be_made(make_engine: MakeEngine, log: Path, tmp_path: Path) -> None:
    rag(make_engine(), {"text": CATS}, index_name="letters").raise_for_status()
    with pytest.raises(NoIndex, match="did you mean 'letters'"):
        search("a", log=log, index="leters")
    with pytest.raises(NoIndex, match="in memory"):
        search("a", log=":memory:")
    with pytest.raises(ValueError, match="empty"):
        search(" ", log=log, index="letters")
    with pytest.raises(ValueError, match="1 to 1000"):
        search("a", log=log, index="letters", top=0)
    (tmp_path / "other").write_bytes(b"no database at all" * 100)
    with pytest.raises(IndexMismatch, match="no vector index"):
        search("a", path=tmp_path / "other")


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 60),
    top=st.integers(1, 70),
    seed=st.integers(0, 1000),
    resident=st.sampled_from([0, 1 << 20]),
)
def test_the_scan_finds_what_an_exhaustive_comparison_finds(
    tmp_path_factory: pytest.TempPathFactory, count: int, top: int, seed: int, resident: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 8)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    question = vectors[0] if count else rng.normal(size=8)
    index = SqliteVectors(tmp_path_factory.mktemp("index") / "v.db")
    index.begin("m", 8)
    index.upsert([an_item(number, row.tobytes()) for number, row in enumerate(vectors)], "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_vectors, "BLOCK", 7)
        patch.setattr(sqlite_vectors, "RESIDENT", resident)
        hits = index.search(question.tolist(), top)
        assert index.search(question.tolist(), top) == hits
    index.close()
    expected = np.sort(vectors @ question)[::-1][:top] if count else []
    assert [hit.score for hit in hits] == pytest.approx(list(expected), abs=1e-5)
    assert len({hit.id for hit in hits}) == len(hits)


def an_item(number: int, values: bytes) -> Item:
    return Item(str(number), "chunk", "d", "s", 0, 1, "t", {"number": number}, values)


def test_a_write_that_breaks_off_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    index = SqliteVectors(tmp_path / "v.db")
    index.begin("m", 2)
    index.upsert([an_item(1, b"\0" * 8)], "run")
    with pytest.raises(sqlite3.IntegrityError):
        index.upsert([an_item(2, b"\0" * 8), an_item(3, None)], "run")  # type: ignore[arg-type]
    assert index.contents().count == 1
    index.close()
