"""A run that has a deadline is over by then, whatever it does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine
from test_recovery import append, two_steps

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    ResourceScheduler,
)
from semantica.pipeline.engine.clock import SystemClock
from semantica.pipeline.engine.core.commands import Claim, Start
from semantica.pipeline.engine.core.decide import decide
from semantica.pipeline.engine.model import define, definition_bytes
from semantica.pipeline.events.codec import Value, encode
from semantica.pipeline.events.pipeline import PipelineSubmitted
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.run import Run

FAR = 20.0
"""Seconds that nothing here takes."""
SECOND = 10**9


class Ahead(SystemClock):
    """The machine's clock, with a wall that can be moved on."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


def pass_by(engine: ExecutionEngine, clock: Ahead, seconds: float) -> None:
    """Let so much time pass at once."""
    clock.ahead += int(seconds * SECOND)
    engine._open().loop.wake()


class Inside:
    """A handler that stays until its attempt is cancelled, or it is let go."""

    def __init__(self) -> None:
        self.entered, self.cancelled, self.go = (threading.Event() for _ in range(3))

    def __call__(self, data: Any, context: Context) -> str:
        self.entered.set()
        for _ in range(2000):
            if context.cancelled:
                self.cancelled.set()
                return "cancelled"
            if self.go.wait(0.01):
                return "done"
        raise TimeoutError


def pipeline(handler: Callable[..., Any], **options: Any) -> Pipeline:
    first = PipelineStep("a", "t", handler=handler, **options)
    return Pipeline("p", [first, PipelineStep("b", "t", handler=len, dependencies=["a"])])


def types(engine: ExecutionEngine, run: str) -> list[str]:
    return [envelope.type for envelope in engine.history(run)]


FIRST = "PipelineSubmitted"
LATE = ["PipelineDeadlineExceeded", "StepCancelled", "PipelineFailed"]


def test_what_is_in_flight_is_cancelled_and_the_run_fails(
    make_engine: MakeEngine, clock: Ahead
) -> None:
    engine, inside = make_engine(clock=clock), Inside()
    future = engine.execute_pipeline_async(pipeline(inside), deadline=60)
    assert inside.entered.wait(FAR)
    pass_by(engine, clock, 59)
    assert engine.get_status(future.run_id) == "running"
    pass_by(engine, clock, 2)
    result = future.result(FAR)
    assert inside.cancelled.wait(FAR)
    assert (result.success, result.status) == (False, "failed")
    assert "the deadline passed with 2 steps unfinished" in str(result.errors)
    assert types(engine, future.run_id)[-3:] == LATE


def test_a_run_in_time_is_left_alone(make_engine: MakeEngine, clock: Ahead) -> None:
    engine = make_engine(clock=clock)
    moment = datetime.now(UTC) + timedelta(seconds=60)
    future = engine.execute_pipeline_async(pipeline(lambda data: "xy"), deadline=moment)
    assert future.result(FAR).output == 2
    pass_by(engine, clock, 120)
    assert engine.get_status(future.run_id) == "completed"
    assert types(engine, future.run_id)[-1] == "PipelineCompleted"


def test_a_real_clock_too(make_engine: MakeEngine) -> None:
    engine, inside = make_engine(), Inside()
    result = engine.execute_pipeline_async(pipeline(inside), deadline=0.2).result(FAR)
    assert "the deadline passed" in str(result.errors)
    submitted, *_, late = (e for e in engine.history("p") if e.type in (LATE[0], FIRST))
    assert late.at - submitted.at >= 0.19 * SECOND


@pytest.mark.parametrize("drained", [True, False])
def test_a_paused_run_is_late_as_well(make_engine: MakeEngine, clock: Ahead, drained: bool) -> None:
    engine, inside = make_engine(clock=clock, cancel_grace=0.05), Inside()
    future = engine.execute_pipeline_async(pipeline(inside), deadline=60)
    assert inside.entered.wait(FAR)
    engine.pause_pipeline(future.run_id)
    if drained:
        inside.go.set()
        wait_for(lambda: engine.get_status(future.run_id) == "paused")
    else:
        assert engine.get_status(future.run_id) == "pausing"
    pass_by(engine, clock, 61)
    assert "the deadline passed" in str(future.result(FAR).errors)


def test_a_run_that_waits_for_a_worker_or_for_resources_is_late_as_well(
    make_engine: MakeEngine, clock: Ahead
) -> None:
    pool = ResourceScheduler(pool="test", enable_gpu=False)
    pool.register_resource("cpu", "cpu", 1)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    engine = make_engine(clock=clock, max_workers=1, resource_scheduler=pool)
    inside = Inside()
    busy = engine.execute_pipeline_async(pipeline(inside))
    assert inside.entered.wait(FAR)
    for options in ({}, {"resources": {"cpu": 1.0}}):
        future = engine.execute_pipeline_async(pipeline(len, **options), "x", deadline=60)
        assert engine.get_status(future.run_id) == "running"
        pass_by(engine, clock, 61)
        assert "with 2 steps unfinished" in str(future.result(FAR).errors)
        assert "StepStarted" not in types(engine, future.run_id)
    wait_for(lambda: not pool.get_resource_status("cpu")["waiting"])
    inside.go.set()
    busy.result(FAR).raise_for_status()
    assert pool.deallocate_resource(held.allocation_id)


def test_a_retry_that_comes_too_late_is_not_waited_for(
    make_engine: MakeEngine, clock: Ahead
) -> None:
    def fail(data: Any) -> None:
        raise ConnectionError("again")

    from semantica.pipeline import RetryPolicy

    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(
        pipeline(fail, retry=RetryPolicy(max_retries=3, initial_delay=3600)), deadline=60
    )
    wait_for(lambda: types(engine, future.run_id)[-1] == "StepRetryScheduled")
    pass_by(engine, clock, 61)
    assert "the deadline passed" in str(future.result(FAR).errors)


def test_resuming_lifts_the_deadline(make_engine: MakeEngine, clock: Ahead) -> None:
    engine, inside = make_engine(clock=clock), Inside()
    job = pipeline(inside)
    future = engine.execute_pipeline_async(job, deadline=60)
    assert inside.entered.wait(FAR)
    pass_by(engine, clock, 61)
    assert not future.result(FAR).success
    inside.go.set()
    engine.resume_pipeline(future.run_id, pipeline=job)
    result = engine.attach(future.run_id).result(FAR)
    assert result.output == len("done")
    pass_by(engine, clock, 3600)
    assert engine.get_status(future.run_id) == "completed"
    assert types(engine, future.run_id).count("PipelineDeadlineExceeded") == 1


def test_a_deadline_that_passed_while_nobody_owned_the_run(
    log: Path, make_engine: MakeEngine
) -> None:
    store, job = SqliteStore(log), two_steps()
    definition = define(job)
    run = Run("left", definition)
    submitted = PipelineSubmitted(
        name=job.name,
        definition=Value.of_text(definition_bytes(definition), store.artifacts),
        identity="",
        data=encode(1, store.artifacts),
        engine="gone",
        deadline=60 * SECOND,  # long ago
    )
    append(store, run, 1, [submitted])
    append(store, run, 1, decide(run, Claim("gone", "h", 1, "0"), 1))
    append(store, run, 1, decide(run, Start(0, "thread-1"), 1))
    store.close()
    engine = make_engine()
    (future,) = engine.recover()
    assert "the deadline passed" in str(future.result(FAR).errors)
    told = types(engine, "left")
    assert told[3:5] == ["PipelineClaimed", "StepInterrupted"]
    assert told[5:] == ["PipelineDeadlineExceeded", "PipelineFailed"]


def test_a_deadline_is_a_moment_to_come_with_its_zone(make_engine: MakeEngine) -> None:
    engine, job = make_engine(), PipelineBuilder().add_step("s", "t", handler=len).build()
    naive = datetime.now() + timedelta(hours=1)
    for deadline, message in (
        (naive, "has no time zone"),
        (datetime.now(UTC) - timedelta(seconds=1), "is not in the future"),
        (0, "is not in the future"),
        (-5.0, "is not in the future"),
    ):
        with pytest.raises(ValueError, match=message):
            engine.execute_pipeline(job, "x", deadline=deadline)  # type: ignore[arg-type]
    assert engine.runs() == []
    for deadline in (60, datetime.now().astimezone() + timedelta(hours=1)):
        assert engine.execute_pipeline(job, "x", deadline=deadline).output == 1


def wait_for(reached: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(FAR * 100)):
        if reached():
            return
        pause.wait(0.01)
    pytest.fail("it did not come to that")
