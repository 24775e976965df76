"""Suspended steps while their run is paused, ended, left behind, killed and recovered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import one, recorded
from test_executors import wait_for as until
from waiting import DAY, heard, long_wait, report_of, slept, traced, until_suspended

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder, PipelineStep
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run, save_snapshot

HERE = Path(__file__).parent


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


def script(call: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c", f"import sys, waiting; waiting.{call}(*sys.argv[1:])"),
            *map(str, arguments),
        ],
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def die_suspended(
    processes: list[subprocess.Popen[str]], log: Path, folder: Path, seconds: float
) -> None:
    """A process that is killed while its run is suspended."""
    process = script("begin", log, folder, seconds)
    processes.append(process)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "suspended\n", process.communicate()[1] if process.poll() else line
    process.kill()
    process.wait()


def left(engine: ExecutionEngine, run_id: str) -> float:
    """Seconds until the alarm of the only suspended step."""
    run = load_run(engine._open().store, run_id)
    (due,) = run.state.suspended.values()
    return (due - engine._open().loop.clock.now()) / 1e9


# Pauses


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_a_sleep_stands_still_while_its_run_does(
    make_engine: MakeEngine, clock: LeapingClock, how: str
) -> None:
    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(one(slept))
    until_suspended(engine, future)
    clock.leap(DAY / 2)
    at_rest = {"pause": "paused", "stop": "stopped"}[how]
    assert getattr(engine, f"{how}_pipeline")(future.run_id)
    until(lambda: engine.get_status(future.run_id) == at_rest)
    clock.leap(30 * DAY)
    assert engine.get_status(future.run_id) == at_rest
    assert engine.resume_pipeline(future.run_id)
    until_suspended(engine, future)
    assert DAY / 2 - 60 < left(engine, future.run_id) <= DAY / 2
    clock.leap(DAY / 2)
    assert engine.attach(future.run_id).result(20).output == 2


def test_a_step_that_is_suspended_while_its_run_pauses_sleeps_its_whole_time(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    entered, go = threading.Event(), threading.Event()

    def late(data: Any, context: Any) -> int:
        entered.set()
        assert go.wait(20)
        context.sleep(DAY)
        return int(context.attempt)

    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(one(late))
    assert entered.wait(20)
    engine.pause_pipeline(future.run_id)
    clock.leap(DAY / 4)
    go.set()
    until(lambda: engine.get_status(future.run_id) == "paused")
    clock.leap(10 * DAY)
    engine.resume_pipeline(future.run_id)
    assert DAY - 60 < left(engine, future.run_id) <= DAY
    clock.leap(DAY)
    assert engine.attach(future.run_id).result(20).output == 2


# Ends


def test_a_run_is_cancelled_with_its_suspended_steps(make_engine: MakeEngine) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(one(slept))
    until_suspended(engine, future)
    assert engine.cancel_pipeline(future.run_id)
    assert future.result(20).status == "cancelled"
    (step,) = report_of(engine, future.run_id).steps
    assert (step.status, step.waits_for) == ("cancelled", None)
    assert not engine.signal(future.run_id, "go")


def test_a_deadline_ends_a_run_that_is_suspended(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(one(heard), deadline=DAY)
    until_suspended(engine, future)
    clock.leap(DAY)
    result = future.result(20)
    assert result.status == "failed" and "the deadline passed" in result.errors[0]
    assert engine.resume_pipeline(future.run_id)
    engine.signal(future.run_id, "go", "late")
    assert engine.attach(future.run_id).result(20).output == "late"


def test_a_sleep_stands_still_while_its_run_has_failed(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    engine = make_engine(clock=clock, default_max_retries=0)
    pipeline = Pipeline(
        "half",
        [
            PipelineStep("sleeps", "t", {"seconds": DAY}, [], handler=slept),
            PipelineStep("hears", "t", {"signal": "fail"}, [], handler=heard),
            PipelineStep("fails", "t", {}, ["hears"], handler=divide),
        ],
    )
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    engine.signal(future.run_id, "fail", 0)
    assert future.result(20).status == "failed"
    clock.leap(3 * DAY)
    assert engine.resume_pipeline(future.run_id)
    assert engine.attach(future.run_id).result(20).status == "failed"
    assert recorded(engine, future.run_id, "StepWoken")[1:] == [], "the time stood still"


def divide(data: int) -> float:
    return 1 / data


def test_an_engine_closes_without_waiting_for_what_is_suspended(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(long_wait(str(tmp_path), 0))
    until_suspended(engine, future)
    begun = time.monotonic()
    (unfinished,) = engine.close(wait=False)
    assert time.monotonic() - begun < 5
    assert (unfinished.completed, unfinished.total) == (1, 2)
    other = make_engine()
    (recovered,) = other.recover()
    assert other.signal(future.run_id, "go", "on")
    assert recovered.result(20).output == ["before", "on", 3]
    assert traced(tmp_path).count("before 1") == 1


# Other processes


def test_an_alarm_outlives_its_process_and_rings_when_it_should(
    make_engine: MakeEngine,
    clock: LeapingClock,
    processes: list[subprocess.Popen[str]],
    log: Path,
    tmp_path: Path,
) -> None:
    die_suspended(processes, log, tmp_path, DAY)
    engine = make_engine(clock=clock)
    (future,) = engine.recover()
    until(lambda: engine.get_status("long") == "running")
    assert recorded(engine, "long", "StepInterrupted") == [], "nothing was in flight"
    clock.leap(DAY - 600)
    assert DAY - 86_400 <= left(engine, "long") <= 600
    assert recorded(engine, "long", "StepWoken") == []
    clock.leap(600)
    until(lambda: len(recorded(engine, "long", "StepSuspended")) == 2)
    engine.signal("long", "go", 1)
    assert future.result(20).output == ["before", 1, 3]
    assert traced(tmp_path) == ["before 1", "waits 1", "waits 2", "waits 3"]


def test_an_alarm_that_was_due_while_nobody_was_there_rings_at_once(
    make_engine: MakeEngine,
    clock: LeapingClock,
    processes: list[subprocess.Popen[str]],
    log: Path,
    tmp_path: Path,
) -> None:
    die_suspended(processes, log, tmp_path, DAY)
    clock.leap(7 * DAY)
    engine = make_engine(clock=clock)
    (future,) = engine.recover()
    engine.signal("long", "go", 1)
    assert future.result(20).output == ["before", 1, 3]


def test_a_signal_to_a_run_that_nobody_owns_waits_for_its_recovery(
    make_engine: MakeEngine,
    clock: LeapingClock,
    processes: list[subprocess.Popen[str]],
    log: Path,
    tmp_path: Path,
) -> None:
    die_suspended(processes, log, tmp_path, DAY)
    clock.leap(2 * DAY)
    sender = make_engine(clock=clock)
    assert sender.signal("long", "go", "kept")
    assert len(recorded(sender, "long", "PipelineClaimed")) == 1, "it took nothing over"
    sender.close(wait=False)
    engine = make_engine(clock=clock)
    (future,) = engine.recover()
    assert future.result(20).output == ["before", "kept", 3]


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_a_signal_that_an_owner_had_not_read_survives_a_halt(
    make_engine: MakeEngine, log: Path, how: str
) -> None:
    """It lies in the inbox when the owner dies, and the run is resumed elsewhere."""
    engine = make_engine()
    future = engine.execute_pipeline_async(one(heard))
    until_suspended(engine, future)
    assert getattr(engine, f"{how}_pipeline")(future.run_id)
    until(lambda: engine.get_status(future.run_id) in ("paused", "stopped"))
    engine.close(wait=False)
    store = SqliteStore(log)
    command = {"type": "Signal", "name": "go", "value": {"inline": "unread"}}
    store.send(f"run/{future.run_id}", json.dumps(command).encode(), actor="tester", at=1)
    store.close()
    other = make_engine()
    assert other.resume_pipeline(future.run_id)
    assert other.attach(future.run_id).result(20).output == "unread"


def test_a_signal_from_another_process_arrives_soon(
    make_engine: MakeEngine, processes: list[subprocess.Popen[str]], log: Path
) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(one(heard))
    until_suspended(engine, future)
    process = script("send", log, future.run_id, "go")
    processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n", process.communicate()[1]
    sent = time.monotonic()
    assert future.result(20).output == {"sent": ("by", "another")}
    assert time.monotonic() - sent < 2


def test_a_snapshot_in_the_middle_keeps_waits_signals_and_their_order(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine()
    builder = PipelineBuilder()
    for name in ("b", "a", "c"):
        builder.add_step(name, "t", handler=twice, dependencies=[])
    future = engine.execute_pipeline_async(builder.build())
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 3)
    order = [e["step"] for e in recorded(engine, future.run_id, "StepSuspended")]
    engine.signal(future.run_id, "first", 0)
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 4)
    engine.signal(future.run_id, "unheard", "x")
    engine.close(wait=False)
    store = SqliteStore(log)
    save_snapshot(store, load_run(store, future.run_id))
    store.close()
    other = make_engine()
    (recovered,) = other.recover()
    for number in (1, 2):
        other.signal(future.run_id, "first", number)
    until(lambda: len(recorded(other, future.run_id, "StepSuspended")) == 6)
    for _ in range(3):
        other.signal(future.run_id, "second", "end")
    output = recovered.result(20).output
    assert [output[name] for name in order] == [[0, "end"], [1, "end"], [2, "end"]]


def twice(data: Any, context: Any) -> list[Any]:
    return [context.wait_for("first"), context.wait_for("second")]


def test_a_signal_costs_the_same_however_many_wait(make_engine: MakeEngine) -> None:
    """Each of many steps waits for a signal of its own, with a timeout."""
    engine = make_engine(max_workers=2, durability="off")
    steps = [
        PipelineStep(f"s{i}", "t", {"signal": f"go {i}", "patience": DAY}, [], handler=heard)
        for i in range(300)
    ]
    future = engine.execute_pipeline_async(Pipeline("many", steps))
    until_suspended(engine, future)
    timers = len(engine._open().loop.timers._wall)
    for i in range(300):
        engine.signal(future.run_id, f"go {i}", i)
    assert future.result(30).output == {f"s{i}": i for i in range(300)}
    assert len(engine._open().loop.timers._wall) == timers, "no alarm was set anew"


def test_a_signal_that_came_just_before_the_run_failed_is_there_when_it_is_resumed(
    engine: ExecutionEngine,
) -> None:
    broken = [True]

    def fails_first(data: Any, context: Any) -> Any:
        if broken[0]:
            raise ValueError("no")
        return context.wait_for("go")

    run_id = engine.execute_pipeline(one(fails_first)).run_id
    store, loop = engine._open().store, engine._open().loop
    for command in ({"type": "Signal", "name": "go", "value": {"inline": 5}}, {"type": "Cancel"}):
        text = json.dumps(command).encode()
        store.send(f"run/{run_id}", text, actor="somebody", at=time.time_ns())
    loop.post(loop.ownership._read_inbox)
    engine.execute_pipeline(one(len), [1])  # others go on meanwhile, and read what there is
    broken[0] = False
    assert engine.resume_pipeline(run_id, pipeline=one(fails_first))
    assert engine.attach(run_id).result(10).output == 5
    assert store.inbox() == []
