"""Rollbacks that begin by a cancel or a deadline, that are left behind, killed and recovered."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import recorded
from test_executors import wait_for as until
from undoing import boom, lines, saga, slow_saga, steps, undo
from waiting import until_suspended

from semantica.pipeline import (
    Context,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    RetryPolicy,
)

HERE = Path(__file__).parent
Start = Any


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@pytest.fixture
def start(log: Path, file: Path) -> Iterator[Start]:
    """Starts a process that begins the slow saga, or recovers it; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(what: str) -> subprocess.Popen[str]:
        code = f"import sys, undoing; undoing.{what}(*sys.argv[1:])"
        arguments = [str(log), str(file)] if what == "begin" else [str(log)]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=HERE,
            env=os.environ | {"PYTHONPATH": str(HERE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill_while_undoing(start: Start, file: Path, what: str) -> None:
    """A process begins to undo b, and is killed."""
    before = sum(line.startswith("begin b") for line in lines(file))
    process = start(what)
    until(
        lambda: (
            sum(line.startswith("begin b") for line in lines(file)) > before
            or process.poll() is not None
        )
    )
    assert process.poll() is None, process.communicate()[1]
    process.kill()
    process.wait()


# What begins it


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_run_that_is_ended_from_outside_is_undone_too(
    make_engine: MakeEngine, file: Path, how: str
) -> None:
    entered = threading.Event()

    def work(data: Any, context: Context) -> None:
        entered.set()
        while True:
            context.raise_if_cancelled()

    clock = LeapingClock()
    engine = make_engine(clock=clock)
    pipeline = saga(file)
    pipeline.steps[-1].handler = work
    deadline = 3600.0 if how == "deadline" else None
    future = engine.execute_pipeline_async(pipeline, on_failure="rollback", deadline=deadline)
    assert entered.wait(20)
    if how == "cancel":
        assert engine.cancel_pipeline(future.run_id)
    else:
        clock.leap(3600)
    result = future.result(20)
    assert result.status == "rolled_back"
    assert any("the deadline passed" in error for error in result.errors) == (how == "deadline")
    assert lines(file) == ["a", "b", "c", "undo c", "undo b", "undo a"]
    assert not engine.resume_pipeline(future.run_id)


@pytest.mark.parametrize("halt", ["pause", "stop"])
def test_a_cancelled_run_at_rest_is_undone(make_engine: MakeEngine, file: Path, halt: str) -> None:
    """Paused with a step suspended, perhaps by an engine that is gone."""
    engine = make_engine()
    made = steps(file, {"a": [], "b": ["a"], "last": ["b"]})
    made[-1].handler = until_told
    future = engine.execute_pipeline_async(Pipeline("rest", made), on_failure="rollback")
    until_suspended(engine, future)
    getattr(engine, f"{halt}_pipeline")(future.run_id)
    until(lambda: engine.get_status(future.run_id) in ("paused", "stopped"))
    engine.close(wait=False)
    other = make_engine()
    assert other.cancel_pipeline(future.run_id)
    assert other.attach(future.run_id).result(20).status == "rolled_back"
    assert lines(file) == ["a", "b", "undo b", "undo a"]


def until_told(data: Any, context: Context) -> Any:
    return context.wait_for("go")


def test_what_was_completed_before_a_resume_is_undone_with_the_rest(
    make_engine: MakeEngine, file: Path
) -> None:
    """A run that was stopped and resumed on the way."""
    engine = make_engine(default_max_retries=0)
    made = steps(file, {"a": [], "waits": ["a"], "b": ["waits"], "fails": ["b"]})
    made[1] = PipelineStep("waits", "t", {}, ["a"], handler=until_told)
    made[2].config = {"file": str(file)}
    future = engine.execute_pipeline_async(Pipeline("stopped", made), on_failure="rollback")
    until_suspended(engine, future)
    engine.stop_pipeline(future.run_id)
    assert future.result(20).status == "stopped"
    engine.resume_pipeline(future.run_id)
    engine.signal(future.run_id, "go")
    assert engine.attach(future.run_id).result(20).status == "rolled_back"
    assert lines(file) == ["a", "b", "undo b", "undo a"]


def test_a_failure_while_pausing_rolls_back(make_engine: MakeEngine, file: Path) -> None:
    entered, go = threading.Event(), threading.Event()

    def fail(data: Any) -> None:
        entered.set()
        assert go.wait(20)
        raise ValueError("boom")

    engine = make_engine(default_max_retries=0)
    pipeline = saga(file)
    pipeline.steps[-1].handler = fail
    future = engine.execute_pipeline_async(pipeline, on_failure="rollback")
    assert entered.wait(20)
    assert engine.pause_pipeline(future.run_id)
    go.set()
    assert future.result(20).status == "rolled_back"


# While it goes on


def test_it_cannot_be_paused_stopped_cancelled_or_signalled(
    make_engine: MakeEngine, file: Path
) -> None:
    engine = make_engine(default_max_retries=0)
    future = engine.execute_pipeline_async(slow_saga(file), on_failure="rollback")
    until(lambda: any(line.startswith("begin b") for line in lines(file)))
    assert engine.get_status(future.run_id) == "rolling_back"
    assert not engine.pause_pipeline(future.run_id)
    assert not engine.stop_pipeline(future.run_id)
    assert not engine.cancel_pipeline(future.run_id)
    assert not engine.signal(future.run_id, "go")
    assert engine.resume_pipeline(future.run_id), "it goes on already"
    file.with_name("hurry").touch()
    assert future.result(20).status == "rolled_back"


def test_it_holds_no_resources(make_engine: MakeEngine, file: Path) -> None:
    """Neither while it undoes, nor for steps that waited for some."""
    engine = make_engine(default_max_retries=0, max_workers=4)
    engine.resource_scheduler.register_resource("licence", "custom", 1)
    free: list[float] = []

    def look(output: Any) -> None:
        free.append(engine.resource_scheduler.get_available_capacity("licence"))

    builder = PipelineBuilder()
    for name in ("a", "b"):
        builder.add_step(
            name, "t", handler=lambda data: 1, compensate=look, resources={"licence": 1}
        )
    builder.add_step("fails", "t", handler=boom, resources={"licence": 1})
    builder.add_step("waits", "t", handler=boom, dependencies=["b"], resources={"licence": 1})
    result = engine.execute_pipeline(builder.build(), on_failure="rollback")
    assert result.status == "rolled_back"
    assert free == [1, 1]
    assert engine.resource_scheduler.get_available_capacity("licence") == 1


def test_an_engine_that_closes_lets_the_undo_end_and_another_one_goes_on(
    make_engine: MakeEngine, file: Path
) -> None:
    engine = make_engine(default_max_retries=0)
    engine.execute_pipeline_async(slow_saga(file), on_failure="rollback", run_id="saga")
    until(lambda: any(line.startswith("begin b") for line in lines(file)))
    threading.Timer(0.1, file.with_name("hurry").touch).start()
    (unfinished,) = engine.close(wait=False)
    assert unfinished.status == "rolling_back"
    assert lines(file)[-1] == "undo b"
    other = make_engine(default_max_retries=0)
    (future,) = other.recover()
    assert future.result(20).status == "rolled_back"
    assert lines(file)[-2:] == ["undo b", "undo a"]
    assert recorded(other, "saga", "StepInterrupted") == []


def test_an_undo_that_is_tried_again_later_survives_a_close(
    make_engine: MakeEngine, file: Path
) -> None:
    clock = LeapingClock()
    tries: list[int] = []

    def flaky(output: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        undo(output)

    pipeline = saga(file, b=flaky)
    pipeline.steps[1].retry = RetryPolicy(initial_delay=3600, max_delay=3600)
    engine = make_engine(clock=clock, default_max_retries=0)
    engine.execute_pipeline_async(pipeline, on_failure="rollback", run_id="saga")
    until(lambda: len(recorded(engine, "saga", "StepCompensationRetryScheduled")) == 1)
    engine.close(wait=False)
    clock.leap(1800)
    other = make_engine(clock=clock, default_max_retries=0)
    (future,) = other.recover(pipeline=pipeline)
    until(lambda: other.get_status("saga") == "rolling_back")
    assert len(tries) == 1, "it is not tried before its time"
    clock.leap(1800)
    assert future.result(20).status == "rolled_back"


# Other processes


def test_a_rollback_outlives_the_process_that_was_killed_in_an_undo(
    make_engine: MakeEngine, start: Start, file: Path
) -> None:
    kill_while_undoing(start, file, "begin")
    kill_while_undoing(start, file, "recover")
    file.with_name("hurry").touch()
    engine = make_engine(default_max_retries=0)
    (future,) = engine.recover()
    assert future.result(20).status == "rolled_back"
    assert lines(file) == [
        *("a", "b", "c", "undo c", "begin b 2", "begin b 3", "begin b 4", "undo b", "undo a")
    ]
    assert len(recorded(engine, "saga", "StepInterrupted")) == 2


def test_an_undo_that_kills_its_process_three_times_fails_the_rollback(
    make_engine: MakeEngine, start: Start, file: Path
) -> None:
    kill_while_undoing(start, file, "begin")
    for _ in range(2):
        kill_while_undoing(start, file, "recover")
    engine = make_engine(default_max_retries=0)
    (future,) = engine.recover()
    result = future.result(20)
    assert result.status == "rollback_failed"
    assert "undoing step 'b'" in result.errors[1] and "3rd time in a row" in result.errors[1]
    file.with_name("hurry").touch()
    assert engine.resume_pipeline("saga")
    assert engine.attach("saga").result(20).status == "rolled_back"
    assert lines(file)[-2:] == ["undo b", "undo a"]
