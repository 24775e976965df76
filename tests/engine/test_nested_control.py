"""Runs that are steps of others: control from outside and from above, crashes, and undoing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from gates import Gate
from test_executors import wait_for as until

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    RunConflict,
)
from semantica.pipeline.testing import SimulatedCrash, SimulatedEngine

executed: Counter[str] = Counter()
undone: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    executed.clear()
    undone.clear()


def work(data: Any, step: PipelineStep) -> int:
    executed[step.name] += 1
    return (data or 0) + 1


def waits(data: int, step: PipelineStep, context: Context) -> int:
    got: int = context.wait_for("go")
    executed[step.name] += 1
    return data + got


def sleeps(data: int, step: PipelineStep, context: Context) -> int:
    context.sleep(100)
    return work(data, step)


def broken(data: Any, step: PipelineStep) -> int:
    executed[step.name] += 1
    raise ValueError("wrong")


def fails_once(data: int, step: PipelineStep, context: Context) -> int:
    context.wait_for("bad")
    if not executed[step.name]:
        broken(data, step)
    return data


def take_back(output: int, step: PipelineStep) -> None:
    undone.append(step.name)


def three_deep(handler: Any, last: Any = work, **options: Any) -> Pipeline:
    deep = PipelineBuilder().add_step("a", "t", handler=work, **options)
    deep.add_step("b", "t", handler=handler, **options)
    middle = PipelineBuilder().add_step("parse", pipeline=deep.build("deep"))
    middle.add_step("c", "t", handler=work, **options)
    outer = PipelineBuilder().add_step("first", "t", handler=work, **options)
    outer.add_step("clean", pipeline=middle.build("middle"))
    return outer.add_step("last", "t", handler=last, **options).build("outer")


def family(engine: ExecutionEngine, run: str) -> list[str]:
    """The ids of a run, of the run of its step, and so on."""
    found = [run]
    while inner := next((s.run_id for s in engine.report(found[-1]).steps if s.run_id), None):
        found.append(inner)
    return found


def statuses(engine: ExecutionEngine, run: str) -> list[str]:
    return [str(engine.get_status(one)) for one in family(engine, run)]


# From above


def test_a_pause_reaches_all_and_the_timers_within_stand_still() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(three_deep(sleeps)).run_id
        engine.advance(40)
        assert engine.pause_pipeline(run)
        engine.advance(1000)
        assert statuses(engine, run) == ["paused"] * 3
        assert engine.resume_pipeline(run)
        engine.advance(50)
        assert statuses(engine, run) == ["running"] * 3
        engine.advance(11)
        assert statuses(engine, run) == ["completed"] * 3


def test_a_paused_run_is_drained_when_what_is_within_is(gate: Gate) -> None:
    with ExecutionEngine(":memory:") as engine:
        future = engine.execute_pipeline_async(three_deep(gate))
        gate.until_began("b")
        engine.pause_pipeline(future.run_id)
        until(lambda: engine.get_status(future.run_id) == "pausing")
        assert statuses(engine, future.run_id) == ["pausing"] * 3
        gate.let()
        until(lambda: engine.get_status(future.run_id) == "paused")
        assert statuses(engine, future.run_id) == ["paused", "paused", "completed"]
        engine.resume_pipeline(future.run_id)
        assert future.result(10).status.finished


def test_a_stop_reaches_all_and_all_is_resumed() -> None:
    with SimulatedEngine() as engine:
        future = engine.execute_pipeline_async(three_deep(waits))
        engine.advance(1)
        assert engine.stop_pipeline(future.run_id)
        result = future.result(10)
        assert (result.success, result.status) == (False, "stopped")
        assert statuses(engine, future.run_id) == ["stopped"] * 3
        assert engine.resume_pipeline(future.run_id)
        engine.signal(family(engine, future.run_id)[-1], "go", 10)
        assert engine.finish(future.run_id).output == 14
        assert executed == {"first": 1, "a": 1, "b": 1, "c": 1, "last": 1}


@pytest.mark.parametrize("before", ["running", "paused", "stopped"])
def test_a_cancel_reaches_all(before: str) -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(three_deep(waits)).run_id
        engine.advance(1)
        if before == "paused":
            engine.pause_pipeline(run)
        elif before == "stopped":
            engine.stop_pipeline(run)
        engine.advance(1)
        assert statuses(engine, run) == [before] * 3
        assert engine.cancel_pipeline(run)
        engine.advance(1)
        assert statuses(engine, run) == ["cancelled"] * 3
        assert not engine.resume_pipeline(run)


def test_the_deadline_of_a_run_is_that_of_all_within() -> None:
    with SimulatedEngine() as engine:
        future = engine.execute_pipeline_async(three_deep(sleeps), deadline=60)
        engine.advance(61)
        assert future.result(10).status == "failed"
        assert statuses(engine, future.run_id) == ["failed", "cancelled", "cancelled"]


def test_after_a_failure_beside_it_nothing_more_starts_within() -> None:
    inner = PipelineBuilder().add_step("a", "t", handler=waits).add_step("b", "t", handler=work)
    builder = PipelineBuilder().add_step("clean", pipeline=inner.build("inner"))
    builder.add_step("bad", "t", handler=fails_once, dependencies=[])
    with SimulatedEngine() as engine:
        future = engine.execute_pipeline_async(builder.build("outer"), 1)
        engine.advance(1)
        engine.signal(future.run_id, "bad", 1)
        assert future.result(10).status == "failed"
        assert statuses(engine, future.run_id) == ["failed", "stopped"]
        child = family(engine, future.run_id)[1]
        assert not engine.resume_pipeline(child), "it goes on with the run around it"
        engine.resume_pipeline(future.run_id)
        engine.advance(1)
        assert engine.get_status(child) == "running"
        assert engine.get_status(future.run_id) == "running"


# By its own id


def test_a_run_that_is_paused_alone_keeps_its_step_waiting() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(three_deep(sleeps)).run_id
        engine.advance(1)
        _, middle, _ = family(engine, run)
        assert engine.pause_pipeline(middle)
        engine.advance(1000)
        assert statuses(engine, run) == ["running", "paused", "paused"]
        waits_for = engine.report(run).steps[1].waits_for
        assert waits_for == f"run {middle} (middle), which is paused"
        assert engine.resume_pipeline(middle)
        assert engine.finish(run).success


def test_a_run_does_not_go_on_while_the_one_around_it_is_paused() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(three_deep(sleeps)).run_id
        engine.advance(1)
        engine.pause_pipeline(run)
        assert not engine.resume_pipeline(family(engine, run)[2])
        assert statuses(engine, run) == ["paused"] * 3


@pytest.mark.parametrize(("how", "said"), [("cancel", "cancelled"), ("stop", "stopped")])
def test_a_run_that_is_ended_alone_fails_its_step(how: str, said: str) -> None:
    with SimulatedEngine() as engine:
        future = engine.execute_pipeline_async(three_deep(waits))
        engine.advance(1)
        _, middle, deep = family(engine, future.run_id)
        assert getattr(engine, f"{how}_pipeline")(middle)
        result = future.result(10)
        assert result.status == "failed"
        (error,) = result.errors
        assert error.startswith(f"step 'clean': RunFailed: run {middle} of this step was {said}")
        assert [engine.get_status(one) for one in (middle, deep)] == [said, said]
        engine.resume_pipeline(future.run_id)
        engine.advance(1)
        again = family(engine, future.run_id)
        assert (again[1] == middle) == (how == "stop"), "what is cancelled does not go on"
        engine.signal(again[2], "go", 10)
        assert engine.finish(future.run_id).output == 14
        assert executed["a"] == (1 if how == "stop" else 2)


def test_a_cancel_alone_while_all_is_paused_is_told_afterwards() -> None:
    with SimulatedEngine() as engine:
        future = engine.execute_pipeline_async(three_deep(waits))
        engine.advance(1)
        engine.pause_pipeline(future.run_id)
        deep = family(engine, future.run_id)[2]
        engine.cancel_pipeline(deep)
        engine.advance(1)
        assert statuses(engine, future.run_id) == ["paused", "paused", "cancelled"]
        engine.crash()
        assert engine.resume_pipeline(future.run_id)
        engine.advance(1)
        (error,) = engine.finish(future.run_id).errors
        assert error.startswith("step 'clean > parse': RunFailed: run " + deep)


def test_the_id_of_such_a_run_is_no_id_for_another() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline(three_deep(work)).run_id
        with pytest.raises(RunConflict, match="is a step of run"):
            engine.execute_pipeline(three_deep(work), run_id=family(engine, run)[1])


# Crashes


@pytest.mark.parametrize("event", ["StepStarted", "StepCompleted", "StepSuspended", "StepWoken"])
@pytest.mark.parametrize("times", range(1, 9))
def test_after_a_crash_it_goes_on_within(event: str, times: int) -> None:
    with SimulatedEngine() as engine:
        engine.crash_after(event, times)
        try:
            engine.execute_pipeline(three_deep(work), 1, run_id="r")
        except SimulatedCrash:
            before = {e.payload for e in engine.history("r")}
            ended = engine.get_status("r").finished
            futures = engine.recover(pipeline=three_deep(work))
            assert [one.run_id for one in futures] == ["r"] * (not ended), "no step alone"
            assert before <= {e.payload for e in engine.history("r")}
        assert engine.finish("r").output == 6
        lost = sum(
            e.type == "StepInterrupted" for run in family(engine, "r") for e in engine.history(run)
        )
        assert set(executed) == {"first", "a", "b", "c", "last"}
        assert sum(executed.values()) - 5 <= lost


def test_owner_and_epoch_are_those_of_the_run_around() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(three_deep(waits), 1, run_id="r").run_id
        engine.advance(1)
        for _ in range(3):
            engine.crash()
            engine.recover(pipeline=three_deep(waits))
            engine.advance(1)
        engine.signal(family(engine, run)[-1], "go", 1)
        assert engine.finish("r").output == 6
        rows = engine.runs()
        assert {(row.owner, row.epoch) for row in rows} == {(engine.id, 4)}
        assert len(rows) == 3


PROGRAM = """
import sys
from test_nested_control import three_deep, waits
from semantica.pipeline import ExecutionEngine
with ExecutionEngine(sys.argv[1]) as engine:
    future = engine.execute_pipeline_async(three_deep(waits), 1, run_id="r")
    print("begun", flush=True)
    future.result()
"""


def test_another_process_controls_and_takes_over_the_whole_family(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    folder = str(Path(__file__).parent)
    there = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(Path(folder).parent)])}
    with (
        subprocess.Popen([sys.executable, "-c", PROGRAM, log], env=there) as process,
        ExecutionEngine(log) as engine,
    ):
        until(lambda: any(row.parent and row.name == "deep" for row in engine.runs()))
        _, middle, deep = family(engine, "r")
        until(lambda: engine.report(deep).steps[1].status == "suspended")
        assert engine.pause_pipeline(middle)
        until(lambda: statuses(engine, "r") == ["running", "paused", "paused"])
        process.kill()
        process.wait()
        assert engine.resume_pipeline(middle), "which takes the whole family over"
        until(lambda: statuses(engine, "r") == ["running"] * 3)
        assert engine.signal(deep, "go", 10)
        future = engine.attach("r")
        assert future.result(10).output == 15


# Undoing


def test_a_rollback_undoes_what_was_done_within_in_reverse_order() -> None:
    with SimulatedEngine() as engine:
        pipeline = three_deep(work, broken, compensate=take_back)
        result = engine.execute_pipeline(pipeline, on_failure="rollback")
        assert result.status == "rolled_back"
        assert undone == ["c", "b", "a", "first"]
        assert statuses(engine, result.run_id) == ["rolled_back"] * 3


def test_a_rollback_undoes_what_a_failed_run_has_done() -> None:
    with SimulatedEngine() as engine:
        pipeline = three_deep(broken, compensate=take_back)
        result = engine.execute_pipeline(pipeline, on_failure="rollback")
        assert result.status == "rolled_back"
        assert undone == ["a", "first"]
        assert statuses(engine, result.run_id) == ["rolled_back"] * 3


def test_a_cancelled_run_is_rolled_back_within() -> None:
    with SimulatedEngine() as engine:
        pipeline = three_deep(waits, compensate=take_back)
        future = engine.execute_pipeline_async(pipeline, on_failure="rollback")
        engine.advance(1)
        engine.cancel_pipeline(future.run_id)
        assert future.result(10).status == "rolled_back"
        assert undone == ["a", "first"]


@pytest.mark.parametrize("times", range(1, 8))
def test_a_rollback_survives_crashes(times: int) -> None:
    with SimulatedEngine() as engine:
        pipeline = three_deep(work, broken, compensate=take_back)
        engine.crash_after("StepCompensationStarted", times)
        try:
            engine.execute_pipeline(pipeline, run_id="r", on_failure="rollback")
        except SimulatedCrash:
            engine.recover(pipeline=pipeline)
        assert engine.finish("r").status == "rolled_back"
        assert list(dict.fromkeys(undone)) == ["c", "b", "a", "first"]


def test_an_undo_that_fails_within_fails_the_rollback_and_is_tried_again() -> None:
    trouble = [OSError("no space")]

    def unwilling(output: int, step: PipelineStep) -> None:
        if step.name == "b" and trouble:
            raise trouble.pop()
        take_back(output, step)

    with SimulatedEngine(retry_on_failure=False) as engine:
        pipeline = three_deep(work, broken, compensate=unwilling)
        result = engine.execute_pipeline(pipeline, on_failure="rollback")
        assert result.status == "rollback_failed"
        assert result.errors[-1] == "undoing step 'clean > parse > b': OSError: no space"
        assert undone == ["c"]
        assert engine.resume_pipeline(result.run_id)
        assert engine.finish(result.run_id).status == "rolled_back"
        assert undone == ["c", "b", "a", "first"]


def test_a_compensation_of_the_whole_takes_the_place_of_those_within() -> None:
    inner = PipelineBuilder().add_step("a", "t", handler=work, compensate=take_back)
    outer = PipelineBuilder()
    outer.add_step("clean", pipeline=inner.build("inner"), compensate=take_back)
    outer.add_step("bad", "t", handler=broken)
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(outer.build("outer"), on_failure="rollback")
        assert (result.status, undone) == ("rolled_back", ["clean"])
