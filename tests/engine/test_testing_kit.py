"""The kit with which users test their own pipelines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline import (
    Context,
    EngineClosed,
    FailureHandler,
    LogCorrupt,
    Pipeline,
    PipelineBuilder,
    PipelineError,
    PipelineStep,
    ResourceScheduler,
    RetryPolicy,
)
from semantica.pipeline.testing import SimulatedCrash, SimulatedEngine, record_run, replay

HOUR = 3600.0


@pytest.fixture
def engine() -> Iterator[SimulatedEngine]:
    with SimulatedEngine() as engine:
        yield engine


class Failing:
    """A handler that fails so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.calls = 0

    def __call__(self, data: Any) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("nobody is there")
        return "fetched"


def one(handler: Any, **options: Any) -> Pipeline:
    return Pipeline("p", [PipelineStep("fetch", "t", handler=handler, **options)])


def slow_policy(**options: Any) -> RetryPolicy:
    return RetryPolicy(**{"max_retries": 3, "initial_delay": HOUR, "max_delay": 1e6, **options})


def test_retries_are_leapt_over(engine: SimulatedEngine) -> None:
    fetch = Failing(2)
    result = engine.execute_pipeline(one(fetch, retry=slow_policy(backoff_factor=2.0)))
    assert result.output == "fetched"
    assert engine.attempts("p") == {"fetch": 3} and fetch.calls == 3
    assert engine.leapt == pytest.approx(3 * HOUR, abs=60)


@pytest.mark.parametrize(("asked", "waited"), [(7 * HOUR, 7 * HOUR), (1.0, HOUR), (-1, HOUR)])
def test_an_error_may_ask_for_a_longer_delay(
    engine: SimulatedEngine, asked: float, waited: float
) -> None:
    calls = []

    def fetch() -> str:
        calls.append(1)
        if len(calls) == 1:
            error = ConnectionError("429")
            error.retry_after = asked  # type: ignore[attr-defined]
            raise error
        return "fetched"

    result = engine.execute_pipeline(one(fetch, retry=slow_policy(max_delay=HOUR)))
    assert result.output == "fetched"
    assert engine.leapt == pytest.approx(waited, abs=60)


def test_options_of_the_engine_are_taken() -> None:
    failures = FailureHandler()
    failures.register_retry_policy("t", RetryPolicy(max_retries=1))
    with SimulatedEngine(failure_handler=failures) as engine:
        assert not engine.execute_pipeline(one(Failing(5))).success
        assert engine.attempts("p") == {"fetch": 2}


def test_time_passes_step_by_step(engine: SimulatedEngine) -> None:
    fetch = Failing(3)
    future = engine.execute_pipeline_async(one(fetch, retry=slow_policy(backoff_factor=1.0)))
    engine.advance(0)
    assert engine.attempts("p") == {"fetch": 1}
    engine.advance(HOUR / 2)
    assert engine.attempts("p") == {"fetch": 1}, "its retry is not due"
    engine.advance(HOUR)
    assert engine.attempts("p") == {"fetch": 2}
    engine.advance(2 * HOUR)
    assert engine.attempts("p") == {"fetch": 4} and future.done()
    assert engine.leapt == pytest.approx(3.5 * HOUR)


def test_recorded_times_are_simulated_ones(engine: SimulatedEngine) -> None:
    engine.execute_pipeline(one(Failing(1), retry=slow_policy()))
    starts = [e.at for e in engine.history("p") if e.type == "StepStarted"]
    assert (starts[1] - starts[0]) / 1e9 == pytest.approx(HOUR, abs=60)
    assert datetime.fromtimestamp(starts[1] / 1e9, UTC) > datetime.now(UTC)


def test_sleeps_and_signals(engine: SimulatedEngine) -> None:
    def ask(data: Any, context: Context) -> str:
        context.sleep(30 * 24 * HOUR)
        return f"approved by {context.wait_for('approve', timeout=HOUR)}"

    run = engine.execute_pipeline_async(one(ask)).run_id
    engine.advance(30 * 24 * HOUR)
    (step,) = engine.report(run).steps
    assert step.waits_for is not None and "'approve'" in step.waits_for
    assert engine.signal(run, "approve", "Ada")
    assert engine.finish(run).output == "approved by Ada"


def test_a_signal_that_does_not_come_in_time(engine: SimulatedEngine) -> None:
    def ask(data: Any, context: Context) -> None:
        context.wait_for("approve", timeout=HOUR)

    policy = RetryPolicy(max_retries=0)
    (error,) = engine.execute_pipeline(one(ask, retry=policy)).errors
    assert "'approve' did not come within 3600 s" in error


def test_a_run_that_waits_for_more_than_time_is_an_error(engine: SimulatedEngine) -> None:
    def ask(data: Any, context: Context) -> None:
        context.wait_for("approve")

    with pytest.raises(PipelineError, match="step 'fetch' for the signal 'approve'"):
        engine.execute_pipeline(one(ask))
    engine.pause_pipeline("p")
    with pytest.raises(PipelineError, match="it is paused"):
        engine.finish("p")


class Hanging:
    """A handler that hangs until it is cancelled, the first few times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, data: Any, context: Context) -> str:
        self.left -= 1
        if self.left < 0:
            return "at last"
        for _ in range(2000):
            if context.cancelled:
                return "too late"
            threading.Event().wait(0.01)
        raise AssertionError("nobody has cancelled it")


def test_timeouts_of_steps_that_hang(engine: SimulatedEngine) -> None:
    policy = RetryPolicy(max_retries=20, initial_delay=HOUR)  # time may outrun one that returns
    pipeline = one(Hanging(2), timeout=10 * HOUR, retry=policy)
    result = engine.execute_pipeline(pipeline, hanging="fetch")
    assert result.output == "at last"
    assert [e.type for e in engine.history("p")].count("StepTimedOut") >= 2
    assert engine.leapt > 20 * HOUR


def test_time_does_not_pass_while_a_step_executes() -> None:
    with (
        SimulatedEngine(patience=0.3) as engine,
        pytest.raises(TimeoutError, match="fetch; if a step is to hang"),
    ):
        engine.execute_pipeline(one(Hanging(1), timeout=HOUR))


def test_deadlines(engine: SimulatedEngine) -> None:
    policy = slow_policy(max_retries=100, backoff_factor=1.0)
    result = engine.execute_pipeline(one(Failing(1000), retry=policy), deadline=2.5 * HOUR)
    assert not result.success and "deadline" in result.errors[0]
    assert engine.attempts("p") == {"fetch": 3}
    assert engine.leapt == pytest.approx(2.5 * HOUR, abs=60)


def three(log: list[str]) -> Pipeline:
    def handler(data: Any, step: PipelineStep) -> str:
        log.append(step.name)
        return step.name

    builder = PipelineBuilder()
    for name in "abc":
        builder.add_step(name, "t", handler=handler)
    return builder.build("three")


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("again", ["recovered", "executed again"])
def test_a_crash_after_an_event(kind: str, again: str, log: Path) -> None:
    executed: list[str] = []
    with SimulatedEngine(log if kind == "file" else None) as engine:
        engine.crash_after("StepCompleted", 2)
        with pytest.raises(SimulatedCrash):
            engine.execute_pipeline(three(executed), run_id="r")
        assert executed == ["a", "b"]
        if again == "recovered":
            (future,) = engine.recover(pipeline=three(executed))
            assert future.run_id == "r"
            result = engine.finish("r")
        else:
            result = engine.execute_pipeline(three(executed), run_id="r")
        assert result.output == "c"
        history = engine.history("r")
    # The third step's start is in the commit that the crash followed; its handler never began.
    assert executed == ["a", "b", "c"]
    assert [e.epoch for e in history][-1] == 2
    assert [e.type for e in history].count("PipelineClaimed") == 2


def test_a_crash_with_a_step_in_flight(engine: SimulatedEngine) -> None:
    entered, go = threading.Event(), threading.Event()
    lives: list[bool] = []

    def handler(data: Any, context: Context) -> str:
        lives.append(True)
        if len(lives) == 1:
            entered.set()
            assert go.wait(20)
            context.checkpoint("late", 1)
        return "done"

    pipeline = one(handler)
    future = engine.execute_pipeline_async(pipeline)
    assert entered.wait(10)
    engine.crash()
    with pytest.raises(SimulatedCrash):
        future.result(0)
    before = engine.history("p")
    go.set()
    engine.advance(HOUR)
    assert engine.history("p") == before, "nothing goes on by itself, and nothing comes late"
    (recovered,) = engine.recover(pipeline=pipeline)
    assert engine.finish(recovered.run_id).output == "done"
    types = [e.type for e in engine.history("p")]
    assert types.count("StepInterrupted") == 1 and "StepCheckpointed" not in types
    assert engine.attempts("p") == {"fetch": 2}


def test_crash_after_crash(engine: SimulatedEngine) -> None:
    executed: list[str] = []
    pipeline = three(executed)
    for _ in range(2):
        engine.crash_after("StepStarted")
        with pytest.raises(SimulatedCrash):
            engine.execute_pipeline(pipeline, run_id="r")
    assert engine.execute_pipeline(pipeline, run_id="r").success
    assert executed == ["a", "b", "c"]


def test_a_wait_survives_a_crash(engine: SimulatedEngine) -> None:
    def wait(data: Any, context: Context) -> str:
        context.sleep(HOUR)
        return "awake"

    pipeline = one(wait)
    engine.execute_pipeline_async(pipeline)
    engine.advance(HOUR / 2)
    engine.crash()
    engine.recover(pipeline=pipeline)
    assert engine.finish("p").output == "awake"
    assert engine.leapt == pytest.approx(HOUR, abs=60)


def test_what_cannot_be_asked_for(engine: SimulatedEngine) -> None:
    with pytest.raises(ValueError, match="did you mean 'StepCompleted'"):
        engine.crash_after("StepComplete")
    with pytest.raises(ValueError, match="1 or more"):
        engine.crash_after("StepCompleted", 0)
    engine.close()
    assert engine.close() == []
    with pytest.raises(EngineClosed):
        engine.execute_pipeline(one(Failing(0)))


def test_closing_gives_up_what_is_in_flight(log: Path) -> None:
    go = threading.Event()
    with SimulatedEngine(log) as engine:
        future = engine.execute_pipeline_async(one(lambda data: go.wait(20)))
    assert isinstance(future.exception(10), SimulatedCrash)
    go.set()


def test_a_recorded_run_is_replayed(engine: SimulatedEngine, tmp_path: Path) -> None:
    engine.execute_pipeline(one(Failing(1)), {"large": "x" * 10_000})
    path = tmp_path / "run.jsonl"
    record_run(engine, "p", path)
    assert replay(path)["steps"] == {"fetch": ["completed", 2]}
    with pytest.raises(FileExistsError):
        record_run(engine, "p", path)
    text = path.read_text()
    path.write_text(text.replace('"completed": 1', '"completed": 2'))
    with pytest.raises(AssertionError, match="completed: recorded 2, now 1"):
        replay(path)
    path.write_text(text.replace("nobody is there", "somebody is there"))
    with pytest.raises(LogCorrupt, match="digest"):
        replay(path)
    path.write_text("{}\n")
    with pytest.raises(LogCorrupt, match="no recording"):
        replay(path)


def test_a_recorded_run_is_decided_anew(engine: SimulatedEngine, tmp_path: Path) -> None:
    pipeline = one(Failing(1))
    engine.execute_pipeline(pipeline)
    record_run(engine, "p", tmp_path / "run.jsonl")
    assert replay(tmp_path / "run.jsonl", pipeline)["retried"] == 1
    pipeline.steps[0].retry = RetryPolicy(max_retries=0)
    with pytest.raises(AssertionError, match="step 'fetch' would not have been tried again"):
        replay(tmp_path / "run.jsonl", pipeline)


def test_a_large_definition_is_recorded_with_its_run(
    engine: SimulatedEngine, tmp_path: Path
) -> None:
    steps = [PipelineStep(f"s{i}", "t", handler=len, dependencies=[]) for i in range(200)]
    engine.execute_pipeline(Pipeline("wide", steps), "abc")
    record_run(engine, "wide", tmp_path / "wide.jsonl")
    assert len(replay(tmp_path / "wide.jsonl")["steps"]) == 200


def test_steps_in_processes(log: Path) -> None:
    with SimulatedEngine(log, executor="process", max_workers=1) as engine:
        assert engine.execute_pipeline(one(len), "abc").output == 3


def test_resources_are_given_back_by_a_crash() -> None:
    pool = ResourceScheduler(pool="test", enable_gpu=False)
    pool.register_resource("licence", "custom", 1)
    pipeline = one(len, resources={"licence": 1})
    with SimulatedEngine(resource_scheduler=pool) as engine:
        engine.crash_after("StepStarted")
        with pytest.raises(SimulatedCrash):
            engine.execute_pipeline(pipeline, "abc", run_id="r")
        assert engine.execute_pipeline(pipeline, "abc", run_id="r").output == 3
        assert pool.get_resource_status("licence")["available"] == 1
