"""A step with a heartbeat_timeout is given up when it shows no life for so long."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import one, recorded
from test_executors import wait_for as until

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep, RetryPolicy
from semantica.pipeline.events.errors import PipelineValidationError

LIMIT = 60.0


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


def turn(engine: ExecutionEngine) -> None:
    """Have the loop look at its timers."""
    loop, done = engine._open().loop, Future[None]()
    loop.post(partial(loop.reply, done, None))
    done.result(20)


SIGNS = {
    "heartbeat": lambda context: context.heartbeat(),
    "progress": lambda context: context.progress(1, 2),
    "checkpoint": lambda context: context.checkpoint("a", 1),
    "map": lambda context: context.map(str, [time.time_ns()]),
}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("kind", ["thread", "async"])
def test_signs_of_life_keep_an_attempt_alive(
    make_engine: MakeEngine, clock: LeapingClock, sign: str, kind: str
) -> None:
    """Ten times almost the limit; the loop looks in between."""
    engine = make_engine(clock=clock, default_max_retries=0)

    def live(context: Context) -> None:
        clock.leap(LIMIT - 5)
        SIGNS[sign](context)
        turn(engine)

    def work(data: Any, context: Context) -> str:
        for _ in range(10):
            live(context)
        return "alive"

    async def work_async(data: Any, context: Context) -> str:
        for _ in range(10):
            await asyncio.to_thread(live, context)
        return "alive"

    handler = work if kind == "thread" else work_async
    result = engine.execute_pipeline(one(handler, heartbeat_timeout=LIMIT))
    assert result.output == "alive", result.errors


@pytest.mark.parametrize("kind", ["thread", "async"])
def test_silence_is_a_timeout_that_says_so_and_is_retried(
    make_engine: MakeEngine, clock: LeapingClock, kind: str
) -> None:
    entered, go = threading.Event(), threading.Event()

    def work(data: Any, context: Context) -> int:
        if context.attempt == 1:
            context.heartbeat()
            entered.set()
            assert go.wait(20)
        return context.attempt

    async def work_async(data: Any, context: Context) -> int:
        return await asyncio.to_thread(work, data, context)

    engine = make_engine(clock=clock)
    handler = work if kind == "thread" else work_async
    retry = RetryPolicy(max_retries=1, initial_delay=0)
    future = engine.execute_pipeline_async(one(handler, heartbeat_timeout=LIMIT, retry=retry))
    assert entered.wait(20)
    clock.leap(LIMIT - 5)
    turn(engine)
    assert not recorded(engine, future.run_id, "StepTimedOut")
    clock.leap(5)
    assert future.result(20).output == 2
    go.set()
    (event,) = recorded(engine, future.run_id, "StepTimedOut")
    assert event["error"]["message"] == "attempt 1 has shown no life for 60 s and was abandoned"
    assert event["error"]["category"] == "timeout"


def test_without_the_option_silence_is_allowed(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    def silent(data: Any, context: Context) -> str:
        clock.leap(1e6)
        context.heartbeat()
        return "done"

    assert make_engine(clock=clock).execute_pipeline(one(silent)).output == "done"


def lively(data: Any, context: Context, seconds: float) -> str:
    """Shows life in every way there is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        context.heartbeat()
        time.sleep(0.01)
    return "alive"


def hung(data: Any, context: Context, seconds: float) -> str:
    context.heartbeat()
    time.sleep(seconds)
    return "never"


def test_a_process_that_shows_life_is_left_alone_and_one_that_hangs_is_killed(
    make_engine: MakeEngine,
) -> None:
    """By the real clock: the signs cross the border between the processes."""
    engine = make_engine(default_max_retries=0, executor="process")
    assert engine.execute_pipeline(one(lively, seconds=0)).success  # the process is there
    alive = engine.execute_pipeline(one(lively, heartbeat_timeout=1.0, seconds=2.5))
    assert alive.output == "alive", alive.errors
    begun = time.monotonic()
    result = engine.execute_pipeline(one(hung, heartbeat_timeout=0.5, seconds=60))
    assert time.monotonic() - begun < 30
    assert "has shown no life for 0.5 s and was killed" in result.errors[0]


def test_the_wait_of_a_suspended_step_is_no_silence(
    make_engine: MakeEngine, clock: LeapingClock
) -> None:
    def sleepy(data: Any, context: Context) -> int:
        context.sleep(1000 * LIMIT)
        return context.attempt

    engine = make_engine(clock=clock, default_max_retries=0)
    future = engine.execute_pipeline_async(one(sleepy, heartbeat_timeout=LIMIT))
    until(lambda: len(recorded(engine, future.run_id, "StepSuspended")) == 1)
    clock.leap(999 * LIMIT)
    turn(engine)
    clock.leap(LIMIT)
    assert future.result(20).output == 2


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "60", True, 1e10])
def test_a_limit_that_makes_no_sense_is_refused(make_engine: MakeEngine, seconds: Any) -> None:
    step = PipelineStep("s", "t", {}, [], handler=hung, heartbeat_timeout=seconds)
    with pytest.raises(PipelineValidationError, match="heartbeat_timeout"):
        make_engine().execute_pipeline(Pipeline("bad", [step]))
