"""Conditions: which steps run, what they receive, and what is told of those that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from making import MakeEngine

from semantica.pipeline import (
    ExecutionEngine,
    FailureHandler,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    PipelineStep,
    PipelineValidationError,
    PipelineValidator,
    RetryPolicy,
)
from semantica.pipeline.engine.serialize import deserialize, serialize
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.timeline import timeline

HERE = Path(__file__).parent


def even(data: int) -> bool:
    return data % 2 == 0


def never(data: Any) -> bool:
    return False


def grow(data: Any) -> Any:
    return data + 1 if isinstance(data, int) else sorted(data)


def fail(data: Any) -> None:
    raise ValueError("no luck")


def graph(steps: dict[str, list[str]], *, handler: Any = grow, **conditions: Any) -> Pipeline:
    """Steps by their dependencies, and the conditions of some of them."""
    made = PipelineBuilder()
    for name, before in steps.items():
        made.add_step(name, "t", handler=handler, dependencies=before, when=conditions.get(name))
    return made.build("graph")


CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
DIAMOND = {"root": [], "left": ["root"], "right": ["root"], "join": ["left", "right"]}


def states(engine: ExecutionEngine, run_id: str) -> dict[str, str]:
    return {step.name: str(step.status) for step in engine.report(run_id).steps}


def skips(engine: ExecutionEngine, run_id: str) -> list[tuple[str, str, str | None, int]]:
    found: list[Any] = [to_event(e) for e in engine.history(run_id) if e.type == "StepSkipped"]
    return [(event.step, event.reason, event.cause, event.attempt) for event in found]


# -- which steps run, and with what --------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "output", "told"),
    [
        (1, 4, {"a": "completed", "b": "completed", "c": "completed"}),
        (2, None, {"a": "completed", "b": "skipped", "c": "skipped"}),
    ],
)
def test_a_false_condition_skips_the_step_and_the_chain_behind_it(
    engine: ExecutionEngine, data: int, output: int | None, told: dict[str, str]
) -> None:
    result = engine.execute_pipeline(graph(CHAIN, b=even), data)
    assert result.success and result.output == output and result.errors == []
    assert states(engine, result.run_id) == told
    if output is None:
        assert skips(engine, result.run_id) == [
            ("b", "condition", None, 1),
            ("c", "condition", "b", 0),
        ]


def test_a_root_can_be_skipped_and_with_it_the_whole_run(engine: ExecutionEngine) -> None:
    result = engine.execute_pipeline(graph(CHAIN, a=even), 1)
    assert result.status is PipelineStatus.COMPLETED and result.output is None
    assert set(states(engine, result.run_id).values()) == {"skipped"}


@pytest.mark.parametrize(
    ("conditions", "output", "skipped"),
    [
        ({}, ["left", "right"], set()),
        ({"left": never}, ["right"], {"left"}),
        ({"right": never}, ["left"], {"right"}),
        ({"left": never, "right": never}, None, {"left", "right", "join"}),
        ({"root": never}, None, set(DIAMOND)),
        ({"join": never}, None, {"join"}),
    ],
)
@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_join_runs_with_what_its_other_branches_gave(
    make_engine: MakeEngine,
    conditions: dict[str, Any],
    output: Any,
    skipped: set[str],
    max_workers: int,
) -> None:
    engine = make_engine(max_workers=max_workers)
    result = engine.execute_pipeline(graph(DIAMOND, **conditions), 1)
    assert result.success and result.output == output
    told = states(engine, result.run_id)
    assert {name for name, status in told.items() if status == "skipped"} == skipped
    assert set(told.values()) <= {"completed", "skipped"}


def test_what_is_skipped_leaves_0_among_the_versions_of_the_inputs(
    engine: ExecutionEngine,
) -> None:
    result = engine.execute_pipeline(graph(DIAMOND, left=never), 1)
    started = [
        msgspec.json.decode(event.payload)
        for event in engine.history(result.run_id)
        if event.type == "StepStarted"
    ]
    left, right = next(told for told in started if told["step"] == "join")["inputs"]
    assert left == 0 and engine.history(result.run_id)[right - 1].type == "StepCompleted"


def test_a_skip_reaches_through_several_levels_and_stops_where_there_is_input(
    engine: ExecutionEngine,
) -> None:
    steps = {
        "a": [],
        "other": [],
        "b": ["a"],
        "c": ["a", "b"],
        "d": ["b", "c"],
        "mixed": ["d", "other"],
        "last": ["mixed", "d"],
    }
    result = engine.execute_pipeline(graph(steps, a=never), 1)
    told = states(engine, result.run_id)
    assert {name for name, status in told.items() if status == "skipped"} == set("abcd")
    assert result.output == ["mixed"]


def test_several_sinks_give_those_that_ran(engine: ExecutionEngine) -> None:
    steps = {"a": [], "x": ["a"], "y": ["a"], "z": ["a"]}
    result = engine.execute_pipeline(graph(steps, x=never, y=even), 1)
    assert result.output == {"y": 3, "z": 3}
    result = engine.execute_pipeline(graph(steps, x=never, y=never, z=never), 1)
    assert result.success and result.output == {}


@pytest.mark.parametrize("when", [even, f"{__name__}:even", lambda data: data % 2 == 0])
def test_a_condition_is_a_function_a_reference_or_a_lambda(
    engine: ExecutionEngine, when: Any
) -> None:
    for data, output in ((1, None), (2, 3)):
        assert engine.execute_pipeline(graph({"a": []}, a=when), data).output == output


@pytest.mark.parametrize("when", [even, f"{__name__}:even"])
def test_conditions_are_asked_in_processes_too(make_engine: MakeEngine, when: Any) -> None:
    engine = make_engine(executor="process", max_workers=1)
    for data, output in ((1, None), (2, 3)):
        result = engine.execute_pipeline(graph({"a": []}, a=when), data)
        assert result.success and result.output == output, result.errors


def test_a_step_that_only_passes_on_has_a_condition_too(make_engine: MakeEngine) -> None:
    for executor in ("thread", "process"):
        engine = make_engine(executor=executor, max_workers=1)
        pipeline = PipelineBuilder().add_step("a", "no_such_type", when=even).build()
        assert engine.execute_pipeline(pipeline, 2).output == 2
        assert engine.execute_pipeline(pipeline, 1).output is None


def test_an_async_handler_is_not_begun_when_its_condition_is_false(
    engine: ExecutionEngine,
) -> None:
    async def later(data: int) -> int:
        return data

    result = engine.execute_pipeline(graph({"a": []}, handler=later, a=even), 1)
    assert result.success and skips(engine, result.run_id) == [("a", "condition", None, 1)]


# -- conditions that fail ------------------------------------------------------------------------


def test_a_condition_that_raises_fails_its_step_and_is_retried_by_kind(
    make_engine: MakeEngine,
) -> None:
    asked = []

    def when(data: Any) -> bool:
        asked.append(data)
        if len(asked) < 3:
            raise ConnectionError("reset")
        return False

    engine = make_engine(failure_handler=FailureHandler(default_initial_delay=0.0))
    result = engine.execute_pipeline(graph(CHAIN, b=when), 1)
    assert result.success and asked == [2, 2, 2]
    assert skips(engine, result.run_id) == [("b", "condition", None, 3), ("c", "condition", "b", 0)]
    (report,) = (step for step in engine.report(result.run_id).steps if step.name == "b")
    assert report.error is None, "what was skipped in the end has not failed"
    result = engine.execute_pipeline(graph(CHAIN, b=lambda data: data["x"]), 1)
    assert result.metrics["steps_retried"] == 0
    assert result.errors == ["step 'b': TypeError: 'int' object is not subscriptable"]


def test_the_fallback_of_a_step_does_not_ask_its_condition(make_engine: MakeEngine) -> None:
    def when(data: Any) -> bool:
        raise ValueError("who knows")

    handler = FailureHandler()
    handler.register_fallback("t", lambda step, error: str(error))
    engine = make_engine(failure_handler=handler)
    assert engine.execute_pipeline(graph({"a": []}, a=when)).output == "who knows"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("no_such_module:f", "the condition of step 'a'"),
        (f"{__name__}:HERE", "is not callable"),
    ],
)
def test_a_condition_that_cannot_be_found_fails_its_step_clearly(
    engine: ExecutionEngine, when: str, said: str
) -> None:
    """As a handler: in a process, where what is named is not imported before; here, at once."""
    pipeline = graph({"a": []}, a=when)
    with pytest.raises(PipelineValidationError, match="unimportable_condition: step 'a'"):
        engine.execute_pipeline(pipeline)
    pipeline.step("a").executor = "process"
    (error,) = engine.execute_pipeline(pipeline).errors
    assert "HandlerNotFound" in error and said in error


def append(data: list[str]) -> bool:
    data.append("by the condition")
    return True


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_a_condition_does_to_the_input_the_handler_does_not_see(
    engine: ExecutionEngine, executor: str
) -> None:
    pipeline = graph({"a": []}, handler=grow, a=append)
    pipeline.step("a").executor = executor
    assert engine.execute_pipeline(pipeline, ["given"]).output == ["given"]


def test_a_condition_that_yields_is_no_answer(engine: ExecutionEngine) -> None:
    (error,) = engine.execute_pipeline(graph({"a": []}, a=lambda data: yielding(data))).errors
    assert "must return its answer, not yield it" in error


def test_an_answer_that_would_have_to_be_awaited_is_an_error(engine: ExecutionEngine) -> None:
    async def later(data: Any) -> bool:
        return False

    (error,) = engine.execute_pipeline(graph({"a": []}, a=lambda data: later(data))).errors
    assert "must not be async" in error


# -- validation and text -------------------------------------------------------------------------


async def asynchronous(data: Any) -> bool:
    return False


def yielding(data: Any) -> Any:
    yield False


def without_parameters() -> bool:
    return True


def of_two(data: Any, more: Any) -> bool:
    return True


def undo(output: Any, *, step: Any, context: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("when", "executor", "code", "fatal"),
    [
        (even, None, None, False),
        (f"{__name__}:even", "process", None, False),
        (lambda data: True, None, "unrecoverable_condition", False),
        (lambda data: True, "process", "unsendable_condition", True),
        (asynchronous, None, "invalid_condition", True),
        ("", None, "invalid_condition", True),
        ("even", None, "invalid_condition", True),
        (True, None, "invalid_condition", True),
        ("no_such_module:x", None, "unimportable_condition", True),
        ("os:no_such_name", None, "unimportable_condition", True),
        ("os:sep", None, "unimportable_condition", True),
        ("no_such_module:x", "process", None, False),
        (bool, None, None, False),
        (yielding, None, "invalid_condition", True),
        (without_parameters, None, "invalid_condition", True),
        (of_two, "process", "invalid_condition", True),
        (f"{__name__}:of_two", None, "invalid_condition", True),
        (f"{__name__}:yielding", None, "invalid_condition", True),
        (7, None, "invalid_condition", True),
    ],
)
def test_conditions_are_validated(when: Any, executor: Any, code: str | None, fatal: bool) -> None:
    pipeline = Pipeline("p", [PipelineStep("a", "t", handler=grow, when=when, executor=executor)])
    found = PipelineValidator().validate_pipeline(pipeline)
    assert bool(found) is not fatal
    codes = [(finding.code, finding.step) for finding in [*found.errors, *found.warnings]]
    assert codes == ([(code, "a")] if code else [])


@pytest.mark.parametrize(
    ("compensate", "code"),
    [
        (undo, None),
        (asynchronous, None),
        (print, None),
        (f"{__name__}:undo", None),
        ("no_such_module:x", "unimportable_compensation"),
        ("os:sep", "unimportable_compensation"),
        (of_two, "invalid_compensation"),
        (f"{__name__}:without_parameters", "invalid_compensation"),
        (yielding, "invalid_compensation"),
        (7, "invalid_compensation"),
    ],
)
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_undoes_a_step_is_validated_alike(
    compensate: Any, code: str | None, executor: str
) -> None:
    """It runs in a thread, wherever its step does."""
    one = PipelineStep("a", "t", handler=grow, compensate=compensate, executor=executor)
    found = PipelineValidator().validate_pipeline(Pipeline("p", [one]))
    assert [(finding.code, finding.step) for finding in found.errors] == (
        [(code, "a")] if code else []
    )


def test_an_invalid_condition_is_refused_before_anything_is_recorded(
    engine: ExecutionEngine,
) -> None:
    with pytest.raises(PipelineValidationError, match="when=7 is not callable"):
        engine.execute_pipeline(graph({"a": []}, a=7))
    assert engine.runs() == []


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_condition_survives_as_text(engine: ExecutionEngine, form: str) -> None:
    again = deserialize(serialize(graph(CHAIN, b=even), form), form)
    assert again.step("b").when == f"{__name__}:even" and again.step("a").when is None
    assert engine.execute_pipeline(again, 2).output is None
    assert engine.execute_pipeline(again, 1).output == 4


# -- counting, resuming, recovering --------------------------------------------------------------


def test_skipped_steps_are_counted_reported_and_drawn(engine: ExecutionEngine) -> None:
    result = engine.execute_pipeline(graph(DIAMOND, left=never), 1)
    assert result.metrics["steps_skipped"] == 1 and result.metrics["steps_executed"] == 3
    progress = engine.get_progress(result.run_id)
    assert (progress["percentage"], progress["completed_steps"]) == (100, 3)
    assert progress["estimated_remaining"] == 0
    (left,) = (step for step in engine.report(result.run_id).steps if step.name == "left")
    assert (left.status, left.waits_for, left.error) == ("skipped", None, None)
    attempts = timeline(engine.history(result.run_id)).attempts
    outcomes = {attempt.step: attempt.outcome for attempt in attempts}
    assert outcomes == {
        "root": "completed",
        "left": "skipped",
        "right": "completed",
        "join": "completed",
    }
    assert all(attempt.end >= attempt.start for attempt in attempts)


def test_what_a_condition_skipped_stays_skipped_when_a_failed_run_is_resumed(
    engine: ExecutionEngine,
) -> None:
    asked = []

    def when(data: Any) -> bool:
        asked.append(data)
        return False

    steps = {
        "root": [],
        "bad": ["root"],
        "after": ["bad"],
        "maybe": ["root"],
        "behind": ["maybe"],
        "both": ["behind", "after"],
    }
    pipeline = graph(steps, maybe=when)
    pipeline.step("bad").handler = fail
    result = engine.execute_pipeline(pipeline, 1, on_failure="continue", run_id="r")
    assert not result.success
    assert states(engine, "r") == {
        "root": "completed",
        "bad": "failed",
        "after": "skipped",
        "maybe": "skipped",
        "behind": "skipped",
        "both": "skipped",
    }
    assert result.metrics["steps_skipped"] == 4
    assert engine.get_progress("r")["percentage"] == pytest.approx(100 * 5 / 6)
    reasons = {step: reason for step, reason, *_ in skips(engine, "r")}
    assert reasons["both"] == reasons["after"] == "upstream"

    pipeline.step("bad").handler = grow
    assert engine.resume_pipeline("r", pipeline=pipeline)
    result = engine.attach("r").result(10)
    assert result.success and result.output == ["after"]
    assert states(engine, "r") == {
        "root": "completed",
        "bad": "completed",
        "after": "completed",
        "maybe": "skipped",
        "behind": "skipped",
        "both": "completed",
    }
    assert len(asked) == 1 and result.metrics["steps_skipped"] == 2
    assert engine.get_progress("r")["percentage"] == 100


def test_a_condition_may_be_false_after_the_step_has_failed_before(
    engine: ExecutionEngine,
) -> None:
    """It is asked at every attempt."""
    asked = []

    def when(data: Any) -> bool:
        asked.append(data)
        return len(asked) < 3

    def flaky(data: Any) -> None:
        raise ConnectionError("reset")

    made = PipelineBuilder().add_step(
        "a", "t", handler=flaky, when=when, retry=RetryPolicy(initial_delay=0.0)
    )
    result = engine.execute_pipeline(made.add_step("b", "t", handler=grow).build())
    assert result.success and skips(engine, result.run_id)[0] == ("a", "condition", None, 3)


def test_a_step_may_be_skipped_while_its_run_is_being_paused(engine: ExecutionEngine) -> None:
    entered, go = threading.Event(), threading.Event()

    def when(data: Any) -> bool:
        entered.set()
        assert go.wait(20)
        return False

    future = engine.execute_pipeline_async(graph(DIAMOND, left=when, right=never), 1)
    assert entered.wait(10) and engine.pause_pipeline(future.run_id)
    go.set()
    result = future.result(10)
    assert result.status is PipelineStatus.COMPLETED, "nothing was left to pause for"
    assert set(states(engine, future.run_id).values()) == {"completed", "skipped"}


def die(data: Any) -> bool:
    if os.environ.get("DIE_IN_CONDITION"):
        os.kill(os.getpid(), signal.SIGKILL)
    return False


def begin(log: str) -> None:
    """In a process of its own, which a condition kills."""
    steps = {**DIAMOND, "early": ["root"], "late": ["early", "join"]}
    with ExecutionEngine(log, max_workers=1) as engine:
        engine.execute_pipeline(graph(steps, left=even, early=never, join=die), 1, run_id="dies")


def test_a_run_goes_on_in_another_process(log: Path, make_engine: MakeEngine) -> None:
    """With conditions that are found by name, and what they skipped before."""
    code = "import sys, test_conditions; test_conditions.begin(sys.argv[1])"
    path = f"{HERE}:{HERE.parent}"
    done = subprocess.run(
        [sys.executable, "-c", code, log],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": path, "DIE_IN_CONDITION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    engine = make_engine()
    before = skips(engine, "dies")
    (future,) = engine.recover()
    result = future.result(10)
    assert result.success and result.output is None
    assert ("early", "condition", None, 1) in before
    assert skips(engine, "dies")[len(before) :] == [
        ("join", "condition", None, 2),
        ("late", "condition", "join", 0),
    ]


def test_a_lambda_of_another_process_is_a_clear_error_unless_given_again(
    make_engine: MakeEngine,
) -> None:
    pipeline = graph(CHAIN, b=lambda data: False)
    pipeline.step("a").handler = fail
    engine = make_engine()
    assert not engine.execute_pipeline(pipeline, 1, run_id="r").success
    engine.close()
    again = graph(CHAIN, b=even)
    again.step("b").when = None  # it has none to give
    engine = make_engine()
    assert engine.resume_pipeline("r", pipeline=again)
    (error,) = engine.attach("r").result(10).errors
    assert "condition is a lambda or closure of another process" in error and "pipeline=" in error
    assert engine.resume_pipeline("r", pipeline=pipeline)
    assert engine.attach("r").result(10).success
