"""Handlers that wait for a time or a signal, without a worker, and run again from their top."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import one, recorded
from test_executors import wait_for as until
from waiting import (
    DAY,
    approved,
    approved_async,
    heard,
    report_of,
    slept,
    suspended,
    traced,
    until_suspended,
)

from semantica.pipeline import Context, Pipeline, PipelineBuilder, PipelineStep, RetryPolicy


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


@pytest.mark.parametrize(
    ("handler", "executor"),
    [(approved, "thread"), (approved, "process"), (approved_async, "thread")],
)
def test_a_handler_waits_and_runs_again_from_its_top(
    make_engine: MakeEngine, clock: LeapingClock, tmp_path: Path, handler: Any, executor: str
) -> None:
    engine = make_engine(clock=clock)
    pipeline = one(handler, executor=executor, folder=str(tmp_path))
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    clock.leap(DAY)
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 2)
    assert engine.signal(future.run_id, "approve", (1, 2))
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 3)
    when = datetime(2026, 1, 2, tzinfo=UTC)
    assert engine.signal("one", "approve", {"when": when, "much": "x" * 300_000})
    first, second, attempt = future.result(20).output
    assert (first, second["when"], len(second["much"])) == ((1, 2), when, 300_000)
    assert attempt == 4
    assert traced(tmp_path) == [
        *("begun 1", "begun 2", "slept 2", "begun 3", "slept 3", "first 3"),
        *("begun 4", "slept 4", "first 4"),
    ]
    waits = [(e["key"], e.get("signal")) for e in recorded(engine, future.run_id, "StepSuspended")]
    assert waits == [
        ("1: sleep", None),
        ("2: wait_for approve", "approve"),
        ("3: wait_for approve", "approve"),
    ]


def test_what_arrives_is_each_attempts_own(make_engine: MakeEngine) -> None:
    """A handler that changes what it got does not change what it gets the next time."""
    seen = []

    def change(data: Any, context: Context) -> None:
        got = context.wait_for("go")
        seen.append(list(got))
        got.append("changed")
        context.sleep(0)

    engine = make_engine()
    future = engine.execute_pipeline_async(one(change))
    until_suspended(engine, future)
    engine.signal(future.run_id, "go", ["as sent"])
    assert future.result(20).success
    assert seen == [["as sent"], ["as sent"]]


def test_a_signal_without_a_payload_and_a_sleep_of_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(one(heard, patience=60))
    until_suspended(engine, future)
    engine.signal(future.run_id, "go")
    assert future.result(20).output is None
    assert engine.execute_pipeline(one(slept, seconds=0)).output == 2


def test_many_waits_in_one_handler(make_engine: MakeEngine) -> None:
    def often(data: Any, context: Context) -> int:
        for _ in range(60):
            context.sleep(0)
        return context.attempt

    assert make_engine().execute_pipeline(one(often)).output == 61


def test_keys_let_a_handler_come_to_its_waits_in_any_order(make_engine: MakeEngine) -> None:
    def any_order(data: Any, context: Context) -> list[Any]:
        names = ["a", "b"] if context.attempt % 2 else ["b", "a"]
        got = {name: context.wait_for("go", key=name) for name in names}
        context.sleep(0, key="1")
        context.sleep(0)
        return [got["a"], got["b"], context.attempt]

    engine = make_engine()
    future = engine.execute_pipeline_async(one(any_order))
    until_suspended(engine, future)
    for number in range(4):
        engine.signal(future.run_id, "go", number)
    # a takes 0 in attempt 1, b 1 in attempt 2; then the sleeps, of which "1" is not the first.
    assert future.result(20).output == [0, 1, 5]


def mismatched(data: Any, context: Context, how: str) -> None:
    again = context.attempt > 1
    if how == "order":
        context.wait_for("other", timeout=0) if again else context.sleep(0)
    elif how == "name":
        context.wait_for("b" if again else "a", timeout=0 if again else 0.01)
    elif how == "key":
        context.wait_for("a", key="k", timeout=0) if again else context.sleep(0, key="k")


@pytest.mark.parametrize("how", ["order", "name", "key"])
def test_another_wait_than_before_is_an_error_that_says_so(
    make_engine: MakeEngine, how: str
) -> None:
    result = make_engine().execute_pipeline(one(mismatched, how=how))
    (error,) = result.errors
    assert "ReplayMismatch" in error and "in an earlier attempt" in error
    assert result.metrics["steps_retried"] == 0


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (lambda c: c.sleep(-1), "0 to 3e+09 seconds, not -1"),
        (lambda c: c.sleep(float("nan")), "finite"),
        (lambda c: c.sleep(1e300), "0 to 3e+09 seconds"),
        (lambda c: c.wait_for("go", timeout=-0.1), "0 to 3e+09 seconds"),
        (lambda c: c.wait_for(""), "the name of a signal must be printable text"),
        (lambda c: c.wait_for("a\nb"), "the name of a signal must be printable text"),
        (lambda c: c.sleep(1, key=5), "the key of a wait must be printable text, not 5"),
    ],
)
def test_a_wait_that_makes_no_sense(make_engine: MakeEngine, wait: Any, said: str) -> None:
    result = make_engine().execute_pipeline(one(lambda data, context: wait(context)))
    assert "ValueError" in result.errors[0] and said in result.errors[0]


def test_two_waits_of_one_key_are_an_error(make_engine: MakeEngine) -> None:
    """The second would return what the first one got, and seem to have waited."""

    def twice(data: Any, context: Context) -> None:
        context.sleep(0, key="pause")
        context.sleep(DAY, key="pause")

    result = make_engine().execute_pipeline(one(twice))
    assert "two of its waits have the key 'pause'" in result.errors[0]


# Signals


def test_a_signal_that_came_before_is_not_lost(make_engine: MakeEngine) -> None:
    entered, go = threading.Event(), threading.Event()

    def busy(data: Any, context: Context) -> list[Any]:
        entered.set()
        assert go.wait(20)
        return [context.wait_for("go") for _ in range(2)]

    engine = make_engine()
    future = engine.execute_pipeline_async(one(busy))
    assert entered.wait(20)
    assert all(engine.signal(future.run_id, "go", number) for number in (1, 2))
    assert engine.signal(future.run_id, "other", 3)
    go.set()
    assert future.result(20).output == [1, 2]


def test_signals_and_waiters_meet_first_come_first_served(make_engine: MakeEngine) -> None:
    engine = make_engine()
    pipeline = Pipeline(
        "many", [PipelineStep(f"s{i}", "t", handler=heard, dependencies=[]) for i in range(4)]
    )
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    order = [e["step"] for e in recorded(engine, future.run_id, "StepSuspended")]
    for number in range(4):
        engine.signal(future.run_id, "go", number)
    output = future.result(20).output
    assert [output[name] for name in order] == [0, 1, 2, 3]


def test_a_handler_signals_its_own_run(make_engine: MakeEngine) -> None:
    engine = make_engine(max_workers=2)

    def tell(data: Any, context: Context) -> bool:
        return engine.signal(context.run_id, "go", "from a neighbour")

    async def tell_async(data: Any, context: Context) -> bool:
        return await asyncio.to_thread(engine.signal, context.run_id, "go", "from afar")

    pipeline = (
        PipelineBuilder()
        .add_step("a", "t", handler=heard, dependencies=[])
        .add_step("b", "t", handler=heard, dependencies=[])
        .add_step("tell", "t", handler=tell, dependencies=[])
        .add_step("tell_async", "t", handler=tell_async, dependencies=[])
        .build()
    )
    output = engine.execute_pipeline_async(pipeline).result(20).output
    assert {output["a"], output["b"]} == {"from a neighbour", "from afar"}


def test_a_signal_to_a_run_that_is_over_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine(default_max_retries=0)
    done = engine.execute_pipeline(one(lambda data: 1))
    failed = engine.execute_pipeline(one(lambda data: 1 / 0))
    assert not engine.signal(done.run_id, "go")
    assert not engine.signal(failed.run_id, "go")
    for name in ("", "a\tb", 5):
        with pytest.raises(ValueError, match="printable text"):
            engine.signal(done.run_id, name)


def test_a_signal_during_a_pause_is_kept_and_delivered_by_the_resume(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    pipeline = Pipeline(
        "two", [PipelineStep(name, "t", handler=heard, dependencies=[]) for name in "ab"]
    )
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    order = [e["step"] for e in recorded(engine, future.run_id, "StepSuspended")]
    engine.pause_pipeline(future.run_id)
    until(lambda: engine.get_status(future.run_id) == "paused")
    assert engine.signal(future.run_id, "go", 1) and engine.signal(future.run_id, "go", 2)
    assert recorded(engine, future.run_id, "StepWoken") == []
    engine.resume_pipeline(future.run_id)
    output = engine.attach(future.run_id).result(20).output
    assert [output[name] for name in order] == [1, 2]


def test_a_time_that_is_up_ends_the_wait_for_a_signal(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    def patient(data: Any, context: Context) -> list[Any]:
        try:
            context.wait_for("first", timeout=DAY)
        except TimeoutError as error:
            return [str(error), context.wait_for("second", timeout=DAY)]
        return []

    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(one(patient))
    until_suspended(engine, future)
    clock.leap(DAY)
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 2)
    engine.signal(future.run_id, "first", "too late")
    engine.signal(future.run_id, "second", "in time")
    said = "the signal 'first' did not come within 86400 s"
    assert future.result(20).output == [said, "in time"]


def test_a_signal_that_does_not_come_fails_the_step_and_a_resume_waits_again(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(one(heard, patience=DAY))
    until_suspended(engine, future)
    clock.leap(DAY)
    result = future.result(20)
    assert result.metrics["steps_retried"] == 0, "another attempt would not wait again"
    assert "SignalTimeout" in result.errors[0]
    assert engine.resume_pipeline(future.run_id)
    until_suspended(engine, future)
    engine.signal(future.run_id, "go", "after all")
    assert engine.attach(future.run_id).result(20).output == "after all"


# What a wait costs, and what goes on meanwhile


def test_thousands_of_sleepers_hold_no_worker_and_no_thread(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    engine = make_engine(clock=clock, max_workers=1, durability="off")
    sleepers = [
        PipelineStep(f"s{i}", "t", {"seconds": DAY}, [], handler=slept) for i in range(2000)
    ]
    threads = threading.active_count()
    future = engine.execute_pipeline_async(Pipeline("sleepers", sleepers))
    until_suspended(engine, future)
    assert threading.active_count() <= threads + 2
    assert engine.execute_pipeline(one(lambda data: "in between")).output == "in between"
    clock.leap(DAY)
    assert set(future.result(60).output.values()) == {2}


def test_suspended_steps_leave_their_places_and_resources_to_others(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    """A cap of one step in flight, and a resource that only one step can hold."""
    engine = make_engine(clock=clock)
    engine.resource_scheduler.register_resource("licence", "custom", 1)
    builder = PipelineBuilder()
    for name in "abc":
        builder.add_step(
            name, "t", handler=slept, dependencies=[], resources={"licence": 1}, seconds=DAY
        )
    builder.set_parallelism(1)
    future = engine.execute_pipeline_async(builder.build())
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 3)
    scheduler = engine.resource_scheduler
    assert scheduler.get_available_capacity("licence") == 1
    clock.leap(DAY)
    assert future.result(30).output == {"a": 2, "b": 2, "c": 2}
    granted = recorded(engine, future.run_id, "StepStarted")
    assert [event["grants"] for event in granted] == [{"licence": 1}] * 6


def test_a_timeout_does_not_count_the_wait(make_engine: MakeEngine, clock: LeapingClock) -> None:
    engine = make_engine(clock=clock)
    future = engine.execute_pipeline_async(
        one(slept, timeout=60, heartbeat_timeout=60, seconds=DAY)
    )
    until_suspended(engine, future)
    clock.leap(DAY)
    assert future.result(20).output == 2


def test_only_failures_consume_retries_and_a_retry_does_not_wait_again(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    """Nor does the wait count as time that the retries took."""

    def flaky(data: Any, context: Context) -> int:
        for _ in range(5):
            context.sleep(0)
        context.sleep(DAY)
        if context.attempt < 9:
            raise ConnectionError("not yet")
        return context.attempt

    engine = make_engine(clock=clock)
    retry = RetryPolicy(max_retries=2, initial_delay=0, max_elapsed=3600)
    future = engine.execute_pipeline_async(one(flaky, retry=retry))
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 6)
    clock.leap(DAY)
    assert future.result(20).output == 9
    assert len(recorded(engine, future.run_id, "StepSuspended")) == 6


def test_a_fallback_waits_its_own_waits(make_engine: MakeEngine, clock: LeapingClock) -> None:
    engine = make_engine(clock=clock, default_max_retries=0)

    def fail(data: Any, context: Context) -> None:
        context.sleep(DAY)
        raise ValueError("no")

    def instead(step: Any, error: Any, context: Context) -> Any:
        return context.wait_for("help")

    engine.failure_handler.register_fallback("one", instead)
    future = engine.execute_pipeline_async(one(fail))
    until_suspended(engine, future)
    clock.leap(DAY)
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 2)
    engine.signal(future.run_id, "help", "here")
    assert future.result(20).output == "here"


def test_a_resumed_run_keeps_the_waits_that_are_over(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    broken = True

    def fail(data: Any, context: Context) -> Any:
        context.sleep(DAY)
        got = context.wait_for("go")
        if broken:
            raise ValueError("no")
        return got

    engine, pipeline = make_engine(clock=clock, default_max_retries=0), one(fail)
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    engine.signal(future.run_id, "go", "once")
    clock.leap(DAY)
    assert not future.result(20).success
    broken = False
    engine.resume_pipeline(future.run_id, pipeline=pipeline)
    assert engine.attach(future.run_id).result(20).output == "once"


def test_a_step_that_must_not_run_twice_may_wait(make_engine: MakeEngine) -> None:
    assert make_engine().execute_pipeline(one(slept, at_most_once=True, seconds=0)).output == 2


def test_the_report_says_what_a_step_waits_for(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    engine = make_engine(clock=clock)
    pipeline = (
        PipelineBuilder()
        .add_step("sleeps", "t", handler=slept, dependencies=[], seconds=DAY)
        .add_step("hears", "t", handler=heard, dependencies=[])
        .add_step("both", "t", handler=heard, dependencies=[], patience=DAY)
        .build()
    )
    future = engine.execute_pipeline_async(pipeline)
    until_suspended(engine, future)
    told = {step.name: step.waits_for for step in report_of(engine, future.run_id).steps}
    assert told["sleeps"].startswith("its alarm in 86")
    assert told["hears"] == "the signal 'go'"
    assert told["both"].startswith("the signal 'go', at most until its alarm in 86")
    assert suspended(engine, future)
    engine.pause_pipeline(future.run_id)
    until(lambda: engine.get_status(future.run_id) == "paused")
    told = {step.name: step.waits_for for step in report_of(engine, future.run_id).steps}
    assert told["sleeps"] == "its alarm once the run goes on"
