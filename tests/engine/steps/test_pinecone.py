"""The Pinecone store, by its own client, against a server that speaks the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from making import MakeEngine
from services import Answer, Request, serving

from semantica.pipeline import ExecutionResult, PipelineBuilder, RetryPolicy, search

SECRET = "pc-a-secret-of-ours"


class Service:
    """One index, ``documents``, of 512 dimensions."""

    def __init__(self) -> None:
        self.address = ""
        self.vectors: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.fault: Answer | None = None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.fault is not None:
            return self.fault
        match request.method, request.path:
            case "GET", "/indexes/documents":
                return 200, self.description()
            case "GET", path if path.startswith("/indexes/"):
                return 404, {"error": {"code": "NOT_FOUND", "message": "no"}, "status": 404}
            case _, "/describe_index_stats":
                count = len(self.vectors)
                spaces = {"": {"vectorCount": count}}
                return 200, {"namespaces": spaces, "dimension": 512, "totalVectorCount": count,
                             "indexFullness": 0}  # fmt: skip
            case _, "/vectors/upsert":
                for vector in request.body["vectors"]:
                    self.vectors[vector["id"]] = vector
                return 200, {"upsertedCount": len(request.body["vectors"])}
            case _, "/vectors/delete":
                origins, run = request.body["filter"]["$and"]
                self.vectors = {
                    key: one
                    for key, one in self.vectors.items()
                    if one["metadata"]["origin"] not in origins["origin"]["$in"]
                    or one["metadata"]["run"] == run["run"]["$ne"]
                }
                return 200, {}
            case _, "/query":
                return 200, {"matches": self.nearest(**request.body), "namespace": ""}
        return 400, {"code": 3, "message": f"unexpected {request.path}"}

    def nearest(self, vector: list[float], topK: int, **_: Any) -> list[dict[str, Any]]:
        found = [
            {
                "id": key,
                "score": sum(a * b for a, b in zip(vector, one["values"], strict=True)),
                "metadata": one["metadata"],
            }
            for key, one in self.vectors.items()
        ]
        return sorted(found, key=lambda one: -one["score"])[:topK]

    def description(self) -> dict[str, Any]:
        return {
            "name": "documents", "host": self.address, "deletion_protection": "disabled",
            "deployment": {
                "deployment_type": "managed", "cloud": "aws", "region": "us-east-1",
            },
            "schema": {
                "fields": {"v": {"type": "dense_vector", "dimension": 512, "metric": "cosine"}}
            },
            "status": {"ready": True, "state": "Ready"},
        }  # fmt: skip


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()
    with serving(service.answer) as address:
        service.address = address
        monkeypatch.setenv("PINECONE_API_KEY", SECRET)
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", address)
        yield service


def stored(make_engine: MakeEngine, text: str, index: str = "documents") -> ExecutionResult:
    pipeline = (
        PipelineBuilder()
        .add_step("chunk", "chunk", chunk_size=40, overlap=0)
        .add_step("embed", "embed", model="hashing")
        .add_step(
            "store",
            "store_vectors",
            store="pinecone",
            index_name=index,
            retry=RetryPolicy(max_retries=1, initial_delay=0.01),
        )
        .build("p")
    )
    return make_engine().execute_pipeline(pipeline, {"id": "a", "text": text})


CATS = "Cats sleep on the sofa all day long. Dogs bark at the postman in the morning."


def test_vectors_are_stored_found_and_replaced(make_engine: MakeEngine, service: Service) -> None:
    stored(make_engine, CATS).raise_for_status()
    stored(make_engine, CATS).raise_for_status()
    assert len(service.vectors) == 2
    assert service.requests[0].headers["api-key"] == SECRET
    first, second = search("who will bark at the postman?", index="documents", store="pinecone")
    assert first.text == CATS[first.start : first.end] == CATS[37:]
    assert first.score > second.score
    stored(make_engine, "Birds sing.").raise_for_status()
    assert [one["metadata"]["text"] for one in service.vectors.values()] == ["Birds sing."]


def test_an_index_that_is_not_there_is_a_clear_error(
    make_engine: MakeEngine, service: Service
) -> None:
    result = stored(make_engine, CATS, index="other")
    assert "there is no index 'other' at Pinecone" in result.errors[0]
    assert result.metrics["steps_retried"] == 0


@pytest.mark.parametrize(("status", "retries"), [(401, 0), (400, 0), (429, 1)])
def test_only_what_may_pass_is_retried_and_no_key_is_recorded(
    make_engine: MakeEngine, service: Service, status: int, retries: int
) -> None:
    service.fault = status, {"error": {"code": "X", "message": "not now"}, "status": status}
    result = stored(make_engine, CATS)
    assert not result.success
    assert result.metrics["steps_retried"] == retries
    assert SECRET not in result.errors[0]
