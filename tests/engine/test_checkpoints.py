"""Handlers that save where they are, and give their step back when a run is paused or stopped."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from making import MakeEngine
from test_executors import one, recorded, wait_for

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep, RetryPolicy
from semantica.pipeline.engine.context import Context
from semantica.pipeline.events.sqlite import SqliteStore


def count(data: str, context: Context, to: int) -> list[int]:
    """Counts slowly, leaving a line for each number, and goes on where it was."""
    for number in range(context.checkpoint("counted") or 0, to):
        with Path(data).open("a") as file:
            file.write(f"{number}\n")
        context.checkpoint("counted", number + 1)
        if context.should_yield():
            context.hand_back()
        time.sleep(0.01)
    return [context.attempt, to]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_paused_step_goes_on_from_its_checkpoint(
    make_engine: MakeEngine, tmp_path: Path, executor: str
) -> None:
    engine = make_engine()
    file = tmp_path / "numbers"
    future = engine.execute_pipeline_async(one(count, executor=executor, to=100), str(file))
    wait_for(file.exists)
    assert engine.pause_pipeline(future.run_id)
    wait_for(lambda: engine.get_status(future.run_id) == "paused")
    so_far = len(file.read_text().split())
    assert 0 < so_far < 100, "it did not wait for the end"
    assert len(recorded(engine, future.run_id, "StepYielded")) == 1
    engine.resume_pipeline(future.run_id)
    result = future.result() if not future.done() else engine.attach(future.run_id).result()
    if result.status != "completed":  # the future ends with the pause
        result = engine.attach(future.run_id).result()
    assert result.output == [2, 100]
    assert file.read_text().split() == [str(number) for number in range(100)]


def test_a_stopped_step_goes_on_in_another_engine(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    file = tmp_path / "numbers"
    future = engine.execute_pipeline_async(one(count, to=100), str(file))
    wait_for(file.exists)
    engine.stop_pipeline(future.run_id)
    assert future.result().status == "stopped"
    engine.close()
    other = make_engine()
    assert other.resume_pipeline(future.run_id)
    assert other.attach(future.run_id).result().output == [2, 100]
    assert file.read_text().split() == [str(number) for number in range(100)]


def fail_once(data: Any, context: Context) -> Any:
    saved = context.checkpoint("state")
    if saved is None:
        state = {"at": (1, 2), "big": "x" * 50_000}
        assert context.checkpoint("state", state) == state
        assert context.checkpoint("state") == state
        assert context.checkpoint("state") is not state
        raise ConnectionError("once")
    return saved["at"], len(saved["big"]), context.checkpoint("other")


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_retry_reads_what_was_saved(make_engine: MakeEngine, executor: str, where: str) -> None:
    engine = make_engine() if where == "file" else make_engine(log=":memory:")
    pipeline = one(fail_once, executor=executor, retry=RetryPolicy(initial_delay=0))
    result = engine.execute_pipeline(pipeline)
    assert result.output == ((1, 2), 50_000, None)


def test_a_checkpoint_is_committed_when_it_returns(
    make_engine: MakeEngine, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SqliteStore.append

    def slowly(self: SqliteStore, batches: Any, *rest: Any, **options: Any) -> Any:
        time.sleep(0.1)  # a slow disk: who does not wait for it looks too early
        return append(self, batches, *rest, **options)

    monkeypatch.setattr(SqliteStore, "append", slowly)
    seen: list[str] = []

    def save(data: Any, context: Context) -> None:
        context.checkpoint("a", 1)
        with closing(sqlite3.connect(log)) as connection:
            query = "select payload from events where type = 'StepCheckpointed'"
            seen.extend(payload for (payload,) in connection.execute(query))

    assert make_engine().execute_pipeline(one(save)).success
    (payload,) = map(json.loads, seen)
    assert (payload["key"], payload["value"]) == ("a", {"inline": 1})


def hurry(data: Any, context: Context) -> None:
    context.hand_back()


def test_a_step_is_handed_back_only_when_asked(make_engine: MakeEngine) -> None:
    result = make_engine(default_max_retries=0).execute_pipeline(one(hurry))
    assert "should_yield() has asked" in result.errors[0]


async def wait_and_save(data: str, context: Context) -> int:
    context.checkpoint("n", 1)
    Path(data).touch()
    while not context.should_yield():
        await asyncio.sleep(0.01)
    if context.attempt == 1:
        context.hand_back()
    return context.attempt


def test_a_coroutine_can_hand_its_step_back(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    file = tmp_path / "begun"
    future = engine.execute_pipeline_async(one(wait_and_save), str(file))
    wait_for(file.exists)
    engine.stop_pipeline(future.run_id)
    assert future.result(timeout=20).status == "stopped"
    assert len(recorded(engine, future.run_id, "StepYielded")) == 1


def test_bad_keys_and_values_are_refused(make_engine: MakeEngine) -> None:
    def save(data: Any, context: Context, key: Any, value: Any) -> None:
        context.checkpoint(key, value)

    engine = make_engine(default_max_retries=0, allow_pickle=False)
    result = engine.execute_pipeline(one(save, key=5, value=1))
    assert "the key of a checkpoint must be printable text, not 5" in result.errors[0]

    def unrecordable(data: Any, context: Context) -> None:
        context.checkpoint("a", msgspec)

    result = engine.execute_pipeline(one(unrecordable))
    assert "UnencodableValue" in result.errors[0]


def test_an_engine_that_closes_gets_its_steps_handed_back(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    file = tmp_path / "numbers"
    future = engine.execute_pipeline_async(one(count, executor="process", to=200), str(file))
    wait_for(file.exists)
    (left,) = engine.close(wait=False)
    assert left.run_id == future.run_id
    assert len(file.read_text().split()) < 200, "it did not wait for the end"
    (recovered,) = make_engine().recover()
    assert recovered.result().output == [2, 200]
    assert file.read_text().split() == [str(number) for number in range(200)]


async def awaits(context: Context) -> int:
    await context.sleep(0.0)  # type: ignore[func-returns-value]
    return 1


def test_awaiting_what_is_not_awaited_says_so(engine: ExecutionEngine) -> None:
    result = engine.execute_pipeline(Pipeline("p", [PipelineStep("a", "t", handler=awaits)]))
    assert result.status == "failed"
    assert "TypeError" in result.errors[0] and "called without await" in result.errors[0]
