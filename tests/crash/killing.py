"""Kill a process again and again, look at its log after every death, and let it finish."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import workload
from invariants import check_history, check_log

from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import to_event

PROGRESS = 8
"""Executions that each life gets to begin, twice as many as are in flight at once."""


class Outcome(NamedTuple):
    """How a run that was killed on the way ended."""

    output: int
    kills: int
    history: list[Envelope]
    executions: list[tuple[str, int]]
    """Step and attempt of every execution of a handler, in order."""
    steps: int


def start(log: Path, shape: str, mode: str, trace: Path) -> subprocess.Popen[str]:
    """Begin, or go on with, the workload in a process of its own."""
    command = "import workload; workload.main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, str(log), shape, mode, str(trace)],
        cwd=Path(workload.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def survive(folder: Path, shape: str, mode: str, kills: int, seed: int) -> Outcome:
    """Run ``shape``, SIGKILL it ``kills`` times at random moments, then let it end."""
    chance = random.Random(seed)
    log, trace = folder / "crash.db", folder / "executions"
    seen: list[Envelope] = []
    killed = 0
    while killed < kills:
        process = start(log, shape, mode, trace)
        before = _executions(trace)
        time.sleep(chance.uniform(0.15, 0.45))  # the kill comes at any instruction
        while _executions(trace) < before + PROGRESS and process.poll() is None:
            time.sleep(0.005)  # a slow machine: three lives without progress would fail the run
        if process.poll() is not None:
            break  # it was faster; what remains to be seen is the same
        process.kill()
        process.communicate()
        killed += 1
        seen = look(log, seen)
    else:
        process = start(log, shape, "same", trace)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    history = look(log, seen)
    return Outcome(
        output=json.loads(out)["output"],
        kills=killed,
        history=history,
        executions=[_parse(line) for line in trace.read_text().splitlines()],
        steps=len(workload.SHAPES[shape]("").steps),
    )


def look(log: Path, seen: list[Envelope]) -> list[Envelope]:
    """Read the log of the dead process: nothing seen before may be lost or changed."""
    if not log.exists():
        return []
    store = SqliteStore(log)
    try:
        history = list(store.read(f"run/{workload.RUN_ID}"))
        assert history[: len(seen)] == seen, "an event was lost or changed"
        check_history(history)
        check_log(store)
    finally:
        store.close()
    return history


def never_executed_after_completion(outcome: Outcome) -> None:
    """Every execution is one that the log ordered, and none follows the step's completion."""
    started: dict[str, int] = {}
    completed: dict[str, int] = {}
    for envelope in outcome.history:
        event: Any = to_event(envelope)
        if envelope.type == "StepStarted":
            started[event.step] = event.attempt
        elif envelope.type == "StepCompleted":
            completed[event.step] = event.attempt
    assert len(completed) == outcome.steps
    assert len(set(outcome.executions)) == len(outcome.executions), "an attempt was executed twice"
    for step, attempt in outcome.executions:
        assert attempt <= started[step]
        assert attempt <= completed[step], f"{step} was executed after its completion"


def _executions(trace: Path) -> int:
    return len(trace.read_text().splitlines()) if trace.exists() else 0


def _parse(line: str) -> tuple[str, int]:
    step, attempt = line.split()
    return step, int(attempt)
