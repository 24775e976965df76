"""Models of the OpenAI API, by its own client, against a server that speaks the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import MakeEngine
from services import Answer, Request, serving

from semantica.pipeline import ExecutionResult, PipelineBuilder, RetryPolicy
from semantica.pipeline.engine.steps.embedding.openai_api import OpenAIModel

SECRET = "sk-a-secret-of-ours-123456"
TEXTS = [{"id": f"d{i}", "text": f"text {i}"} for i in range(10)]


class Api:
    """Embeds a text as its length and its last digit; ``faults`` are answered first."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[Answer] = []

    def answer(self, request: Request) -> Answer:
        assert request.path == "/v1/embeddings"
        self.requests.append(request)
        if self.faults:
            return self.faults.pop(0)
        rows = [
            {"object": "embedding", "index": index, "embedding": embedding(text)}
            for index, text in enumerate(request.body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return 200, {"object": "list", "data": rows[::-1], "model": "m", "usage": usage}


def embedding(text: str) -> list[float]:
    return [float(len(text)), float(text[-1]) if text[-1].isdigit() else 0.0, 1.0]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()
    with serving(api.answer) as address:
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
        yield api


def fault(status: int, message: str, code: str | None = None) -> Answer:
    return status, {"error": {"message": message, "type": "error", "code": code}}


def embedded(make_engine: MakeEngine, **config: Any) -> ExecutionResult:
    pipeline = (
        PipelineBuilder()
        .add_step(
            "embed",
            "embed",
            retry=RetryPolicy(max_retries=2, initial_delay=0.01),
            **{"model": "text-embedding-3-large", "batch_size": 4, **config},
        )
        .build("p")
    )
    return make_engine().execute_pipeline(pipeline, TEXTS)


def test_texts_are_sent_in_batches_and_each_gets_its_own_vector(
    make_engine: MakeEngine, api: Api
) -> None:
    result = embedded(make_engine).raise_for_status()
    assert not result.warnings
    assert sorted(len(one.body["input"]) for one in api.requests) == [2, 4, 4]
    assert {one.body["model"] for one in api.requests} == {"text-embedding-3-large"}
    assert api.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    corpus = result.output
    for chunk, vector in zip(corpus.chunks, corpus.vectors, strict=True):
        wanted = np.array(embedding(chunk.text))
        assert vector.floats == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)


@pytest.mark.parametrize(
    "answer", [fault(429, "slow down"), fault(503, "overloaded"), (200, {"data": []})]
)
def test_what_may_pass_is_retried_and_only_the_failed_batch_is_sent_again(
    make_engine: MakeEngine, api: Api, answer: Answer
) -> None:
    api.faults = [answer]
    result = embedded(make_engine).raise_for_status()
    assert result.metrics["steps_retried"] == 1
    assert len(api.requests) == 4
    assert len(result.output.vectors) == 10


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (fault(401, f"Incorrect API key provided: {SECRET}"), "OPENAI_API_KEY may not use"),
        (fault(400, "no such dimensions"), "no such dimensions"),
        (fault(429, "you are out of money", "insufficient_quota"), "out of money"),
    ],
)
def test_what_will_not_pass_is_not_retried_and_no_key_is_recorded(
    make_engine: MakeEngine, api: Api, log: Path, answer: Answer, told: str
) -> None:
    api.faults = [answer] * 3
    result = embedded(make_engine)
    assert not result.success
    assert told in result.errors[0]
    assert result.metrics["steps_retried"] == 0
    kept = b"".join(file.read_bytes() for file in log.parent.rglob("*") if file.is_file())
    assert SECRET.encode() not in kept
    assert SECRET[:8].encode() not in kept


def test_a_server_that_is_not_there_is_worth_a_retry(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda _: (200, None)) as address:
        pass
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
    result = embedded(make_engine)
    assert f"{address}/v1/: " in result.errors[0]
    assert result.metrics["steps_retried"] == 2


def test_other_servers_have_models_of_other_names(make_engine: MakeEngine, api: Api) -> None:
    result = embedded(make_engine, model="openai:nomic-embed").raise_for_status()
    assert api.requests[0].body["model"] == "nomic-embed"
    assert {vector.model for vector in result.output.vectors} == {"openai:nomic-embed"}


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("text", ["word " * 100, "日本語" * 100, "x", ""])
def test_pieces_hold_all_of_a_text_and_no_more_bytes_than_tokens_are_allowed(text: str) -> None:
    model = OpenAIModel("m", "m", max_length=64)
    pieces = model.pieces(text)
    assert "".join(piece.content for piece in pieces) == (text or " ")
    assert all(len(piece.content.encode()) <= 64 for piece in pieces)
    assert len(pieces) <= len(text.encode()) // 61 + 1
