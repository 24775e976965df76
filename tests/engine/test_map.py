"""context.map: items in parallel, each recorded, and resumed item by item."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import MakeEngine
from test_executors import one, recorded, wait_for

from semantica.pipeline import ExecutionEngine, RetryPolicy
from semantica.pipeline.engine.context import Context


def square(item: int) -> int:
    return item * item


def squares(data: list[int], context: Context) -> list[int]:
    return context.map(square, data)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_results_come_in_the_order_of_the_items(make_engine: MakeEngine, executor: str) -> None:
    engine = make_engine(max_workers=1)
    result = engine.execute_pipeline(one(squares, executor=executor), [3, 1, 2, 1])
    assert result.output == [9, 1, 4, 1]
    assert len(recorded(engine, result.run_id, "StepItemCompleted")) == 4


def test_no_items(make_engine: MakeEngine) -> None:
    assert make_engine().execute_pipeline(one(squares), []).output == []


def test_items_run_at_once_on_one_worker(make_engine: MakeEngine) -> None:
    """They meet at a barrier that only four at once can pass."""
    barrier = threading.Barrier(4, timeout=10)

    def meet(item: int) -> int:
        barrier.wait()
        return item

    engine = make_engine(max_workers=1)
    result = engine.execute_pipeline(
        one(lambda data, context: context.map(meet, range(8), workers=4))
    )
    assert result.output == list(range(8))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers() | st.text() | st.tuples(st.integers(), st.none()), max_size=20))
def test_values_come_back_as_they_were(items: list[Any]) -> None:
    with ExecutionEngine(":memory:") as engine:
        handler = one(lambda data, context: context.map(lambda item: (item,), data))
        assert engine.execute_pipeline(handler, items).output == [(item,) for item in items]


def test_only_failed_items_are_done_again_with_the_step(make_engine: MakeEngine) -> None:
    calls: Counter[int] = Counter()

    def flaky(item: int) -> int:
        calls[item] += 1
        if item % 3 == 0 and calls[item] == 1:
            raise ConnectionError(f"item {item}")
        return item

    engine = make_engine()
    policy = RetryPolicy(max_retries=1, initial_delay=0.0)
    result = engine.execute_pipeline(
        one(lambda data, context: context.map(flaky, range(10)), retry=policy)
    )
    assert result.output == list(range(10))
    assert calls == {item: 2 if item % 3 == 0 else 1 for item in range(10)}
    failed = recorded(engine, result.run_id, "StepItemFailed")
    assert sorted(event["error"]["message"] for event in failed) == [
        "item 0", "item 3", "item 6", "item 9",
    ]  # fmt: skip


def test_items_are_retried_by_a_policy_of_their_own(make_engine: MakeEngine) -> None:
    calls: Counter[int] = Counter()

    def flaky(item: int) -> int:
        calls[item] += 1
        if calls[item] <= item:
            raise ConnectionError(str(item))
        return item

    engine = make_engine(retry_on_failure=False)
    policy = RetryPolicy(max_retries=3, initial_delay=0.001)
    result = engine.execute_pipeline(
        one(lambda data, context: context.map(flaky, range(6), retry=policy))
    )
    assert not result.success
    assert "ItemsFailed: 2 of 6 items failed" in result.errors[0]
    assert calls == {0: 1, 1: 2, 2: 3, 3: 4, 4: 4, 5: 4}


def test_errors_can_be_collected(make_engine: MakeEngine) -> None:
    def half(item: int) -> int:
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item // 2

    def halves(data: Any, context: Context) -> list[str]:
        return [repr(found) for found in context.map(half, range(4), on_error="return")]

    result = make_engine().execute_pipeline(one(halves))
    assert result.output == ["0", "ValueError('1 is odd')", "1", "ValueError('3 is odd')"]


def test_an_item_that_exits_fails_alone(make_engine: MakeEngine) -> None:
    def leave(item: int) -> int:
        if item == 1:
            raise SystemExit(3)
        return item

    engine = make_engine(retry_on_failure=False)
    result = engine.execute_pipeline(one(lambda data, context: context.map(leave, range(3))))
    assert "1 of 3 items failed" in result.errors[0]
    assert len(recorded(engine, result.run_id, "StepItemCompleted")) == 2


def test_items_have_names_or_digests(make_engine: MakeEngine) -> None:
    def twice(data: Any, context: Context) -> list[Any]:
        first = context.map(square, [1, 1, 2], key=lambda item: f"n{item}")
        return [first, context.map(square, [1, 2], name="again")]

    engine = make_engine()
    result = engine.execute_pipeline(one(twice))
    assert result.output == [[1, 1, 4], [1, 4]]
    keys = {event["key"] for event in recorded(engine, result.run_id, "StepItemCompleted")}
    assert {"1/n1", "1/n1#2", "1/n2"} <= keys
    assert sum(key.startswith("again/") for key in keys) == 2


def slow(item: int) -> int:
    time.sleep(0.01)
    return item


def many(data: Any, context: Context) -> list[int]:
    return [context.attempt, len(context.map(slow, range(200), workers=2))]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_pause_takes_effect_between_two_items(make_engine: MakeEngine, executor: str) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(one(many, executor=executor))
    wait_for(lambda: bool(recorded(engine, future.run_id, "StepItemCompleted")))
    assert engine.pause_pipeline(future.run_id)
    wait_for(lambda: engine.get_status(future.run_id) == "paused")
    done = len(recorded(engine, future.run_id, "StepItemCompleted"))
    assert 0 < done < 200
    assert engine.resume_pipeline(future.run_id)
    assert future.result(30).output == [2, 200]
    assert len(recorded(engine, future.run_id, "StepItemCompleted")) == 200, "none was done twice"


def test_a_cancel_takes_effect_between_two_items(make_engine: MakeEngine) -> None:
    engine = make_engine()
    future = engine.execute_pipeline_async(one(many))
    wait_for(lambda: bool(recorded(engine, future.run_id, "StepItemCompleted")))
    assert engine.cancel_pipeline(future.run_id)
    assert future.result(10).status == "cancelled"
    (event,) = recorded(engine, future.run_id, "StepCancelled")
    assert event["how"] == "cooperative"


SCRIPT = """
    import sys, time
    from functools import partial
    from pathlib import Path
    from semantica.pipeline import ExecutionEngine, PipelineBuilder
    def work(trace, item):
        with Path(trace).open("a") as file:
            file.write(f"{item}\\n")
        time.sleep(0.005)
        return item
    def handler(data, context):
        return sum(context.map(partial(work, data), range(300), workers=4))
    if __name__ == "__main__":
        pipeline = PipelineBuilder()
        pipeline.add_step("one", "one", handler=handler, executor=sys.argv[3])
        with ExecutionEngine(sys.argv[1]) as engine:
            result = engine.execute_pipeline(pipeline.build("one"), sys.argv[2], run_id="same")
            print(result.output)
"""


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_killed_map_goes_on_item_by_item(log: Path, tmp_path: Path, executor: str) -> None:
    """Only what was under way, or not yet committed, when the process died is done again."""
    script, trace = tmp_path / "script.py", tmp_path / "trace"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), str(log), str(trace), executor]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: trace.exists() and len(trace.read_text().split()) > 100)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = len(trace.read_text().split())
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{sum(range(300))}\n", done.stderr
    executed = Counter(trace.read_text().split())
    assert set(executed) == {str(item) for item in range(300)}
    again = sum(executed.values()) - 300
    assert again < before, "the items before the kill were not all done again"
    assert max(executed.values()) <= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [({"on_error": "ignore"}, "on_error must be"), ({"workers": 0}, "workers must be at least 1")],
)
def test_wrong_options_are_refused(
    make_engine: MakeEngine, options: dict[str, Any], said: str
) -> None:
    result = make_engine().execute_pipeline(
        one(lambda data, context: context.map(square, [1], **options))
    )
    assert said in result.errors[0]


def test_an_item_cannot_wait(make_engine: MakeEngine) -> None:
    def naps(data: Any, context: Context) -> Any:
        return context.map(lambda item: context.sleep(1), [1])

    result = make_engine(retry_on_failure=False).execute_pipeline(one(naps))
    assert "a function of map cannot sleep or wait for a signal" in result.errors[0]
