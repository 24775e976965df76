"""Handlers that the guide takes for granted: they write down what they were called with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder, PipelineStep, step
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import to_event

PATIENCE = 20.0
"""Seconds that handlers wait for one another, on a busy machine."""


class Recorder:
    """Serves step types, and writes down every call.

    A step's output is ``"<its name> done"``.

    Args:
        types: Of the steps that it serves.
    """

    def __init__(self, *types: str) -> None:
        self.calls: list[str] = []
        self.data: dict[str, Any] = {}
        self.config: dict[str, dict[str, Any]] = {}
        for one in types:
            step(one)(self.handle)

    def handle(self, step: PipelineStep, data: Any, **config: Any) -> str:
        """The handler."""
        self.calls.append(step.name)
        self.data[step.name] = data
        self.config[step.name] = config
        return f"{step.name} done"


class Meeting(Recorder):
    """A recorder whose steps each wait until ``parties`` of them are in flight at once."""

    def __init__(self, parties: int, *types: str) -> None:
        super().__init__(*types)
        self._barrier = threading.Barrier(parties, timeout=PATIENCE)

    def handle(self, step: PipelineStep, data: Any, **config: Any) -> str:
        """The handler."""
        meet(self._barrier)
        return super().handle(step, data, **config)


def meet(barrier: threading.Barrier) -> None:
    """Wait for the others. Raises AssertionError, which is not retried: they never came."""
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise AssertionError("what should run at the same time does not") from None


def failing(step_type: str, times: int, error: Callable[[], BaseException]) -> Recorder:
    """A recorder of a type, whose first calls raise; they are written down, too."""
    recorder = Recorder()

    @step(step_type)
    def handle(step: PipelineStep, data: Any, **config: Any) -> str:
        done = recorder.handle(step, data, **config)
        if len(recorder.calls) <= times:
            raise error()
        return done

    return recorder


def chain(*names: str, step_type: str = "given", name: str = "given") -> Pipeline:
    """A pipeline of steps one after another."""
    builder = PipelineBuilder(name)
    for one in names:
        builder.add_step(one, step_type)
    return builder.build()


def independent(count: int, step_type: str, name: str = "independent") -> Pipeline:
    """A pipeline of steps that do not depend on one another."""
    builder = PipelineBuilder(name)
    for number in range(count):
        builder.add_step(f"step{number}", step_type, dependencies=[])
    return builder.build()


def most_in_flight(engine: ExecutionEngine, pipeline: Pipeline) -> int:
    """The most attempts that the newest run of a pipeline had in flight at once, by its log."""
    attempts = engine.timeline(pipeline.name).attempts
    return max(
        sum(one.start <= moment < one.end for one in attempts)
        for moment in (one.start for one in attempts)
    )


def spans(engine: ExecutionEngine, pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Start and end of each step of the newest run, by its log; each had one attempt."""
    attempts = engine.timeline(pipeline.name).attempts
    assert len({one.step for one in attempts}) == len(attempts), "a step was tried twice"
    return {one.step: (one.start, one.end) for one in attempts}


def one_after_another(times: dict[str, tuple[int, int]], names: Iterable[str]) -> bool:
    """Whether each of the steps began after the one before it had ended."""
    order = [times[name] for name in names]
    return all(end <= start for (_, end), (start, _) in pairwise(order))


def recorded_delays(engine: ExecutionEngine, pipeline: Pipeline) -> list[float]:
    """The delays of all retries of the newest run, by its log."""
    events = engine.history(pipeline.name)
    retries = [one for one in events if one.type == "StepRetryScheduled"]
    return [to_event(one).delay for one in retries]  # type: ignore[union-attr]  # by its type


def recorded_pool(engine: ExecutionEngine) -> list[Envelope]:
    """Everything in the log, of runs and of the pool of resources, in order; the engine is closed
    first, since a process has one connection to a log."""
    engine.close()
    store = SqliteStore(Path(".semantica/pipeline.db"))
    try:
        return list(store.read_all())
    finally:
        store.close()


def process_id() -> int:
    """Of the process that this is called in."""
    return os.getpid()
