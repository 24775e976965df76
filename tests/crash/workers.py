"""Workers that are killed at random while they share the queues of a log, and what must hold."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import queue_workload as w
from invariants import check_log

from semantica.pipeline.events.machines import NEW, PIPELINE_TABLE, PipelineStatus
from semantica.pipeline.events.pipeline import PipelineSubmitted
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Store
from semantica.pipeline.events.upcasters import to_event

PATIENCE = 120.0
"""Seconds that nothing here takes."""
PROGRESS = 6
"""Executions between two kills, so that all comes to an end."""


class Seen(NamedTuple):
    """What was seen."""

    kills: int
    takeovers: int
    interrupted: int
    workers: int
    """Engines that have claimed something."""
    most: Counter[str]
    """Most runs that went on at once, by pipeline and by queue."""


def start(log: Path, *options: str) -> subprocess.Popen[bytes]:
    """A worker, as its users start it."""
    limits = [f"--limit={kind}={n}:{m}" for kind, all_ in w.LIMITS.items() for n, m in all_.items()]
    words = ["worker", f"--log={log}", "--durability=normal", "--concurrency=3", *limits, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "semantica.pipeline", *words],
        cwd=Path(w.__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def survive(folder: Path, *, runs: int, workers: int, kills: int, seed: int) -> Seen:
    """Submit runs, have workers execute them, SIGKILL workers at random, and check everything."""
    chance = random.Random(seed)
    log, trace = folder / "log.db", folder / "executions"
    store = SqliteStore(log)
    alive = [start(log) for _ in range(workers)]
    killed, passed, repeated = 0, 0, Repeated(store)
    try:
        deadline = time.monotonic() + PATIENCE + runs
        while len(store.members()) < workers:
            assert time.monotonic() < deadline, "the workers do not start"
            time.sleep(0.01)  # processes that start tell nobody
        ids = w.submit(log, trace, runs)
        while len(store.runs(statuses=[PipelineStatus.COMPLETED])) < runs:
            assert time.monotonic() < deadline, Counter(str(row.status) for row in store.runs())
            time.sleep(chance.uniform(0.01, 0.05))  # the kill comes at any instruction
            for process in alive:
                assert process.poll() is None, process.communicate()[1].decode()
            done, again = _lines(trace), repeated.look()
            if killed < kills and done >= passed + PROGRESS and not again:
                victim = alive.pop(chance.randrange(len(alive)))
                victim.kill()
                victim.communicate()
                alive.append(start(log))
                killed, passed = killed + 1, done
    finally:
        for process in alive:
            process.kill()
            process.communicate()
    try:
        check_log(store)
        every_run_was_executed_once(store, ids, trace)
        takeovers, interrupted, owners = _claims(store)
        return Seen(killed, takeovers, interrupted, owners, within_limits(store))
    finally:
        store.close()


class Repeated:
    """The attempts in flight that are not the first ones: a step that is lost three times fails,
    since it may be what kills its process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._position = 0
        self._flying: set[tuple[str, str]] = set()

    def look(self) -> set[tuple[str, str]]:
        for e in self._store.read_all(self._position):
            self._position = e.position
            event = to_event(e)
            if e.type == "StepStarted" and event.attempt > 1:
                self._flying.add((e.stream, event.step))
            elif e.type == "StepCompleted":
                self._flying.discard((e.stream, event.step))
        return self._flying


def every_run_was_executed_once(store: Store, ids: Any, trace: Path) -> None:
    """Each ended once, and no step was executed after its completion."""
    executed = [tuple(line.split()) for line in trace.read_text().splitlines()]
    assert len(set(executed)) == len(executed), "an attempt was executed twice"
    completed: dict[tuple[str, str], int] = {}
    for run in ids:
        events = list(store.read(f"run/{run}"))
        assert Counter(e.type for e in events)["PipelineCompleted"] == 1
        for e in events:
            event = to_event(e)
            if e.type == "StepCompleted":
                assert (run, event.step) not in completed
                completed[run, event.step] = event.attempt
                assert json.loads(bytes(event.output.inline)) == int(event.step[1:]) + 1
    assert len(completed) == len(ids) * w.STEPS
    for run, step, attempt in executed:
        assert int(attempt) <= completed[run, step], f"{step} was executed after its completion"


def within_limits(store: Store) -> Counter[str]:
    """Go through all that happened, in order, and count what went on: never too much."""
    status: dict[str, str] = {}
    submitted: dict[str, PipelineSubmitted] = {}
    going: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for e in store.read_all():
        if not e.type.startswith("Pipeline"):
            continue
        if e.type == "PipelineSubmitted":
            submitted[e.stream] = to_event(e)
        before = status.get(e.stream, NEW)
        after = status[e.stream] = PIPELINE_TABLE[before, e.type]
        change = _takes_place(after) - _takes_place(before)
        first = submitted[e.stream]
        for key in (f"pipeline {first.name}", f"queue {first.queue}"):
            going[key] += change
            most[key] = max(most[key], going[key])
    for kind, limits in w.LIMITS.items():
        for name, limit in limits.items():
            assert most[f"{kind} {name}"] <= limit, (kind, name, most)
    return most


def _takes_place(status: str) -> bool:
    return status != NEW and PipelineStatus(status).active


def _claims(store: Store) -> tuple[int, int, int]:
    claims: Counter[str] = Counter()
    interrupted, owners = 0, set()
    for e in store.read_all():
        interrupted += e.type == "StepInterrupted"
        if e.type == "PipelineClaimed":
            claims[e.stream] += 1
            owners.add(to_event(e).owner)
    return sum(n - 1 for n in claims.values()), interrupted, len(owners)


def _lines(trace: Path) -> int:
    return len(trace.read_bytes().splitlines()) if trace.exists() else 0
