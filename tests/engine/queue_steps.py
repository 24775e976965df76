"""Steps of queued runs, found by their names; and workers in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gates import FAR, Gate

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine.worker import Worker

gate = Gate()
"""Shut and emptied for every test by the fixture ``shut``."""
broken: set[str] = set()
"""Names of steps that fail."""


def reset() -> None:
    gate.__init__()  # type: ignore[misc]
    broken.clear()


def wait(step: PipelineStep, data: Any, context: Context) -> str:
    return gate(step, data, context)


def note(step: PipelineStep, data: Any, context: Context) -> str:
    gate.began.append(step.name)
    if step.name in broken:
        raise ValueError("not yet")
    return step.name


def hear(context: Context) -> Any:
    return context.wait_for("go")


def named(name: str, *steps: str, handler: str = "note", **options: Any) -> Pipeline:
    """One step after the other."""
    before = [[], *([one] for one in steps)]
    return Pipeline(
        name,
        [
            PipelineStep(
                one, "t", dependencies=list(earlier), handler=f"{__name__}:{handler}", **options
            )
            for one, earlier in zip(steps, before, strict=False)
        ],
    )


@contextmanager
def working(engine: ExecutionEngine, **options: Any) -> Iterator[Worker]:
    """A worker, until the end of the block."""
    worker = Worker(engine, **options)
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            worker.serve()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(FAR)
        assert not thread.is_alive() and not failed, failed
