"""``submit``, ``worker`` and ``queues``, in processes of their own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from tools.conftest import Shell

from semantica.pipeline import ExecutionEngine
from semantica.pipeline.events.pipeline import Origin
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.tools.loading import load
from semantica.pipeline.tools.monitoring.serving import address
from semantica.pipeline.tools.terminal import BadInput
from semantica.pipeline.tools.working import parse_limits

FAR = 60.0
"""Seconds that nothing here takes."""
FLOWS = '''
import time
from pathlib import Path
from semantica.pipeline import PipelineBuilder

HERE = Path(__file__).parent

def hold(step, context):
    """Say that it runs, and that it is asked to come back, but wait for a file."""
    (HERE / f"began-{step.name}-{context.attempt}").touch()
    while not (HERE / f"open-{step.name}").exists():
        if context.should_yield():
            (HERE / "asked").touch()
        time.sleep(0.01)
    return step.name

two = PipelineBuilder("two").add_step("a", "hold", handler=hold).add_step("b", "hold", handler=hold)
'''


@pytest.fixture
def queues(shell: Shell) -> Shell:
    (shell.flows / "holding.py").write_text(FLOWS)
    return shell


def put(shell: Shell, flow: str, **how: Any) -> str:
    """What ``submit`` does, without a process of its own."""
    target, path = f"{shell.flows}/{flow}", sys.path[:]
    try:
        with ExecutionEngine(shell.log) as engine:
            return engine.submit(load(target), origin=Origin(target, str(shell.folder)), **how)
    finally:
        sys.path[:] = path
        del sys.modules[flow.partition(".")[0]]  # the next test has another one of this name


def eventually(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + FAR
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def began(shell: Shell, step: str, attempt: int = 1) -> None:
    eventually((shell.flows / f"began-{step}-{attempt}").exists)


def let(shell: Shell, *steps: str) -> None:
    for step in steps:
        (shell.flows / f"open-{step}").touch()


def ended(process: subprocess.Popen[str], status: int) -> str:
    _, said = process.communicate(timeout=FAR)
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def test_a_worker_that_is_asked_to_hands_its_runs_back(queues: Shell) -> None:
    run = put(queues, "holding.py:two")
    first = queues.start("worker")
    began(queues, "a")
    first.send_signal(signal.SIGTERM)
    eventually((queues.flows / "asked").exists)
    let(queues, "a")
    said = ended(first, 0)
    assert f"handed back: run {run} (two), running, 1 of 2 steps done" in said
    assert not (queues.flows / "began-b-1").exists(), "nothing was begun after the signal"
    second = queues.start("worker")
    let(queues, "b")
    began(queues, "b")
    store = SqliteStore(queues.log)
    eventually(lambda: store.runs()[0].status == "completed")
    store.close()
    second.send_signal(signal.SIGINT)
    assert f"run {run} (two) completed" in ended(second, 0)
    assert not (queues.flows / "began-a-2").exists(), "what was done is not done again"


def test_health_and_metrics_of_a_worker(queues: Shell) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    put(queues, "flows.py:failing", queue='odd "name"\\')
    put(queues, "flows.py:sums", queue="idle")
    worker = queues.start("worker", "--metrics", "0", "--queue", 'odd "name"\\')
    assert worker.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", worker.stderr.readline())
    assert found is not None

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(found[0] + path, timeout=FAR) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    assert get("/healthz") == (200, "alive\n")
    eventually(lambda: get("/readyz") == (200, "ready\n"))
    assert get("/other")[0] == 404
    eventually(lambda: "semantica_run_ends_total{" in get("/metrics")[1])
    samples = {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(get("/metrics")[1])
        for one in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples[(f"semantica_{name}", *sorted(labels.items()))]

    assert value("run_ends_total", pipeline="failing", status="failed") == 1
    assert value("step_attempts_total", pipeline="failing", outcome="failed") == 1
    assert sum(v for key, v in samples.items() if key[0] == "semantica_step_failures_total") == 1
    assert value("run_wait_seconds_count", pipeline="failing") == 1
    assert value("runs", status="pending", queue="idle") == 1
    assert value("queue_oldest_seconds", queue="idle") > 0
    assert value("worker_runs") == 0 and value("lost_runs") == 0
    assert sum(key[0] == "semantica_lease_age_seconds" for key in samples) == 1
    assert samples[("process_resident_memory_bytes",)] > 10**6
    store = SqliteStore(queues.log)
    assert value("events_total") == store.position()
    store.close()
    worker.send_signal(signal.SIGTERM)
    ended(worker, 0)


def test_a_run_is_submitted_and_a_worker_executes_it(queues: Shell) -> None:
    how = ("--queue", "nightly", "--run-id", "monday", "--priority", "2")
    told = queues.json("submit", "flows/flows.py:sums", *how)
    assert (told["run"], told["queue"]) == ("monday", "nightly")
    foreign = put(queues, "holding.py:two", queue="nightly")
    (queues.flows / "holding.py").unlink()
    waiting = queues.json("runs", "--status", "queued")
    assert {row["run_id"] for row in waiting} == {foreign, "monday"}
    assert "in queue nightly: 2 wait there, 0 go on" in queues("status", "monday").stdout
    worker = queues.start("worker", "--json")
    result = queues.json("submit", "flows/flows.py:failing", "--wait", status=1)
    assert "no good" in result["errors"][0]
    (line,) = queues.json("queues")
    assert (line["queue"], line["waiting"], line["running"]) == ("nightly", 1, 0)
    worker.send_signal(signal.SIGTERM)
    out, said = worker.communicate(timeout=FAR)
    assert worker.returncode == 0
    ends = {one["run"]: one["status"] for one in map(json.loads, out.splitlines())}
    assert ends == {"monday": "completed", result["run_id"]: "failed"}
    assert said.count("a run is left to other workers") == 1, said


@pytest.mark.parametrize(("signals", "grace", "status"), [(1, "0", 1), (2, "3600", 130)])
def test_a_worker_whose_steps_do_not_end_leaves_them_to_others(
    queues: Shell, signals: int, grace: str, status: int
) -> None:
    run = put(queues, "holding.py:two")
    worker = queues.start("worker", "--grace", grace)
    began(queues, "a")
    for _ in range(signals):
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.05)  # two signals that are pending at once are one
    ended(worker, status)
    store = SqliteStore(queues.log)
    row = store.run(run)
    assert row is not None and row.owner is not None
    assert (row.status, store.alive(row.owner, time.time_ns())) == ("running", False)
    store.close()


def test_what_is_wrong_is_said(queues: Shell) -> None:
    assert "did you mean 'queue'" in queues.error("worker", "--limit", "qeue=a:1")
    assert "in memory" in queues.error("submit", "flows/flows.py:sums", "--log", ":memory:")
    for limits in (["queue=a"], ["queue=:1"], ["queue=a:x"], ["queue=a:1", "queue=a:2"]):
        with pytest.raises(BadInput, match="--limit"):
            parse_limits(limits)
    for where in ("here", "host:", "1:99999", ":1"):
        with pytest.raises(BadInput, match="give it as PORT"):
            address(where)


def test_what_limits_and_addresses_say() -> None:
    limits = parse_limits(["pipeline=a:b:3", "queue=nightly:0"])
    assert (limits.pipelines, limits.queues) == ({"a:b": 3}, {"nightly": 0})
    assert [address(text) for text in ("0", "0.0.0.0:80", "[::1]:9464")] == [
        ("127.0.0.1", 0),
        ("0.0.0.0", 80),
        ("::1", 9464),
    ]
