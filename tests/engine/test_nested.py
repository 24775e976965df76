"""Pipelines that are steps of others: what they give, how they fail, what they are told."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    PipelineValidationError,
    PipelineValidator,
    RetryPolicy,
    SerializationError,
)
from semantica.pipeline.testing import SimulatedEngine

HERE = "test_nested"
executed: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    executed.clear()


def add(data: Any, step: PipelineStep, amount: int = 1) -> int:
    executed[step.name] += 1
    return int(data) + amount


def count(data: int, context: Context) -> int:
    context.metric("counted", data)
    return data


def odd(data: int) -> bool:
    return data % 2 == 1


def inner(*handlers: Any, name: str = "inner", **options: Any) -> Pipeline:
    builder = PipelineBuilder()
    for number, handler in enumerate(handlers or (add, add)):
        builder.add_step("abcdef"[number], "t", handler=handler, **options)
    return builder.build(name)


def around(nested: Pipeline, *, name: str = "outer", **options: Any) -> Pipeline:
    builder = PipelineBuilder().add_step("before", "t", handler=add)
    builder.add_step("clean", pipeline=nested, **options)
    return builder.add_step("after", "t", handler=add, amount=100).build(name)


def test_its_input_is_the_step_s_and_its_output_too() -> None:
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(inner(add, count)), 1)
        assert result.output == 103
        assert result.metrics["counted"] == 3
        child = engine.report(result.run_id).steps[1].run_id
        assert child is not None
        submitted = engine.history(child)[0]
        assert f'"run":"{result.run_id}","step":"clean"'.encode() in submitted.payload
        woken = {e.type: e for e in engine.history(result.run_id)}["StepSuspended"]
        assert f'"run":"{child}"'.encode() in woken.payload
        assert [(row.run_id, row.parent) for row in engine.runs()] == [
            (child, result.run_id),
            (result.run_id, None),
        ]
        assert engine.report(child).parent == result.run_id
        assert engine.get_status("outer") == engine.get_status(child) == "completed"


def test_begin_and_end_of_a_run_and_of_its_step_are_one_commit() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline(around(inner()), 1).run_id
        child = engine.report(run).steps[1].run_id
        assert child is not None
        at = {(e.stream[4:], e.type): e.position for e in engine.history(run)}
        at |= {(e.stream[4:], e.type): e.position for e in engine.history(child)}
        begun = at[run, "StepSuspended"], at[child, "PipelineSubmitted"]
        ended = at[child, "PipelineCompleted"], at[run, "StepWoken"]
        assert abs(begun[0] - begun[1]) <= 3
        assert abs(ended[0] - ended[1]) <= 3


def test_several_inputs_and_several_outputs_come_as_a_dictionary() -> None:
    two = PipelineBuilder().add_step("sum", "t", handler=lambda data: data["x"] + data["y"])
    two.add_step("difference", "t", handler=lambda data: data["x"] - data["y"], dependencies=[])
    builder = PipelineBuilder().add_step("x", "t", handler=add)
    builder.add_step("y", "t", handler=add, dependencies=[], amount=5)
    builder.add_step("both", pipeline=two.build("two"), dependencies=["x", "y"])
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(builder.build("outer"), 1)
        assert result.output == {"sum": 8, "difference": -4}


def test_fifty_within_one_another_need_one_worker() -> None:
    nested = inner()
    for level in range(50):
        nested = PipelineBuilder().add_step("n", pipeline=nested).build(f"level {level}")
    with ExecutionEngine(":memory:", max_workers=1) as engine:
        assert engine.execute_pipeline(nested, 1).output == 3


def test_many_side_by_side_obey_the_cap_of_the_run_around_them() -> None:
    together = threading.Barrier(2, timeout=60)  # each needs another at its side

    def meets(data: int) -> int:
        together.wait()
        return data + 1

    builder = PipelineBuilder().set_parallelism(2)
    for number in range(6):
        builder.add_step(f"n{number}", pipeline=inner(meets), dependencies=[])
    with SimulatedEngine(max_workers=8) as engine:
        result = engine.execute_pipeline(builder.build("outer"), 1)
        assert set(result.output.values()) == {2}
        going = most = 0
        for envelope in engine.history(result.run_id):
            going += {"StepSuspended": 1, "StepWoken": -1}.get(envelope.type, 0)
            most = max(most, going)
        assert most == 2


# Failures


def fails(data: Any, step: PipelineStep) -> int:
    executed[step.name] += 1
    raise ValueError("no such page")


def fails_twice(data: int, step: PipelineStep) -> int:
    executed[step.name] += 1
    if executed[step.name] < 3:
        raise ConnectionError("down")
    return data


def test_an_error_comes_with_the_whole_path_to_it() -> None:
    deep = PipelineBuilder().add_step("parse", pipeline=inner(add, fails)).build("middle")
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(deep), 1)
        assert result.errors == ["step 'clean > parse > b': ValueError: no such page"]
        with pytest.raises(Exception, match="clean > parse > b") as caught:
            result.raise_for_status()
        assert isinstance(caught.value.__cause__, ValueError)
        told = engine.report(result.run_id)
        assert told.steps[1].error == "parse > b: ValueError: no such page"
        assert told.error == "parse > b: ValueError: no such page"
        assert executed == {"before": 1, "a": 1, "b": 1}


def test_a_retry_of_the_step_goes_on_with_the_same_run() -> None:
    once = RetryPolicy(max_retries=0)
    nested = inner(add, fails_twice, retry=once)
    again = RetryPolicy(max_retries=2, initial_delay=60)
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(nested, retry=again), 1)
        assert result.output == 103
        assert executed == {"before": 1, "a": 1, "b": 3, "after": 1}
        assert len(engine.runs()) == 2
        assert result.metrics["steps_retried"] == 2
        assert engine.leapt >= 119


def test_what_holds_for_all_steps_does_not_retry_a_nested_pipeline_as_well() -> None:
    nested = inner(fails_twice)
    with SimulatedEngine(default_max_retries=1) as engine:
        assert not engine.execute_pipeline(around(nested), 1).success
        assert executed["a"] == 2


def test_a_failed_run_that_is_resumed_goes_on_in_the_run_that_failed() -> None:
    nested = inner(add, fails_twice, add, retry=RetryPolicy(max_retries=0))
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline(around(nested), 1).run_id
        for _ in range(2):
            assert engine.get_status(run) == "failed"
            assert engine.resume_pipeline(run)
            result = engine.finish(run)
        assert result.output == 104
        assert executed == {"before": 1, "a": 1, "b": 3, "c": 1, "after": 1}
        assert len(engine.runs()) == 2


def test_the_time_of_a_step_is_the_deadline_of_its_run_and_each_attempt_gets_it_anew() -> None:
    def waits(data: int, context: Context) -> int:
        context.sleep(40)
        return data

    nested = inner(waits, waits)
    once = RetryPolicy(max_retries=1, initial_delay=1)
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(nested, timeout=60, retry=once), 1)
        assert result.success, result.errors
        assert executed == {"before": 1, "after": 1}
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(nested, timeout=60), 1)
        (error,) = result.errors
        assert error.startswith("step 'clean': DeadlineExceeded: the deadline passed")


def test_a_fallback_by_type_answers_for_the_whole() -> None:
    with SimulatedEngine() as engine:
        engine.failure_handler.register_fallback("pipeline", lambda step, error: 7)
        assert engine.execute_pipeline(around(inner(add, fails)), 1).output == 107


def test_a_condition_decides_on_the_whole() -> None:
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(inner(), when=odd), 1)
        assert (result.success, result.output) == (True, None)
        assert len(engine.runs()) == 1
        assert engine.execute_pipeline(around(inner(), when=odd), 2).output == 105


def test_branches_go_on_inside_as_they_do_outside() -> None:
    nested = PipelineBuilder().add_step("bad", "t", handler=fails)
    nested.add_step("good", "t", handler=add, dependencies=[])
    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(around(nested.build("in")), 1, on_failure="continue")
        assert result.errors == ["step 'clean > bad': ValueError: no such page"]
        assert executed == {"before": 1, "bad": 1, "good": 1}


# What is refused


@pytest.mark.parametrize(
    "options",
    [
        {"handler": add},
        {"executor": "thread"},
        {"cpu_cores": 1},
        {"heartbeat_timeout": 1},
        {"cache": True},
        {"at_most_once": True},
        {"source": "x"},
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, Any]) -> None:
    result = PipelineBuilder().add_step("n", pipeline=inner(), **options).validate()
    (error,) = result.errors
    assert error.code == "invalid_option"
    assert error.step == "n"


def test_what_is_wrong_inside_is_told_with_its_path() -> None:
    wrong = PipelineBuilder().add_step("a", "t", handler=add, dependencies=["z"], amonut=2)
    deep = PipelineBuilder().add_step("parse", pipeline=wrong.build("w")).build("middle")
    result = PipelineValidator().validate_pipeline(around(deep))
    assert {error.step for error in result.errors} == {"clean > parse > a"}
    assert "missing_dependency" in result.errors
    assert "unknown_config" in result.errors


def test_a_pipeline_that_contains_itself_is_refused() -> None:
    nested = inner()
    outer = around(around(nested))
    nested.steps.append(PipelineStep("again", "pipeline", pipeline=outer))
    result = PipelineValidator().validate_pipeline(outer)
    (error,) = result.errors
    assert error.code == "circular_nesting"
    assert "clean > clean > again" in error
    with pytest.raises(SerializationError, match="contains itself"):
        PipelineBuilder().serialize(outer)
    with SimulatedEngine() as engine, pytest.raises(PipelineValidationError, match="itself"):
        engine.execute_pipeline(outer)


def test_too_deep_is_refused() -> None:
    nested = inner()
    for _ in range(5000):
        nested = Pipeline("n", [PipelineStep("n", "pipeline", pipeline=nested)])
    (error,) = PipelineValidator().validate_pipeline(nested).errors
    assert "nested 5001 deep; at most 64" in error


def test_a_step_has_a_type_or_is_a_pipeline() -> None:
    with pytest.raises(TypeError, match="give its type, or pipeline="):
        PipelineBuilder().add_step("a")


# Texts, handlers, forks


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_a_text_holds_what_is_nested(format: str) -> None:
    nested = inner()
    for level in range(25):
        nested = around(nested, name=f"level {level}", timeout=5.0)
    builder = PipelineBuilder()
    text = builder.serialize(nested, format)
    back = builder.deserialize(text, format)
    assert builder.serialize(back, format) == text
    assert back.step("clean").timeout == 5
    with SimulatedEngine() as engine:
        assert engine.execute_pipeline(back, 1).output == 1 + 25 * 101 + 2


def test_a_text_that_is_wrong_inside_says_where() -> None:
    steps = [{"name": "n", "type": "pipeline", "pipeline": {"steps": [{"name": "a", "typ": "t"}]}}]
    with pytest.raises(SerializationError, match=r"steps\[0\]\.pipeline\.steps\[0\].*'typ'"):
        PipelineBuilder().deserialize({"steps": steps})


def test_a_lambda_inside_is_given_again(tmp_path: Path) -> None:
    def pipeline() -> Pipeline:
        return around(inner(lambda data: data + 1, lambda data: data * 10))

    with SimulatedEngine(tmp_path / "log.db") as engine:
        engine.crash_after("StepCompleted", 2)
        with pytest.raises(Exception, match="killed"):
            engine.execute_pipeline(pipeline(), 1, run_id="r")
        (future,) = engine.recover(pipeline=pipeline())
        assert engine.finish(future.run_id).output == 130


def test_a_fork_does_what_is_nested_again_or_keeps_it() -> None:
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline(around(inner()), 1).run_id
        kept = engine.fork(run, from_step="after")
        assert engine.finish(kept.run_id).output == 104
        assert executed["a"] == 1
        again = engine.fork(run, from_step="clean", overrides={"after": {"amount": 5}})
        assert engine.finish(again.run_id).output == 9
        assert executed["a"] == 2


def test_steps_inside_wait_for_resources_by_themselves() -> None:
    nested = PipelineBuilder()
    for name in ("a", "b", "c"):
        nested.add_step(name, "t", handler=add, dependencies=[], resources={"slots": 2})
    with SimulatedEngine(max_workers=4) as engine:
        engine.resource_scheduler.register_resource("slots", "custom", 2)
        result = engine.execute_pipeline(around(nested.build("in"), name="o"), 1)
        assert result.errors  # the dictionary is no number
        (child,) = (row for row in engine.runs() if row.parent)
        held = [e for e in engine.history(child.run_id) if e.type == "StepStarted"]
        assert [b'"grants":{"slots":2' in e.payload for e in held] == [True] * 3
    too_much = PipelineBuilder().add_step("a", "t", handler=add, resources={"slots": 3})
    with SimulatedEngine() as engine:
        engine.resource_scheduler.register_resource("slots", "custom", 2)
        with pytest.raises(PipelineValidationError, match="clean > a"):
            engine.execute_pipeline(around(too_much.build("in")), 1)
