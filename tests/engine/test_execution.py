"""What a pipeline's steps receive, what a run returns, and what happens when one fails."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    PipelineStep,
    PipelineValidationError,
    Progress,
    RetryPolicy,
    RunConflict,
    RunFailed,
    RunNotFound,
    UnencodableValue,
    step,
)

NOW = RetryPolicy(max_retries=2, initial_delay=0.0)


def add(data: int, amount: int = 1) -> int:
    return data + amount


def fail(data: Any) -> None:
    raise ValueError("no luck")


def builder(*names: str, handler: Any = add) -> PipelineBuilder:
    made = PipelineBuilder()
    for name in names:
        made.add_step(name, "test", handler=handler)
    return made


def test_outputs_flow_along_the_dependencies(engine: ExecutionEngine) -> None:
    pipeline = (
        PipelineBuilder()
        .add_step("root", "t", handler=add)
        .add_step("left", "t", handler=add, dependencies=["root"], amount=10)
        .add_step("right", "t", handler=add, dependencies=["root"], amount=100)
        .add_step("both", "t", handler=lambda data: data, dependencies=["left", "right"])
        .build("diamond")
    )
    result = engine.execute_pipeline(pipeline, 0)
    assert result.output == {"left": 11, "right": 101}
    assert result.success and result.status is PipelineStatus.COMPLETED
    assert result.metadata["pipeline"] == "diamond"
    assert result.raise_for_status() is result


def test_several_sinks_give_a_dict(engine: ExecutionEngine) -> None:
    pipeline = (
        PipelineBuilder()
        .add_step("a", "t", handler=add)
        .add_step("b", "t", handler=add, dependencies=[])
        .build()
    )
    assert engine.execute_pipeline(pipeline, 5).output == {"a": 6, "b": 6}


def test_what_one_dependent_does_to_its_input_touches_no_other(engine: ExecutionEngine) -> None:
    def spoil(data: list[int]) -> list[int]:
        data.append(99)
        return data

    pipeline = (
        PipelineBuilder()
        .add_step("make", "t", handler=lambda: [1])
        .add_step("one", "t", handler=spoil, dependencies=["make"])
        .add_step("two", "t", handler=spoil, dependencies=["make"])
        .build()
    )
    assert engine.execute_pipeline(pipeline).output == {"one": [1, 99], "two": [1, 99]}


def test_types_survive_between_steps_and_large_values_too(engine: ExecutionEngine) -> None:
    value = {"when": date(2026, 1, 2), "pair": (1, 2), "bytes": b"x" * 100_000}
    pipeline = builder("a", "b", handler=lambda data: data).build()
    assert engine.execute_pipeline(pipeline, value).output == value


def test_a_handler_gets_what_its_parameters_name(engine: ExecutionEngine) -> None:
    def everything(
        step: PipelineStep, data: Any, context: Context, key: str, **rest: Any
    ) -> list[Any]:
        return [step.name, data, context.attempt, context.idempotency_key, key, rest]

    pipeline = PipelineBuilder().add_step("s", "t", handler=everything, key="k", more=1).build()
    result = engine.execute_pipeline(pipeline, "in", run_id="r1")
    assert result.output == ["s", "in", 1, "r1/s", "k", {"more": 1}]


def test_an_unknown_configuration_key_is_refused_and_names_the_nearest(
    engine: ExecutionEngine,
) -> None:
    pipeline = PipelineBuilder().add_step("s", "t", handler=add, amuont=1).build()
    with pytest.raises(PipelineValidationError, match=r"amuont.*did you mean 'amount'"):
        engine.execute_pipeline(pipeline, 1)
    assert engine.runs() == []


def test_registered_types_and_async_handlers_run(engine: ExecutionEngine) -> None:
    @step("test_double")
    async def double(data: int) -> int:
        await asyncio.sleep(0)
        return data * 2

    pipeline = PipelineBuilder().add_step("s", "test_double").build()
    assert engine.execute_pipeline(pipeline, 4).output == 8


def test_a_type_without_handler_passes_on_with_a_warning(make_engine: MakeEngine) -> None:
    pipeline = PipelineBuilder().add_step("s", "type1").build()
    result = make_engine().execute_pipeline(pipeline, "x")
    assert result.output == "x"
    assert any("type1" in warning for warning in result.warnings)
    with pytest.raises(PipelineValidationError, match="type1"):
        make_engine(strict=True).execute_pipeline(pipeline, "x")


def test_an_invalid_pipeline_is_refused_before_anything_is_recorded(
    engine: ExecutionEngine,
) -> None:
    steps = [
        PipelineStep("a", "t", dependencies=["b"], handler=add),
        PipelineStep("b", "t", dependencies=["a", "nowhere"], handler=add),
    ]
    with pytest.raises(PipelineValidationError) as raised:
        engine.execute_pipeline(Pipeline("circle", steps), 1)
    assert "circular" in str(raised.value) and "nowhere" in str(raised.value)
    assert engine.runs() == []


def test_input_that_cannot_be_recorded_is_refused(engine: ExecutionEngine) -> None:
    with pytest.raises(UnencodableValue, match="lock"):
        engine.execute_pipeline(builder("a").build(), threading.Lock())
    assert engine.runs() == []


def test_a_failure_ends_the_run_and_is_told(engine: ExecutionEngine) -> None:
    pipeline = builder("a", "b", "c").build("sad")
    pipeline.steps[1].handler = fail
    result = engine.execute_pipeline(pipeline, 1)
    assert not result.success and result.output is None
    assert result.errors == ["step 'b': ValueError: no luck"]
    with pytest.raises(RunFailed, match="no luck"):
        result.raise_for_status()
    report = engine.report("sad")
    assert [s.status for s in report.steps] == ["completed", "failed", "pending"]
    failed = next(e for e in engine.history("sad") if e.type == "StepFailed")
    assert b"in fail" in failed.payload, "the traceback begins at the handler"


def test_an_output_that_cannot_be_recorded_fails_the_step(engine: ExecutionEngine) -> None:
    pipeline = builder("a", handler=lambda data: threading.Lock()).build()
    (error,) = engine.execute_pipeline(pipeline).errors
    assert "UnencodableValue" in error and "lock" in error


def test_even_sys_exit_only_fails_its_step(engine: ExecutionEngine) -> None:
    def leave(data: Any) -> None:
        raise SystemExit(3)

    assert "SystemExit" in engine.execute_pipeline(builder("a", handler=leave).build()).errors[0]
    assert engine.execute_pipeline(builder("a").build(), 1).success


def test_independent_branches_go_on_if_asked(engine: ExecutionEngine) -> None:
    pipeline = (
        PipelineBuilder()
        .add_step("bad", "t", handler=fail, dependencies=[])
        .add_step("after", "t", handler=add, dependencies=["bad"])
        .add_step("last", "t", handler=add, dependencies=["after"])
        .add_step("good", "t", handler=add, dependencies=[])
        .add_step("better", "t", handler=add, dependencies=["good"])
        .build("mixed")
    )
    result = engine.execute_pipeline(pipeline, 1, on_failure="continue")
    states = {s.name: str(s.status) for s in engine.report("mixed").steps}
    assert states == {
        "bad": "failed",
        "after": "skipped",
        "last": "skipped",
        "good": "completed",
        "better": "completed",
    }
    assert result.metrics["steps_skipped"] == 2 and not result.success


def test_transient_errors_are_retried_and_recorded(engine: ExecutionEngine) -> None:
    tries = []

    def flaky(data: int, context: Context) -> int:
        tries.append(context.attempt)
        if len(tries) < 3:
            raise ConnectionError("reset")
        return data

    pipeline = PipelineBuilder().add_step("s", "t", handler=flaky, retry=NOW).build("flaky")
    result = engine.execute_pipeline(pipeline, 7)
    assert result.output == 7 and tries == [1, 2, 3]
    assert result.metrics["steps_retried"] == 2
    types = [e.type for e in engine.history("flaky")]
    assert types.count("StepRetryScheduled") == 2


def test_programming_errors_are_not_retried(make_engine: MakeEngine) -> None:
    pipeline = PipelineBuilder().add_step("s", "t", handler=lambda data: data + 1).build()
    result = make_engine().execute_pipeline(pipeline, "text")
    assert result.metrics["steps_retried"] == 0 and "TypeError" in result.errors[0]


def test_priorities_order_what_is_ready_and_a_cap_limits_what_runs(
    make_engine: MakeEngine,
) -> None:
    order: list[str] = []
    running: list[int] = [0, 0]
    lock = threading.Lock()

    def note(step: PipelineStep, data: Any) -> None:
        with lock:
            order.append(step.name)
            running[0] += 1
            running[1] = max(running)
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    made = PipelineBuilder().set_parallelism(1)
    for name, priority in [("low", 1), ("high", 9), ("same1", 5), ("same2", 5)]:
        made.add_step(name, "t", handler=note, dependencies=[], priority=priority)
    make_engine(max_workers=4).execute_pipeline(made.build())
    assert order == ["high", "same1", "same2", "low"]
    assert running[1] == 1


def test_a_future_is_for_waiting_and_for_awaiting(engine: ExecutionEngine) -> None:
    pipeline = builder("a").build()

    async def wait() -> Any:
        return (await engine.execute_pipeline_async(pipeline, 1)).output

    assert asyncio.run(wait()) == 2
    assert engine.execute_pipeline_async(pipeline, 2).result(10).output == 3


def test_a_run_id_given_again_returns_the_recorded_result(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    def touch(data: Any) -> int:
        with (tmp_path / "ran").open("a") as file:
            file.write("x")
        return 5

    pipeline = builder("a", handler=touch).build()
    for _ in range(2):
        engine = make_engine()
        assert engine.execute_pipeline(pipeline, 1, run_id="once").output == 5
        engine.close()
    assert (tmp_path / "ran").read_text() == "x"
    with pytest.raises(RunConflict, match="input"):
        make_engine().execute_pipeline(pipeline, 2, run_id="once")
    with pytest.raises(RunConflict, match="definition"):
        make_engine().execute_pipeline(builder("other").build(), 1, run_id="once")


def test_progress_is_reported_and_a_broken_callback_harms_nothing(
    engine: ExecutionEngine,
) -> None:
    seen: list[Progress] = []

    def callback(progress: Progress) -> None:
        seen.append(progress)
        raise RuntimeError("broken")

    result = engine.execute_pipeline(builder("a", "b").build(), 0, progress_callback=callback)
    assert result.output == 2
    assert seen[-1]["percentage"] == 100.0 and seen[-1].status is PipelineStatus.COMPLETED
    assert [p.completed_steps for p in seen] == sorted(p.completed_steps for p in seen)
    assert seen[-1].get("estimated_remaining") == 0


def test_metrics_add_up_over_steps(engine: ExecutionEngine) -> None:
    def count(data: Any, context: Context) -> None:
        context.metric("things", 2)
        context.metric("things")

    metrics = engine.execute_pipeline(builder("a", "b", handler=count).build()).metrics
    assert metrics["things"] == 6
    assert metrics["steps_executed"] == 2 and set(metrics["step_durations"]) == {"a", "b"}
    assert metrics["total_time"] > 0 and metrics["memory_used"] > 1


def test_the_timeline_holds_every_attempt(engine: ExecutionEngine) -> None:
    tries: list[int] = []

    def flaky(data: int) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise TimeoutError("slow")
        return data

    pipeline = (
        PipelineBuilder()
        .add_step("a", "t", handler=add)
        .add_step("b", "t", handler=flaky, retry=NOW)
        .build("timed")
    )
    engine.execute_pipeline(pipeline, 1)
    attempts = engine.timeline("timed").attempts
    told = [(a.step, a.attempt, a.outcome) for a in attempts]
    assert told == [("a", 1, "completed"), ("b", 1, "failed"), ("b", 2, "completed")]
    assert all(a.start <= a.end for a in attempts) and attempts[0].end <= attempts[1].start


def test_names_and_ids_find_runs(engine: ExecutionEngine) -> None:
    pipeline = builder("a").build("named")
    first = engine.execute_pipeline(pipeline, 1)
    second = engine.execute_pipeline(pipeline, 1)
    assert engine.get_status("named") is engine.get_status(first.run_id) is PipelineStatus.COMPLETED
    assert [row.run_id for row in engine.runs("named")] == [second.run_id, first.run_id]
    assert engine.runs(status="failed") == []
    with pytest.raises(RunNotFound, match="nobody"):
        engine.get_status("nobody")
    with pytest.raises(TypeError):
        ExecutionEngine(max_wrokers=3)  # type: ignore[call-arg]


def test_many_runs_at_once_leave_nothing_behind(engine: ExecutionEngine) -> None:
    pipeline = builder("a", "b").build("many")
    futures = [engine.execute_pipeline_async(pipeline, i) for i in range(100)]
    assert [future.result(60).output for future in futures] == list(range(2, 102))
    assert not engine._owner.runs and not engine._open().loop.runs
