"""Handlers that wait, also for processes of their own: ``python -c "import waiting; ..." LOG``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from test_executors import wait_for as until

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineFuture,
)

DAY = 86_400.0


def trace(context: Context, folder: str, what: str) -> None:
    """Leave a line of what a handler does, and in which attempt."""
    with (Path(folder) / "trace").open("a") as file:
        file.write(f"{what} {context.attempt}\n")


def traced(folder: Path) -> list[str]:
    """What they did."""
    file = folder / "trace"
    return file.read_text().splitlines() if file.exists() else []


def slept(data: Any, context: Context, seconds: float = DAY) -> int:
    context.sleep(seconds)
    return context.attempt


def heard(data: Any, context: Context, signal: str = "go", patience: float | None = None) -> Any:
    return context.wait_for(signal, timeout=patience)


def approved(data: Any, context: Context, folder: str) -> list[Any]:
    """Sleeps for a day, waits for two signals, and leaves a trace between."""
    trace(context, folder, "begun")
    context.sleep(DAY)
    trace(context, folder, "slept")
    first = context.wait_for("approve")
    trace(context, folder, "first")
    second = context.wait_for("approve")
    return [first, second, context.attempt]


async def approved_async(data: Any, context: Context, folder: str) -> list[Any]:
    """The same, in a coroutine."""
    return approved(data, context, folder)


def suspended(engine: ExecutionEngine, run: PipelineFuture | str) -> bool:
    """Whether some step of a run is suspended, and none is in flight, or about to be."""
    run_id = run if isinstance(run, str) else run.run_id
    steps = report_of(engine, run_id).steps
    busy = any(step.status == "running" or step.waits_for == "a free worker" for step in steps)
    return not busy and any(step.status == "suspended" for step in steps)


def report_of(engine: ExecutionEngine, run_id: str) -> Any:
    """A run as ``status`` shows it, as its events say."""
    from semantica.pipeline.projections.catchup import load_run
    from semantica.pipeline.projections.status import report

    shared = engine._open()
    return report(load_run(shared.store, run_id), shared.loop.clock.now(), shared.store.run)


def until_suspended(engine: ExecutionEngine, run: PipelineFuture | str) -> None:
    """Wait for it."""
    until(lambda: _known(engine, run) and suspended(engine, run))


def _known(engine: ExecutionEngine, run: PipelineFuture | str) -> bool:
    run_id = run if isinstance(run, str) else run.run_id
    return engine._open().store.run(run_id) is not None


def long_wait(folder: str, seconds: float = DAY) -> Pipeline:
    """A step before a wait, and one after it."""
    return (
        PipelineBuilder()
        .add_step("before", "t", handler=mark, folder=folder, what="before")
        .add_step("waits", "t", handler=sleep_and_hear, folder=folder, seconds=seconds)
        .build("long_wait")
    )


def mark(data: Any, context: Context, folder: str, what: str) -> str:
    trace(context, folder, what)
    return what


def sleep_and_hear(data: Any, context: Context, folder: str, seconds: float) -> list[Any]:
    trace(context, folder, "waits")
    context.sleep(seconds)
    return [data, context.wait_for("go"), context.attempt]


def begin(log: str, folder: str, seconds: str) -> None:
    """Run ``long_wait`` until it is suspended, say so, and wait to be killed."""
    engine = ExecutionEngine(log)
    future = engine.execute_pipeline_async(long_wait(folder, float(seconds)), run_id="long")
    until_suspended(engine, future)
    print("suspended", flush=True)
    sys.stdin.read()


def send(log: str, run: str, name: str) -> None:
    """Send a signal from another process."""
    with ExecutionEngine(log) as engine:
        print(engine.signal(run, name, {"sent": ("by", "another")}), flush=True)
