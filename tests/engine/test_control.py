"""Pause, resume, stop, cancel and timeouts: what they promise, and that it is told truthfully."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import (
    AmbiguousRun,
    Context,
    EngineClosed,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineFuture,
    PipelineStatus,
    RetryPolicy,
)


class Gate:
    """A handler that says when it runs and waits to be let through."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, data: Any) -> str:
        self.entered.set()
        assert self.open.wait(20)
        return "through"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def gated(gate: Gate, name: str = "gated") -> Pipeline:
    return (
        PipelineBuilder()
        .add_step("gate", "t", handler=gate)
        .add_step("after", "t", handler=lambda data: f"{data} and after")
        .build(name)
    )


def begin(engine: ExecutionEngine, gate: Gate, name: str = "gated") -> PipelineFuture:
    future = engine.execute_pipeline_async(gated(gate, name))
    assert gate.entered.wait(10)
    return future


def wait_for(engine: ExecutionEngine, run_id: str, status: PipelineStatus) -> None:
    """Until the log says so; woken by polling the log as a user would, at most 10 s."""
    pause = threading.Event()
    for _ in range(1000):
        if engine.get_status(run_id) is status:
            return
        pause.wait(0.01)
    raise AssertionError(f"still {engine.get_status(run_id)}, not {status}")


def test_a_paused_run_drains_starts_nothing_and_goes_on_when_resumed(
    engine: ExecutionEngine, gate: Gate
) -> None:
    future = begin(engine, gate)
    assert engine.pause_pipeline("gated") is True
    assert engine.get_status("gated") is PipelineStatus.PAUSING
    assert not engine.report("gated").drained
    gate.open.set()
    wait_for(engine, future.run_id, PipelineStatus.PAUSED)
    report = engine.report("gated")
    assert report.drained and report.steps[1].waits_for == "the run to go on"
    assert engine.pause_pipeline("gated") is True, "a repeated request changes nothing"
    assert engine.resume_pipeline("gated") is True
    assert future.result(10).output == "through and after"


def test_a_stopped_run_ends_without_success_and_can_be_resumed(
    engine: ExecutionEngine, gate: Gate
) -> None:
    future = begin(engine, gate)
    assert engine.stop_pipeline(future.run_id)
    gate.open.set()
    result = future.result(10)
    assert result.status is PipelineStatus.STOPPED and not result.success
    assert engine.resume_pipeline(future.run_id)
    assert engine.attach(future.run_id).result(10).output == "through and after"
    started = [e for e in engine.history(future.run_id) if e.type == "StepStarted"]
    assert len(started) == 2, "the completed step did not start again"


def test_a_cancelled_step_that_cooperates_ends_at_once(engine: ExecutionEngine) -> None:
    entered = threading.Event()

    def patient(data: Any, context: Context) -> str:
        entered.set()
        pause = threading.Event()
        while not context.cancelled:
            pause.wait(0.005)
        return "partial"

    pipeline = PipelineBuilder().add_step("s", "t", handler=patient).build()
    future = engine.execute_pipeline_async(pipeline)
    entered.wait(10)
    assert engine.cancel_pipeline(future.run_id)
    result = future.result(10)
    assert result.status is PipelineStatus.CANCELLED and result.output is None
    (cancelled,) = [e for e in engine.history(future.run_id) if e.type == "StepCancelled"]
    assert b'"cooperative"' in cancelled.payload


def test_a_cancelled_thread_that_ignores_it_is_abandoned_and_replaced(
    make_engine: MakeEngine, gate: Gate
) -> None:
    engine = make_engine(max_workers=1, cancel_grace=0.05)
    future = begin(engine, gate)
    assert engine.cancel_pipeline(future.run_id)
    assert future.result(10).status is PipelineStatus.CANCELLED
    (cancelled,) = [e for e in engine.history(future.run_id) if e.type == "StepCancelled"]
    assert b'"abandoned"' in cancelled.payload
    quick = PipelineBuilder().add_step("s", "t", handler=lambda data: data).build("quick")
    assert engine.execute_pipeline(quick, 3).output == 3, "another thread took its place"
    before = len(engine.history(future.run_id))
    gate.open.set()
    assert engine.execute_pipeline(quick, 4).output == 4
    assert len(engine.history(future.run_id)) == before, "its late result is ignored"


def test_an_attempt_that_takes_too_long_times_out(make_engine: MakeEngine, gate: Gate) -> None:
    engine = make_engine(max_workers=1)
    policy = RetryPolicy(max_retries=1, initial_delay=0)
    pipeline = (
        PipelineBuilder().add_step("s", "t", handler=gate, timeout=0.05, retry=policy).build("slow")
    )
    result = engine.execute_pipeline(pipeline)
    assert result.errors and "longer than 0.05 s" in result.errors[0]
    assert [e.type for e in engine.history("slow")].count("StepTimedOut") == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "cancel"])
def test_control_of_a_finished_run_returns_false(engine: ExecutionEngine, verb: str) -> None:
    engine.execute_pipeline(PipelineBuilder().add_step("s", "t").build("done"))
    before = len(engine.history("done"))
    assert getattr(engine, f"{verb}_pipeline")("done") is False
    assert len(engine.history("done")) == before


def test_a_failed_run_is_resumed_from_the_failed_step(engine: ExecutionEngine) -> None:
    broken = [True]
    runs: list[str] = []

    def first(data: Any) -> int:
        runs.append("first")
        return 1

    def second(data: int) -> int:
        runs.append("second")
        if broken[0]:
            raise ValueError("not yet")
        return data + 1

    pipeline = (
        PipelineBuilder()
        .add_step("first", "t", handler=first)
        .add_step("second", "t", handler=second)
        .build("mended")
    )
    assert not engine.execute_pipeline(pipeline).success
    broken[0] = False
    assert engine.resume_pipeline("mended", pipeline=pipeline)
    assert engine.attach("mended").result(10).output == 2
    assert runs == ["first", "second", "second"]


def test_severity_only_rises(engine: ExecutionEngine, gate: Gate) -> None:
    future = begin(engine, gate)
    assert engine.stop_pipeline(future.run_id)
    assert engine.pause_pipeline(future.run_id) is False
    assert engine.resume_pipeline(future.run_id) is False
    assert engine.cancel_pipeline(future.run_id)
    gate.open.set()
    assert future.result(10).status is PipelineStatus.CANCELLED


def test_another_engine_controls_through_the_log(make_engine: MakeEngine, gate: Gate) -> None:
    mine, other = make_engine(), make_engine()
    future = begin(mine, gate)
    assert other.pause_pipeline(future.run_id)
    gate.open.set()
    wait_for(other, future.run_id, PipelineStatus.PAUSED)
    assert other.resume_pipeline(future.run_id)
    assert future.result(10).success


def test_a_name_that_fits_several_active_runs_must_be_told_apart(
    make_engine: MakeEngine, gate: Gate
) -> None:
    one, other = make_engine(), make_engine()
    futures = [begin(one, gate) for _ in range(2)]
    assert len(one.runs()) == 2
    with pytest.raises(AmbiguousRun, match=futures[0].run_id):
        other.pause_pipeline("gated")
    assert one.pause_pipeline("gated"), "an engine's own newest run is meant"
    assert one.resume_pipeline("gated")


def test_closing_waits_for_runs_but_not_for_paused_ones(
    make_engine: MakeEngine, gate: Gate
) -> None:
    engine = make_engine()
    future = begin(engine, gate)
    engine.pause_pipeline(future.run_id)
    gate.open.set()
    wait_for(engine, future.run_id, PipelineStatus.PAUSED)
    (left,) = engine.close()
    assert (left.run_id, left.status, left.completed) == (future.run_id, "paused", 1)
    with pytest.raises(EngineClosed, match="resume_pipeline"):
        future.result(10)
    with pytest.raises(EngineClosed):
        engine.get_status("gated")
    later = make_engine()
    assert later.recover() == [], "paused runs are not recovered"
    assert later.resume_pipeline(future.run_id, pipeline=gated(gate))
    assert later.attach(future.run_id).result(10).success


def test_a_retry_timer_stands_still_while_the_run_is_paused(engine: ExecutionEngine) -> None:
    failed = threading.Event()
    starts: list[float] = []

    def flaky(data: Any) -> str:
        starts.append(time.monotonic())
        if len(starts) == 1:
            failed.set()
            raise ConnectionError("reset")
        return "mended"

    policy = RetryPolicy(max_retries=1, initial_delay=0.4)
    pipeline = PipelineBuilder().add_step("s", "t", handler=flaky, retry=policy).build("timer")
    future = engine.execute_pipeline_async(pipeline)
    assert failed.wait(10)
    while engine.report("timer").steps[0].status != "retrying":
        threading.Event().wait(0.01)
    paused_at = time.monotonic()
    assert engine.pause_pipeline("timer")
    threading.Event().wait(0.8)  # beyond the time at which it was planned
    resumed_at = time.monotonic()
    assert engine.resume_pipeline("timer")
    assert future.result(10).output == "mended"
    left = 0.4 - (paused_at - starts[0])
    assert starts[1] - resumed_at >= left - 0.05, "it started before its delay was over"
