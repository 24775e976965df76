"""Handlers that use the engine which executes them, and engines that nobody uses any more."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

from making import MakeEngine

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder, RetryPolicy


def one(handler: Any, **options: Any) -> Pipeline:
    return PipelineBuilder().add_step("one", "one", handler=handler, **options).build("one")


def test_a_handler_may_wait_for_a_run_of_its_own_engine(make_engine: MakeEngine) -> None:
    """However deep: another worker takes the place of each that waits."""
    engine = make_engine(max_workers=1)
    before = set(threading.enumerate())  # other engines'

    def nested(data: int) -> int:
        if data == 0:
            return 1
        below: int = engine.execute_pipeline(one(nested), data - 1).output
        return below + 1

    assert engine.execute_pipeline(one(nested), 5).output == 6
    assert engine.max_workers == 1
    assert len(set(threading.enumerate()) - before) <= 7


def test_a_handler_cannot_close_the_engine_that_executes_it(make_engine: MakeEngine) -> None:
    engine = make_engine(retry_on_failure=False)
    result = engine.execute_pipeline(one(lambda data: engine.close()))
    assert "a handler cannot close the engine that executes it" in result.errors[0]
    assert engine.execute_pipeline(one(abs), -3).output == 3, "the engine is as it was"


def test_a_retry_in_centuries_does_not_end_the_loop(make_engine: MakeEngine) -> None:
    engine = make_engine()

    def fails(data: Any) -> None:
        raise ConnectionError

    policy = RetryPolicy(initial_delay=9e8, max_delay=9e8)
    future = engine.execute_pipeline_async(one(fails, retry=policy))
    while engine.report(future.run_id).steps[0].status != "retrying":
        pass
    assert engine.cancel_pipeline(future.run_id)
    assert future.result(10).status == "cancelled"
    assert engine.execute_pipeline(one(abs), -3).output == 3


def test_engines_that_are_forgotten_leave_nothing_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    for number in range(5):
        engine = ExecutionEngine(tmp_path / f"{number}.db")
        assert engine.execute_pipeline(one(abs), -number).output == number
        del engine
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [thread.name for thread in threading.enumerate()]
    assert threading.active_count() <= before, left
