"""OpenTelemetry spans say of a run what its events say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder, PipelineStep, RetryPolicy
from semantica.pipeline.tools.cli import cli

tried: list[int] = []


def flaky(data: object) -> int:
    tried.append(1)
    if len(tried) == 1:
        raise ConnectionError("not yet")
    return 1


def broken(data: object) -> None:
    raise ValueError("no good")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run within another, whose step needs two attempts; and one that fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_LOG", "log.db")
    tried.clear()
    retry = RetryPolicy(max_retries=1, initial_delay=0.01)
    inner = Pipeline("inner", [PipelineStep("flaky", "t", handler=flaky, retry=retry)])
    with ExecutionEngine("log.db") as engine:
        outer = PipelineBuilder().add_step("sub", pipeline=inner).build("outer")
        engine.execute_pipeline(outer, run_id="good")
        engine.execute_pipeline(
            Pipeline("bad", [PipelineStep("broken", "t", handler=broken)]), run_id="bad"
        )
    return tmp_path / "log.db"


class Collector(BaseHTTPRequestHandler):
    """Decodes what it is sent, as a collector does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def collector() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def told(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(cli, ["export", *words])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.stderr


def test_a_collector_is_sent_what_happened(log: Path, collector: Any) -> None:
    url = f"http://127.0.0.1:{collector.server_port}"
    assert told("good", "--otlp", url) == f"{url}: 2 runs, 8 spans\n"
    ((path, request),) = collector.received
    assert path == "/v1/traces"
    spans = {
        one.name: one for group in request.resource_spans for s in group.scope_spans
        for one in s.spans
    }  # fmt: skip
    assert len({one.span_id for one in spans.values()}) == 8
    outer, sub, inner, flaky = (spans[name] for name in ("outer", "sub", "inner", "flaky"))
    first, second = spans["flaky attempt 1"], spans["flaky attempt 2"]
    assert not outer.parent_span_id and sub.parent_span_id == outer.span_id
    assert first.parent_span_id == second.parent_span_id == flaky.span_id
    assert outer.trace_id == sub.trace_id != inner.trace_id == flaky.trace_id
    assert [(one.trace_id, one.span_id) for one in inner.links] == [(sub.trace_id, sub.span_id)]
    assert [(one.trace_id, one.span_id) for one in sub.links] == [(inner.trace_id, inner.span_id)]
    assert (first.status.code, second.status.code, flaky.status.code) == (2, 0, 0)
    (error,) = first.events
    facts = {one.key: one.value.string_value for one in error.attributes}
    assert facts["exception.message"] == "not yet" and "ConnectionError" in facts["exception.type"]
    assert "flaky" in facts["exception.stacktrace"]
    with ExecutionEngine("log.db") as engine:
        ran = engine.timeline(next(row.run_id for row in engine.runs() if row.parent))
    times = [(one.start, one.end) for one in ran.attempts]
    assert [(one.start_time_unix_nano, one.end_time_unix_nano) for one in (first, second)] == times


def test_a_file_has_otlp_as_json_and_the_same_ids_each_time(log: Path, tmp_path: Path) -> None:
    told("--all", "--otlp", "one.jsonl")
    told("--all", "--otlp", "two.jsonl")
    text = (tmp_path / "one.jsonl").read_text()
    assert text == (tmp_path / "two.jsonl").read_text()
    (line,) = map(json.loads, text.splitlines())
    spans = [one for group in line["resourceSpans"] for s in group["scopeSpans"]
             for one in s["spans"]]  # fmt: skip
    run = next(one for one in spans if one["name"] == "bad")
    assert len(run["traceId"]) == 32 and len(run["spanId"]) == 16 and int(run["spanId"], 16)
    assert run["status"] == {"code": 2, "message": "ValueError: no good"}
    assert run["startTimeUnixNano"].isdigit()
    assert "exists" in told("--all", "--otlp", "one.jsonl", status=2)


def test_a_fork_is_linked_to_its_origin(log: Path, tmp_path: Path) -> None:
    with ExecutionEngine("log.db") as engine:
        engine.fork("bad", from_step="broken")
        made = engine.runs(name="bad")[0].run_id
    told(made, "--otlp", "fork.jsonl")
    told("--all", "--otlp", "all.jsonl")
    text = (tmp_path / "fork.jsonl").read_text()
    (link,) = json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["links"]
    every = json.loads((tmp_path / "all.jsonl").read_text())["resourceSpans"][0]["scopeSpans"][0]
    origin = next(
        one
        for one in every["spans"]
        if {"key": "pipeline.run", "value": {"stringValue": "bad"}} in one["attributes"]
    )
    assert (link["traceId"], link["spanId"]) == (origin["traceId"], origin["spanId"])


def test_a_collector_that_refuses_is_an_error(log: Path, collector: Any) -> None:
    collector.answer = 400
    url = f"http://127.0.0.1:{collector.server_port}/mine"
    error = told("bad", "--otlp", url, status=2)
    assert error.startswith(f"error: {url} does not take the spans: ") and "400" in error
    assert collector.received[0][0] == "/mine"
    assert "say where to" in told("bad", status=2)
    assert "say where to" in told("bad", "--otlp", "x", "--output", "y", status=2)
