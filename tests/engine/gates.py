"""Steps that wait inside, and ways to wait for what engines and pools do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    ResourceScheduler,
)
from semantica.pipeline.projections.catchup import load_run

FAR = 20.0
"""Seconds that nothing here takes."""


def scheduler(ordering: str = "priority", **sizes: float) -> ResourceScheduler:
    made = ResourceScheduler(ordering=ordering, pool="test", enable_gpu=False)
    for name, size in sizes.items():
        made.register_resource(name, "gpu" if name[0] == "g" else "cpu", size)
    return made


class Gate:
    """Steps that wait inside until they are let go, and who witness how many of them run."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside: list[str] = []
        self.began: list[str] = []
        self.most = 0
        self.open: set[str] | None = set()

    def __call__(self, step: PipelineStep, data: Any, context: Context) -> str:
        with self.changed:
            self.inside.append(step.name)
            self.began.append(step.name)
            self.most = max(self.most, len(self.inside))
            self.changed.notify_all()
            try:
                assert self.changed.wait_for(
                    lambda: self.open is None or step.name in self.open, FAR
                )
            finally:
                self.inside.remove(step.name)
                self.changed.notify_all()
        return step.name

    def let(self, *names: str) -> None:
        with self.changed:
            self.open = {*(self.open or ()), *names} if names else None
            self.changed.notify_all()

    def until_began(self, *names: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: set(names) <= set(self.began), FAR), self.began


def roots(names: Iterable[str], handler: Any, name: str = "p", **options: Any) -> Pipeline:
    """Steps that do not depend on one another."""
    return Pipeline(name, [PipelineStep(one, "t", handler=handler, **options) for one in names])


def until(engine: ExecutionEngine, run: str, **figures: int) -> None:
    """Until so many of the run's steps have these statuses."""
    counted = Counter[str]()

    def reached() -> bool:
        counted.clear()
        state = load_run(engine._open().store, engine.find(run).run_id).state
        counted.update(str(step.status) for step in state.steps)
        return all(counted[key] == number for key, number in figures.items())

    eventually(reached, counted)


def eventually(reached: Callable[[], bool], told: object = "") -> None:
    end = time.monotonic() + FAR
    while not reached():
        assert time.monotonic() < end, told
        time.sleep(0.01)  # of what has no event to wait for


def until_status(engine: ExecutionEngine, run: str, status: str) -> None:
    eventually(lambda: engine.get_status(run) == status)


def until_free(pool: ResourceScheduler, resource: str = "cpu") -> None:
    """Until nothing is held, and nobody waits."""

    def is_free() -> bool:
        status = pool.get_resource_status(resource)
        return not status["allocated"] and not status["waiting"]

    eventually(is_free)


def types(engine: ExecutionEngine, run: str) -> list[str]:
    return [envelope.type for envelope in engine.history(run)]
