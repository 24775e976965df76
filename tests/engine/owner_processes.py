"""What the tests of ownership run in processes of their own.

``share LOG TRACE RUNS``: executes, or follows, so many runs, and prints what they gave.
``hold LOG TRACE 0``: stops itself within a commit. ``obey LOG TRACE RUNS``: executes runs that go
on until they are told otherwise. Every execution leaves a line in TRACE.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine import ownership, requests
from semantica.pipeline.events import sqlite_file
from semantica.pipeline.events.sqlite import SqliteStore

LEASE = 1.0
"""Seconds: shorter than anybody would have it."""
REPORT_AFTER = 0.3
LENGTH = 40


def work(step: PipelineStep, data: int, context: Context, trace: str) -> int:
    line = f"{context.run_id} {step.name} {context.attempt} {os.getpid()}\n"
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
    time.sleep(0.05)  # the work itself: an owner is stopped amid it
    return data + 1


def obedient(data: Any, context: Context) -> None:
    while not context.should_yield():
        context.raise_if_cancelled()
        time.sleep(0.002)  # as a handler does that asks now and then
    context.hand_back()


def chain(trace: str) -> Pipeline:
    config, handler = {"trace": trace}, f"{__name__}:work"
    steps = [
        PipelineStep(f"s{i}", "t", config, [f"s{i - 1}"] if i else [], handler=handler)
        for i in range(LENGTH)
    ]
    return Pipeline("chain", steps)


def endless() -> Pipeline:
    return Pipeline("endless", [PipelineStep("only", "t", handler=f"{__name__}:obedient")])


def share(log: str, trace: str, runs: int) -> None:
    with ExecutionEngine(log, max_workers=4) as engine:
        print("begins", flush=True)
        pipeline = chain(trace)
        futures = [engine.execute_pipeline_async(pipeline, i, run_id=f"r{i}") for i in range(runs)]
        print(json.dumps([future.result().output for future in futures]), flush=True)


def hold(log: str, trace: str, runs: int) -> None:
    store = SqliteStore(log)
    with store._writing():
        print("holds", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    store.close()


def obey(log: str, trace: str, runs: int) -> None:
    with ExecutionEngine(log, max_workers=4) as engine:
        futures = [
            engine.execute_pipeline_async(endless(), run_id=f"{trace}{i}") for i in range(runs)
        ]
        while engine.get_status(f"{trace}{runs - 1}") != "running":
            time.sleep(0.005)  # before the test goes on, the last run has begun
        print("begins", flush=True)
        for future in futures:
            future.result()


def main() -> None:
    """See the module."""
    mode, log, trace, runs = sys.argv[1:5]
    requests.LEASE = ownership.LEASE = LEASE
    sqlite_file.REPORT_AFTER = REPORT_AFTER
    {"share": share, "hold": hold, "obey": obey}[mode](log, trace, int(runs))
