"""Rollback: what was done is undone, the last step first, whatever happens meanwhile."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import recorded
from test_executors import wait_for as until
from undoing import FAST, boom, do, lines, saga, steps, undo, undo_async, write
from waiting import report_of

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    ExecutionResult,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    RetryPolicy,
)
from semantica.pipeline.engine.serialize import deserialize, serialize
from semantica.pipeline.events.errors import PipelineValidationError
from semantica.pipeline.events.upcasters import to_event


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@pytest.fixture
def once(make_engine: MakeEngine) -> ExecutionEngine:
    """An engine that retries nothing by itself."""
    return make_engine(default_max_retries=0)


def roll_back(engine: ExecutionEngine, pipeline: Pipeline, **options: Any) -> ExecutionResult:
    return engine.execute_pipeline(pipeline, on_failure="rollback", **options)


def undone(engine: ExecutionEngine, run_id: str) -> list[str]:
    return [event["step"] for event in recorded(engine, run_id, "StepCompensated")]


def completed(engine: ExecutionEngine, run_id: str) -> list[str]:
    return [event["step"] for event in recorded(engine, run_id, "StepCompleted")]


# What is undone, and in which order


def test_what_was_done_is_undone_the_last_step_first(once: ExecutionEngine, file: Path) -> None:
    result = roll_back(once, saga(file))
    assert (result.status, result.success) == ("rolled_back", False)
    assert lines(file) == ["a", "b", "c", "undo c", "undo b", "undo a"]
    assert result.errors == ["step 'fails': ValueError: boom"]
    assert result.output is None
    with pytest.raises(Exception, match=r"is rolled_back: step 'fails': ValueError: boom") as info:
        result.raise_for_status()
    assert isinstance(info.value.__cause__, ValueError)


GRAPHS: list[dict[str, list[str]]] = [
    {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "fails": ["d"]},
    {**{f"s{i}": [] for i in range(12)}, "fails": [f"s{i}" for i in range(12)]},
    {"a": [], **{f"l{i}": ["a"] for i in range(6)}, "m": ["l0", "l1"], "fails": ["m", "l5"]},
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_order_is_the_reverse_of_completion_in_any_graph(
    once: ExecutionEngine, file: Path, graph: dict[str, list[str]]
) -> None:
    result = roll_back(once, Pipeline("graph", steps(file, graph)))
    assert result.status == "rolled_back"
    assert undone(once, result.run_id) == completed(once, result.run_id)[::-1]
    assert sorted(lines(file)) == sorted(
        [*completed(once, result.run_id), *(f"undo {s}" for s in undone(once, result.run_id))]
    )
    together = [(e.at, e.type) for e in once.history(result.run_id) if "Compensa" in e.type]
    kinds = [kind for _, kind in together]
    assert kinds == ["StepCompensationStarted", "StepCompensated"] * len(undone(once, "graph"))


def test_only_steps_that_say_how_are_undone(once: ExecutionEngine, file: Path) -> None:
    result = roll_back(once, saga(file, b=None, fails=undo))
    assert result.status == "rolled_back"
    assert lines(file) == ["a", "b", "c", "undo c", "undo a"]


def test_a_run_with_nothing_to_undo_is_rolled_back_at_once(
    once: ExecutionEngine, file: Path
) -> None:
    result = roll_back(once, saga(file, a=None, b=None, c=None))
    assert result.status == "rolled_back"
    types = [event.type for event in once.history(result.run_id)]
    assert types[-2:] == ["PipelineRollbackStarted", "PipelineRolledBack"]


def test_a_run_that_completes_is_not_rolled_back(once: ExecutionEngine, file: Path) -> None:
    pipeline = saga(file)
    pipeline.steps.pop()
    result = roll_back(once, pipeline)
    assert result.success and result.output["name"] == "c"
    assert lines(file) == ["a", "b", "c"]


def test_without_rollback_nothing_is_undone(once: ExecutionEngine, file: Path) -> None:
    assert once.execute_pipeline(saga(file)).status == "failed"
    assert once.execute_pipeline(saga(file), on_failure="continue").status == "failed"
    assert not [line for line in lines(file) if "undo" in line]


def test_steps_that_were_skipped_or_never_started_are_not_undone(
    once: ExecutionEngine, file: Path
) -> None:
    made = steps(file, {"a": [], "skipped": ["a"], "b": ["a"], "fails": ["b"]})
    made[1].when = never
    made.insert(3, PipelineStep("after", "do", {"file": str(file)}, ["fails"], handler=do))
    made[3].compensate = undo
    result = roll_back(once, Pipeline("some", made))
    assert result.status == "rolled_back"
    assert lines(file) == ["a", "b", "undo b", "undo a"]


def never(data: Any) -> bool:
    return False


def test_a_fallbacks_output_is_what_is_undone(once: ExecutionEngine, file: Path) -> None:
    def instead(step: Any, error: Any) -> dict[str, Any]:
        return {"file": str(file), "name": "the fallback", "pair": (1, 2)}

    once.failure_handler.register_fallback("helped", instead)
    pipeline = Pipeline(
        "helped",
        [
            PipelineStep("a", "helped", {}, [], handler=boom, compensate=undo),
            PipelineStep("fails", "t", {}, ["a"], handler=boom),
        ],
    )
    assert roll_back(once, pipeline).status == "rolled_back"
    assert lines(file) == ["undo the fallback"]


def test_steps_that_wait_when_the_rollback_starts_are_given_up(
    make_engine: MakeEngine, file: Path
) -> None:
    """Sleeping, waiting for a signal, for a retry, or for what is before them: never forward."""
    engine = make_engine(default_max_retries=0, max_workers=8)
    go = threading.Event()

    def fail_late(data: Any) -> None:
        assert go.wait(20)
        raise ValueError("boom")

    def unlucky(data: Any) -> None:
        raise ConnectionError("again, in an hour")

    retry = RetryPolicy(initial_delay=3600)
    made = steps(file, {"a": [], "fails": []})
    made[1].handler = fail_late
    made += [
        PipelineStep("sleeps", "t", {}, [], handler=lambda data, context: context.sleep(9e4)),
        PipelineStep("hears", "t", {}, [], handler=lambda data, context: context.wait_for("go")),
        PipelineStep("retries", "t", {}, [], handler=unlucky, retry=retry),
        PipelineStep("behind", "t", {}, ["sleeps"], handler=boom),
    ]
    future = engine.execute_pipeline_async(Pipeline("waits", made), on_failure="rollback")

    def settled() -> bool:
        types = [event.type for event in engine.history(future.run_id)]
        return types.count("StepSuspended") == 2 and "StepRetryScheduled" in types

    until(lambda: len(lines(file)) == 1)
    until(settled)
    go.set()
    result = future.result(20)
    assert result.status == "rolled_back"
    status = {step.name: str(step.status) for step in report_of(engine, future.run_id).steps}
    assert status == {
        "a": "compensated",
        "fails": "failed",
        **dict.fromkeys(("sleeps", "hears", "retries", "behind"), "cancelled"),
    }
    told = report_of(engine, future.run_id).steps
    assert not any(step.waits_for for step in told)
    assert not engine.signal(future.run_id, "go")


# What undoes a step


def test_it_gets_the_output_as_it_was_although_others_have_taken_it(
    once: ExecutionEngine,
) -> None:
    got: list[Any] = []
    outputs = {"a": {"pair": (1, "ü"), "set": {1, 2}}, "b": "x" * 2_000_000, "c": None}

    def give(data: Any, step: PipelineStep) -> Any:
        if isinstance(data, dict):
            data.clear()  # what a dependent does to its copy is its own affair
        return outputs[step.name]

    builder = PipelineBuilder()
    for name in outputs:
        builder.add_step(name, "give", handler=give, compensate=got.append)
    builder.add_step("fails", "t", handler=boom)
    assert roll_back(once, builder.build()).status == "rolled_back"
    assert got == [outputs["c"], outputs["b"], outputs["a"]]


def test_it_may_ask_for_step_and_context(once: ExecutionEngine, file: Path) -> None:
    seen: list[Any] = []

    def with_all(output: Any, *, context: Context, step: PipelineStep) -> None:
        context.progress(1, 2, "half")
        context.checkpoint("done", output["name"])
        assert context.checkpoint("done") == output["name"]
        context.log.info("undoing")
        seen.append((step.name, step.config["file"], context.attempt, context.idempotency_key))

    result = roll_back(once, saga(file, b=with_all))
    assert result.status == "rolled_back"
    assert seen == [("b", str(file), 2, f"{result.run_id}/b")]


def test_it_may_be_a_coroutine_or_bound_to_something(once: ExecutionEngine, file: Path) -> None:
    result = roll_back(once, saga(file, a=undo_async, b=partial(undo), c=Undoer().undo))
    assert result.status == "rolled_back"
    assert lines(file)[3:] == ["undo c", "undo b", "undo a"]


class Undoer:
    def undo(self, output: Any) -> None:
        undo(output)


def test_it_runs_in_a_thread_also_of_a_step_that_ran_in_a_process(
    make_engine: MakeEngine, file: Path
) -> None:
    engine = make_engine(default_max_retries=0, executor="process")
    assert roll_back(engine, saga(file)).status == "rolled_back"
    assert lines(file)[3:] == ["undo c", "undo b", "undo a"]


def test_what_it_returns_is_dropped(once: ExecutionEngine, file: Path) -> None:
    def odd(output: Any) -> Any:
        undo(output)
        return threading.Lock()  # which cannot be recorded

    assert roll_back(once, saga(file, b=odd)).status == "rolled_back"


# Failures of what undoes


def test_it_is_tried_again_by_the_steps_policy_with_durable_delays(
    make_engine: MakeEngine, clock: LeapingClock, file: Path
) -> None:
    tries: list[int] = []

    def flaky(output: Any, context: Context) -> None:
        tries.append(context.attempt)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        undo(output)

    engine = make_engine(clock=clock, default_max_retries=0)
    pipeline = saga(file, b=flaky)
    pipeline.steps[1].retry = RetryPolicy(max_retries=2, initial_delay=60, max_delay=600, jitter=0)
    future = engine.execute_pipeline_async(pipeline, on_failure="rollback")
    for number in (1, 2):
        until(
            lambda n=number: (
                len(recorded(engine, future.run_id, "StepCompensationRetryScheduled")) == n
            )
        )
        assert lines(file)[-1] == "undo c", "what comes before waits for it"
        told = report_of(engine, future.run_id).steps[1].waits_for
        assert told.startswith("another try at undoing it in ")
        clock.leap(60 * number)
    assert future.result(20).status == "rolled_back"
    assert tries == [2, 3, 4]
    planned = recorded(engine, future.run_id, "StepCompensationRetryScheduled")
    assert [(event["retry"], event["delay"]) for event in planned] == [(1, 60), (2, 120)]
    assert [e["error"]["message"] for e in planned] == ["not yet", "not yet"]


def test_the_retries_of_the_step_itself_do_not_count(once: ExecutionEngine, file: Path) -> None:
    attempts: list[str] = []

    def third_time(data: Any, context: Context, step: PipelineStep, file: str) -> Any:
        attempts.append("do")
        if context.attempt < 3:
            raise ConnectionError("not yet")
        return do(data, step, file)

    def third_time_too(output: Any) -> None:
        attempts.append("undo")
        if attempts.count("undo") < 3:
            raise ConnectionError("not yet")

    pipeline = saga(file, a=third_time_too)
    pipeline.steps[0].handler, pipeline.steps[0].retry = third_time, FAST
    assert roll_back(once, pipeline).status == "rolled_back"
    assert attempts == ["do"] * 3 + ["undo"] * 3


def test_a_failure_ends_the_rollback_and_a_resume_goes_on_undoing_never_forward(
    once: ExecutionEngine, file: Path
) -> None:
    broken = True

    def stubborn(output: Any) -> None:
        if broken:
            raise PermissionError("may not")
        undo(output)

    pipeline = saga(file, b=stubborn)
    result = roll_back(once, pipeline)
    assert result.status == "rollback_failed"
    assert result.errors == [
        "step 'fails': ValueError: boom",
        "undoing step 'b': PermissionError: may not",
    ]
    assert lines(file) == ["a", "b", "c", "undo c"]
    assert once.resume_pipeline(result.run_id, pipeline=pipeline)
    again = once.attach(result.run_id).result(20)
    assert again.status == "rollback_failed"
    broken = False
    pipeline.steps[-1].handler = do  # what failed would work now, and is not asked
    assert once.resume_pipeline(result.run_id, pipeline=pipeline)
    assert once.attach(result.run_id).result(20).status == "rolled_back"
    assert lines(file) == ["a", "b", "c", "undo c", "undo b", "undo a"]
    assert not once.resume_pipeline(result.run_id), "it is over for good"


def test_a_resume_gives_what_undoes_its_retries_again(once: ExecutionEngine, file: Path) -> None:
    tries: list[int] = []

    def flaky(output: Any) -> None:
        tries.append(1)
        raise ConnectionError("not yet")

    pipeline = saga(file, b=flaky)
    pipeline.steps[1].retry = FAST
    result = roll_back(once, pipeline)
    assert (result.status, len(tries)) == ("rollback_failed", 3)
    once.resume_pipeline(result.run_id, pipeline=pipeline)
    assert once.attach(result.run_id).result(20).status == "rollback_failed"
    assert len(tries) == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 60.0}, "took longer than 60 s"),
        ({"heartbeat_timeout": 60.0}, "has shown no life for 60 s"),
    ],
)
def test_it_may_take_too_long(
    make_engine: MakeEngine, clock: LeapingClock, file: Path, options: dict[str, Any], said: str
) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(output: Any) -> None:
        entered.set()
        assert go.wait(20)

    engine = make_engine(clock=clock, default_max_retries=0)
    pipeline = saga(file, b=slow)
    for name, value in options.items():
        setattr(pipeline.steps[1], name, value)
    future = engine.execute_pipeline_async(pipeline, on_failure="rollback")
    assert entered.wait(20)
    clock.leap(61)
    result = future.result(20)
    go.set()
    assert result.status == "rollback_failed"
    assert said in result.errors[1]


@pytest.mark.parametrize("wait", ["sleep", "wait_for"])
def test_it_cannot_wait(once: ExecutionEngine, file: Path, wait: str) -> None:
    def sleepy(output: Any, context: Context) -> None:
        context.sleep(0) if wait == "sleep" else context.wait_for("go")

    result = roll_back(once, saga(file, b=sleepy))
    assert result.status == "rollback_failed"
    assert "what undoes a step cannot sleep or wait for a signal" in result.errors[1]


# Where it is written


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_it_is_written_by_its_name(once: ExecutionEngine, file: Path, form: str) -> None:
    text = serialize(saga(file), form)
    assert "undoing:undo" in text
    again = deserialize(text, form)
    assert again.steps[0].compensate == "undoing:undo"
    assert serialize(again, form) == text
    assert roll_back(once, again).status == "rolled_back"
    assert lines(file)[3:] == ["undo c", "undo b", "undo a"]


@pytest.mark.parametrize(
    ("compensate", "said"),
    [(5, "is not callable"), ("nonsense", "must be 'module:name' or a callable")],
)
def test_what_undoes_nothing_is_refused(once: ExecutionEngine, compensate: Any, said: str) -> None:
    pipeline = PipelineBuilder().add_step("a", "t", handler=do, compensate=compensate).build()
    with pytest.raises(Exception, match=said) as info:
        roll_back(once, pipeline)
    assert "compensat" in str(info.value)


def test_a_name_that_cannot_be_found_is_refused_before_anything_is_done(
    once: ExecutionEngine, file: Path
) -> None:
    with pytest.raises(PipelineValidationError, match=r"step 'b': cannot import 'no_such_module"):
        roll_back(once, saga(file, b="no_such_module:undo"))
    assert lines(file) == []


def test_a_lambda_is_warned_about_and_must_be_given_again(
    make_engine: MakeEngine, file: Path
) -> None:
    engine = make_engine(default_max_retries=0)
    fails = [True]

    def flaky(output: Any) -> None:
        if fails.pop():
            raise PermissionError("may not")

    result = roll_back(engine, saga(file, b=flaky))
    assert any("the compensation is a lambda" in warning for warning in result.warnings)
    engine.close()
    other = make_engine(default_max_retries=0)
    other.resume_pipeline(result.run_id)
    (_, error) = other.attach(result.run_id).result(20).errors
    assert "lambda or closure of another process" in error and "pipeline=" in error
    fails.append(False)
    other.resume_pipeline(result.run_id, pipeline=saga(file, b=flaky))
    assert other.attach(result.run_id).result(20).status == "rolled_back"


def test_the_cause_is_recorded_with_the_rollback(once: ExecutionEngine, file: Path) -> None:
    result = roll_back(once, saga(file))
    (started,) = (
        to_event(envelope)
        for envelope in once.history(result.run_id)
        if envelope.type == "PipelineRollbackStarted"
    )
    assert started.step == "fails"
    assert str(started.cause) == "ValueError: boom"
    write(file, "")
