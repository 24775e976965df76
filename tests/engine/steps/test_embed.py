"""The step ``embed``: what is embedded, what is not embedded twice, and what it warns of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import embedding_workload
import numpy as np
import pytest
from making import MakeEngine

from semantica.pipeline import ExecutionResult, PipelineBuilder
from semantica.pipeline.engine.steps.corpus import Corpus, CorpusWriter, Entity
from semantica.pipeline.engine.steps.embedding.cache import VectorCache
from semantica.pipeline.events.sqlite import SqliteStore

TEXTS = [{"id": "cats", "text": "Cats sleep all day."}, {"id": "law", "text": "The law is long."}]


def embedded(engine: Any, data: Any = TEXTS, executor: str = "thread", **config: Any) -> Any:
    config = {"model": "hashing", **config}
    pipeline = PipelineBuilder().add_step("embed", "embed", executor=executor, **config).build("p")
    return engine.execute_pipeline(pipeline, data)


def matrix(corpus: Corpus) -> Any:
    return np.array([vector.floats for vector in corpus.vectors])


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_documents_without_chunks_are_cut_first(make_engine: MakeEngine, executor: str) -> None:
    long = {"id": "long", "text": "A sentence of some words. " * 60}
    result = embedded(make_engine(), [*TEXTS, long], executor)
    corpus = result.raise_for_status().output
    assert [one.source for one in corpus.vectors] == [one.id for one in corpus.chunks]
    assert len(corpus.chunks) > 3
    assert np.linalg.norm(matrix(corpus), axis=1) == pytest.approx(1, abs=1e-5)
    assert result.metrics["chunks_embedded"] == len(corpus.chunks)


def test_documents_and_entities_when_asked(make_engine: MakeEngine) -> None:
    def name(data: Any, context: Any) -> Corpus:
        corpus = Corpus.of(data, context.artifacts)
        writer = CorpusWriter(context.artifacts)
        writer.carry(corpus)
        writer.add(Entity("e", "cats", "ANIMAL", "Cats", 0, 4))
        return writer.finish()

    pipeline = (
        PipelineBuilder()
        .add_step("name", "name", handler=name)
        .add_step("embed", "embed", model="hashing", what=["documents", "entities"])
        .build("p")
    )
    result = make_engine().execute_pipeline(pipeline, TEXTS)
    assert [one.source for one in result.output.vectors] == ["cats", "law", "e"]
    assert not result.output.chunks
    assert result.metrics["documents_embedded"] == 2
    assert result.metrics["entities_embedded"] == 1


def test_vectors_of_other_models_stay_and_those_of_this_one_are_replaced(
    make_engine: MakeEngine, minilm: str
) -> None:
    pipeline = (
        PipelineBuilder()
        .add_step("one", "embed", model="hashing", what="documents")
        .add_step("two", "embed", what="documents")
        .add_step("again", "embed", model="hashing", what="documents")
        .build("p")
    )
    corpus = make_engine().execute_pipeline(pipeline, TEXTS).raise_for_status().output
    assert Counter(vector.model for vector in corpus.vectors) == {"hashing": 2, minilm: 2}


def test_a_second_run_embeds_nothing_anew(make_engine: MakeEngine, minilm: str) -> None:
    engine = make_engine()
    first = embedded(engine, model=minilm)
    second = embedded(engine, [*TEXTS, {"id": "new", "text": "Dogs bark."}], model=minilm)
    assert first.metrics["texts_embedded"] == 2
    assert second.metrics["texts_embedded"] == 1
    assert second.metrics["vectors_reused"] == 2
    assert second.metrics["chunks_embedded"] == 3
    assert (matrix(second.output)[:2] == matrix(first.output)).all()
    apart = embedded(engine, model=minilm, reuse=False)
    assert apart.metrics["texts_embedded"] == 2


@pytest.mark.parametrize("reuse", [False, True])
def test_after_a_kill_batches_that_were_recorded_are_not_embedded_again(
    log: Path, reuse: bool
) -> None:
    words = [sys.executable, embedding_workload.__file__, str(log), "20", str(reuse)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = [process.stdout.readline().strip() for _ in range(30)]
    process.kill()
    first += process.communicate()[0].split("\n")[:-1]
    recorded = items(log)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    *second, last = done.stdout.splitlines()
    assert last == "done 80"
    assert recorded, "it was killed before anything was recorded"
    assert len(second) <= 80 - 4 * len(recorded)
    assert {*first, *second} == {f"text {number}" for number in range(80)}
    assert max(Counter(items(log)).values()) == 1


def items(log: Path) -> list[str]:
    store = SqliteStore(log)
    try:
        found = [one for one in store.read("run/slow") if one.type == "StepItemCompleted"]
        return [json.loads(one.payload)["key"] for one in found]
    finally:
        store.close()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_the_local_model_takes_the_place_of_one_without_a_key_and_the_result_says_so(
    make_engine: MakeEngine, minilm: str, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    engine = make_engine()
    result = embedded(engine, executor=executor, model="text-embedding-3-large")
    assert {vector.model for vector in result.output.vectors} == {minilm}
    (warning,) = result.warnings
    assert warning.startswith("step 'embed': OPENAI_API_KEY is not set")
    (completed,) = [one for one in engine.history(result.run_id) if one.type == "StepCompleted"]
    assert len(json.loads(completed.payload)["warnings"]) == 1


def test_the_hashing_model_says_what_it_is(make_engine: MakeEngine) -> None:
    assert "knows no meaning" in embedded(make_engine()).warnings[0]


def failed(result: ExecutionResult) -> str:
    assert not result.success
    assert result.metrics["steps_retried"] == 0
    return result.errors[0]


def test_what_cannot_be_embedded_is_a_clear_error(make_engine: MakeEngine) -> None:
    engine = make_engine()
    assert "did you mean 'text-embedding-3-large'?" in failed(
        embedded(engine, model="text-embeding-3-large")
    )
    assert "no entities with text" in failed(embedded(engine, what="entities"))
    assert "never parsed" in failed(embedded(engine, [{"source": "a.txt"}]))


def test_a_cache_that_cannot_be_used_costs_a_warning(make_engine: MakeEngine, log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.with_name(f"{log.name}.embeddings").write_bytes(b"no database" * 1000)
    result = embedded(make_engine())
    assert len(result.raise_for_status().output.vectors) == 2
    assert "file is not a database; it may be deleted" in result.warnings[1]


def test_the_cache_forgets_what_was_longest_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache"
    days = iter(range(0, 86_400 * 100, 86_400))
    monkeypatch.setattr("time.time", lambda: next(days))
    cache = VectorCache(path, capacity=1000)
    for number in range(20):
        cache.put({bytes([number]): b"x" * 100})
        cache.get([b"\0"])  # this one is of use every day
    cache.close()
    cache = VectorCache(path)
    kept = cache.get([bytes([number]) for number in range(20)])
    assert sorted(key[0] for key in kept) == [0, *range(12, 20)]
    cache.close()
