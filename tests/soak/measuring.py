"""Run a mixed load for a while, and see what grows: memory, handles, threads, processes."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from soak import load

from semantica.pipeline import ExecutionEngine

IN_FLIGHT = 12
"""Runs at once."""
WARM_UP = 0.4
"""The share of the time after which nothing may grow."""
ALLOWED = {"memory": 1.06, "files": 1.0, "threads": 1.0, "processes": 1.0, "cost": 1.3}
"""Largest ratio of the last to the first third after the warm-up, medians."""
SLACK = {"memory": 6.0, "files": 6, "threads": 6, "processes": 2, "cost": 5.0}
"""What a median may differ by all the same: what is in flight at the moment."""


class Sample(NamedTuple):
    """What the process and its children have at a moment. ``memory`` in MiB, resident, of the
    process alone; ``wal`` is the length of the write-ahead log in MiB; ``cost`` what a run has
    taken of the processor since the last sample, in ms."""

    seconds: float
    runs: int
    memory: float
    files: int
    threads: int
    processes: int
    wal: float
    cost: float


HEADER = "seconds     runs  memory MiB  files  threads  processes  wal MiB  ms a run"


def row(sample: Sample) -> str:
    """A line of the table under :data:`HEADER`."""
    s = sample
    return (
        f"{s.seconds:7.0f} {s.runs:8} {s.memory:11.1f} {s.files:6} {s.threads:8} "
        f"{s.processes:10} {s.wal:8.1f} {s.cost:9.2f}"
    )


def soak(
    log: Path, seconds: float, every: float, told: Callable[[Sample], None], seed: int = 1
) -> list[Sample]:
    """Keep :data:`IN_FLIGHT` runs going. Raises AssertionError when one ends as it should not."""
    samples: list[Sample] = []
    begun = time.monotonic()
    with ExecutionEngine(log, max_workers=4) as engine:
        engine.resource_scheduler.register_resource("slots", "custom", 3)
        waiting: deque[tuple[load.PipelineFuture, str]] = deque()
        runs, next_look = 0, every
        before = 0, time.process_time()
        for name, pipeline, ending in load.drawn(seed):
            waiting.append((load.begin(engine, name, pipeline), ending))
            if len(waiting) == IN_FLIGHT:
                load.check(*waiting.popleft())
                runs += 1
            spent = time.monotonic() - begun
            if spent >= next_look:
                next_look += every
                now = runs, time.process_time()
                cost = (now[1] - before[1]) / max(1, now[0] - before[0])
                before = now
                samples.append(_look(log, spent, runs, cost * 1e3))
                told(samples[-1])
            if spent >= seconds:
                break
        for future, ending in waiting:
            load.check(future, ending)
    return samples


def _look(log: Path, seconds: float, runs: int, cost: float) -> Sample:
    me = psutil.Process()
    wal = log.with_name(log.name + "-wal")
    return Sample(
        seconds=seconds,
        runs=runs,
        memory=me.memory_info().rss / 2**20,
        files=me.num_fds(),
        threads=me.num_threads(),
        processes=len(me.children(recursive=True)),
        wal=wal.stat().st_size / 2**20 if wal.exists() else 0.0,
        cost=cost,
    )


def growth(samples: list[Sample]) -> list[str]:
    """What went on growing after the warm-up, in words; none of it should."""
    after = [s for s in samples if s.seconds >= WARM_UP * samples[-1].seconds]
    third = len(after) // 3
    assert third, "too few samples"
    found = []
    for what, allowed in ALLOWED.items():
        first, last = (
            statistics.median(getattr(s, what) for s in part)
            for part in (after[:third], after[-third:])
        )
        if last > first * allowed and last - first > SLACK[what]:
            found.append(f"{what} grew from {first:.1f} to {last:.1f} after the warm-up")
    return found
