"""The workloads on this library."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from ...engine.builder import PipelineBuilder
from ...engine.execution import ExecutionEngine
from ...engine.model import Pipeline, PipelineStep
from ...events.envelope import follows
from ...events.sqlite import SqliteStore
from ...events.store import Batch
from ...projections.catchup import load_run
from . import child
from .child import Measured, start
from .floor import EVENTS, race, wait_for_go
from .handlers import FIRST, die_once, grow, mapped, nap

LOG = "bench.db"


def chain(n: int, durability: str, executor: str = "thread") -> Measured:
    """Steps that follow one another."""
    return _executed(chained(n), durability, executor=executor)


def chained(n: int) -> Pipeline:
    """The pipeline of :func:`chain`."""
    return Pipeline(
        "chain",
        [
            PipelineStep(f"s{i}", "t", handler=grow, dependencies=[f"s{i - 1}"] if i else [])
            for i in range(n)
        ],
    )


def fan(n: int, durability: str) -> Measured:
    """1 -> n -> 1."""
    return _executed(fanned(n), durability)


def fanned(n: int) -> Pipeline:
    """The pipeline of :func:`fan`."""
    middle = [PipelineStep(f"m{i}", "t", handler=grow, dependencies=["first"]) for i in range(n)]
    last = PipelineStep("last", "t", handler=len, dependencies=[step.name for step in middle])
    return Pipeline("fan", [PipelineStep("first", "t", handler=grow), *middle, last])


def _executed(pipeline: Pipeline, durability: Any, executor: Any = "thread") -> Measured:
    """What a run takes from its submission to its end, by step."""
    n = len(pipeline.steps)
    options = {"max_workers": 4, "durability": durability, "executor": executor}
    with ExecutionEngine(LOG, **options) as engine:
        engine.execute_pipeline(chained(4), 0).raise_for_status()
    empty = _size()
    with ExecutionEngine(LOG, **options) as engine:
        engine.execute_pipeline(chained(4), 0).raise_for_status()
        before = _peak()
        begun, cpu = time.perf_counter(), time.process_time()
        engine.execute_pipeline(pipeline, 0).raise_for_status()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        after = _peak()
    return {
        "us": took / n * 1e6,
        "cpu": cpu / n * 1e6,
        "bytes": (_size() - empty) / n,
        "memory": (after - before) / n,
        "peak": after,
    }


def _peak() -> float:
    """Bytes that were resident at most; getrusage(2) counts in KiB, on macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def _resident() -> int:
    """Bytes that are resident now."""
    return int(psutil.Process().memory_info().rss)


def _size() -> int:
    """Of the log without its WAL."""
    return Path(LOG).stat().st_size


def many(n: int) -> Measured:
    """Small pipelines at once."""
    builder = PipelineBuilder()
    for name in ("read", "work", "write"):
        builder.add_step(name, "t", handler=grow)
    small = builder.build("small")
    with ExecutionEngine(LOG, max_workers=4, durability="normal") as engine:
        engine.execute_pipeline(small, 0).raise_for_status()
        begun = time.perf_counter()
        for future in [engine.execute_pipeline_async(small, i) for i in range(n)]:
            future.result().raise_for_status()
        return {"us": (time.perf_counter() - begun) / n * 1e6}


def items(n: int) -> Measured:
    """A durable map."""
    step = PipelineStep("all", "t", {"count": n}, handler=mapped)
    with ExecutionEngine(LOG, max_workers=4, durability="full") as engine:
        engine.execute_pipeline(chained(4), 0).raise_for_status()
        begun = time.perf_counter()
        engine.execute_pipeline(Pipeline("map", [step])).raise_for_status()
        return {"us": (time.perf_counter() - begun) / n * 1e6}


# Reading


def replay(path: str) -> Measured:
    """All events of a run into its state."""
    store = SqliteStore(path)
    before = _resident()
    run = load_run(store, "history", snapshots=False, until=0)
    defined = _resident()
    del run
    begun = time.perf_counter()
    run = load_run(store, "history", snapshots=False)
    took = time.perf_counter() - begun
    after, steps = _resident(), run.state.completed
    return {
        "us": took / run.state.version * 1e6,
        "memory": (after - before) / steps,
        "state": (after - defined) / steps,
    }


def verified(path: str) -> Measured:
    """As :func:`replay`, with every digest computed anew."""
    store, previous, n = SqliteStore(path), bytes(32), 0
    begun = time.perf_counter()
    for envelope in store.read("run/history"):
        if not follows(previous, envelope):
            raise RuntimeError(f"event {envelope.version} was changed")
        previous, n = envelope.digest, n + 1
    load_run(store, "history", snapshots=False)
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def snapshot(path: str) -> Measured:
    """The state from its newest snapshot."""
    store = SqliteStore(path)
    begun = time.perf_counter()
    load_run(store, "history")
    return {"us": (time.perf_counter() - begun) * 1e6}


# Ends and beginnings


def recovery(n: int) -> Measured:
    """From the start of a process to the next step, after a kill in the middle of a chain."""
    first = start("ours", "_until_killed", n=n)
    if first.wait() != -9:
        raise RuntimeError("the first process was to be killed")
    begun = time.time()
    if start("ours", "_recover").wait():
        raise RuntimeError("the run was not recovered")
    return {"us": (float(FIRST.read_text()) - begun) * 1e6}


def _until_killed(n: int) -> Measured:
    pipeline = chained(n)
    pipeline.steps[n // 2].handler = die_once
    with ExecutionEngine(LOG, max_workers=4, durability="normal") as engine:
        engine.execute_pipeline(pipeline, 0)
    return {}


def _recover() -> Measured:
    with ExecutionEngine(LOG, max_workers=4, durability="normal") as engine:
        (future,) = engine.recover()
        future.result().raise_for_status()
    return {}


def pause() -> Measured:
    """From the request in another process until nothing runs, four steps of 10 ms in flight."""
    running = start("ours", "_naps")
    try:
        with ExecutionEngine(LOG) as engine:
            while not (engine.runs() and engine.get_progress("naps")["completed_steps"]):
                time.sleep(0.01)
            begun = time.perf_counter()
            engine.pause_pipeline("naps")
            while engine.get_status("naps") != "paused":
                time.sleep(0.0005)
            return {"us": (time.perf_counter() - begun) * 1e6}
    finally:
        running.kill()
        running.wait()


def _naps() -> Measured:
    steps = [PipelineStep(f"s{i}", "t", handler=nap, dependencies=[]) for i in range(4000)]
    with ExecutionEngine(LOG, max_workers=4) as engine:
        engine.execute_pipeline(Pipeline("naps", steps))
    return {}


def cold() -> Measured:
    """One step, in a log that is new; whoever starts this process takes its time."""
    with ExecutionEngine(LOG) as engine:
        engine.execute_pipeline(chained(1), 0).raise_for_status()
    return {}


# Writing side by side


def appends(writers: int, each: int) -> Measured:
    """Processes that append side by side, each to a run of its own."""
    SqliteStore(LOG).close()
    return race("ours", writers, each)


def _append(each: int, number: int) -> Measured:
    store = SqliteStore(LOG, durability="full", busy_timeout=60.0)
    batches = list(_batches(each, number))
    wait_for_go(number)
    for batch in batches:
        if store.append([batch]) != [None]:
            raise RuntimeError("an append was refused")
    store.close()
    return {}


def _batches(each: int, number: int) -> Iterator[Batch]:
    for i in range(each):
        yield Batch(f"run/{number}", 2 * i, 1, "0190a1b2c3d4", time.time_ns(), EVENTS)


if __name__ == "__main__":
    measured = (chain, fan, many, items, replay, verified, snapshot, recovery, pause, cold, appends)
    child.main({one.__name__: one for one in (*measured, _until_killed, _recover, _naps, _append)})
