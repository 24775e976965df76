"""The steps ``process`` and ``merge``."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    ExecutionResult,
    Pipeline,
    PipelineStep,
    PipelineValidator,
    RetryPolicy,
    step,
)
from semantica.pipeline.engine.steps import registry
from semantica.pipeline.engine.steps.corpus import Corpus

ONCE = RetryPolicy(max_retries=0)
HERE = __name__


def shout(data: str, mark: str = "!") -> str:
    return data.upper() + mark


def told(text: str, context: Context, step: PipelineStep) -> list[str]:
    context.metric("told")
    return [text, step.name, context.step]


async def later(data: str) -> str:
    await asyncio.sleep(0)
    return data + " later"


def run(pipeline: Pipeline, data: Any = None, **options: Any) -> ExecutionResult:
    with ExecutionEngine(":memory:", **options) as engine:
        return engine.execute_pipeline(pipeline, data)


def processing(executor: str | None = None, **config: Any) -> Pipeline:
    return Pipeline("p", [PipelineStep("work", "process", config, executor=executor, retry=ONCE)])


def merging(
    outputs: dict[str, Any], skipped: tuple[str, ...] = (), **config: Any
) -> ExecutionResult:
    """The result of a merge of steps that give what is said, in that order."""

    @step("test_gives")
    def give(step: PipelineStep, context: Context) -> Any:
        value = outputs[step.name]
        return Corpus.of(value, context.artifacts) if isinstance(value, Documents) else value

    steps = [
        PipelineStep(name, "test_gives", when=never if name in skipped else None)
        for name in outputs
    ]
    steps.append(PipelineStep("all", "merge", config, list(outputs), retry=ONCE))
    return run(Pipeline("p", steps))


class Documents(list[Any]):
    """Is made a corpus of."""


def never(data: Any) -> bool:
    return False


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


# process


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_function_is_found_by_its_name(executor: str) -> None:
    assert run(processing(executor, function=f"{HERE}:shout"), "hey").output == "HEY!"
    config = {"function": f"{HERE}:shout", "arguments": {"mark": "?"}}
    assert run(processing(executor, **config), "hey").output == "HEY?"
    assert run(processing(executor, function="builtins:len"), [1, 2]).output == 2
    assert run(processing(executor, function=f"{HERE}:later"), "x").output == "x later"


def test_it_gets_what_a_handler_gets() -> None:
    result = run(processing(function=f"{HERE}:told"), "text")
    assert result.output == ["text", "work", "work"]
    assert result.metrics["told"] == 1


def test_without_a_function_the_input_is_handed_on() -> None:
    result = run(processing(), {"a": (1, 2)})
    assert result.success
    assert result.output == {"a": (1, 2)}


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({"function": "no_such_module:f"}, "HandlerNotFound", "cannot import 'no_such_module:f'"),
        ({"function": f"{HERE}:none"}, "HandlerNotFound", f"cannot import '{HERE}:none'"),
        ({"function": f"{HERE}:HERE"}, "HandlerNotFound", "is not callable"),
        (
            {"function": f"{HERE}:shout", "arguments": {"marc": 1}},
            "TypeError",
            "shout takes no configuration 'marc'; did you mean 'mark'?",
        ),
    ],
)
def test_a_function_that_cannot_be_called(config: Any, kind: str, message: str) -> None:
    (error,) = run(processing(**config), "x").errors
    assert kind in error
    assert message in error


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"function": "shout"}, "function='shout': it should be module:function"),
        ({"function": 3}, "function=3: it should be"),
        ({"arguments": {"mark": 1}}, "'arguments' without a 'function'"),
        ({"functoin": "a:b"}, "did you mean 'function'"),
    ],
)
def test_what_means_nothing_is_told_before_anything_runs(config: Any, complaint: str) -> None:
    (error,) = PipelineValidator().validate_pipeline(processing(**config)).errors
    assert re.search(complaint, error)


# merge


def test_lists_come_one_behind_the_other_in_the_order_of_dependencies() -> None:
    outputs: dict[str, Any] = {"z": [1, 2], "a": (3,), "m": []}
    assert merging(outputs).output == [1, 2, 3]


def test_mappings_become_one() -> None:
    outputs: dict[str, Any] = {"z": {"a": 1, "both": [1]}, "b": {"b": 2, "both": [1]}}
    assert merging(outputs).output == {"a": 1, "b": 2, "both": [1]}, "equal values agree"


@pytest.mark.parametrize(("conflict", "value"), [("first", 1), ("last", 2)])
def test_the_rule_says_which_value_counts(conflict: str, value: int) -> None:
    outputs = {"z": {"k": 1}, "a": {"k": 2}}
    assert merging(outputs, conflict=conflict).output == {"k": value}


def test_without_a_rule_different_values_are_an_error() -> None:
    (error,) = merging({"z": {"k": 1}, "a": {"k": 2}}).errors
    assert "'z' and 'a' have different values for 'k'; say which counts" in error


def test_corpora_become_one_without_doubles() -> None:
    both = {"id": "both", "text": "in both"}
    output = merging(
        {
            "one": Documents([{"id": "1", "text": "one"}, both]),
            "two": Documents([both, {"id": "2", "text": "two"}]),
        }
    ).output
    assert [document.id for document in output.documents] == ["1", "both", "2"]


def test_what_was_skipped_is_left_out() -> None:
    outputs: dict[str, Any] = {"a": [1], "b": [2], "c": None}
    assert merging(outputs, skipped=("b",)).output == [1]


@pytest.mark.parametrize(
    ("outputs", "kinds"),
    [
        ({"a": [1], "b": {"k": 1}}, "'a' a list, 'b' a dict"),
        ({"a": 1, "b": 2}, "'a' a int, 'b' a int"),
        ({"a": "x", "b": "y"}, "'a' a str, 'b' a str"),
        ({"a": Documents(["x"]), "b": ["x"]}, "'a' a Corpus, 'b' a list"),
    ],
)
def test_what_cannot_be_joined_is_named(outputs: dict[str, Any], kinds: str) -> None:
    (error,) = merging(outputs).errors
    assert f"all of one kind, and gets {kinds}" in error


def test_one_input_is_handed_on() -> None:
    assert merging({"a": {"k": [1]}}).output == {"k": [1]}
    assert run(Pipeline("p", [PipelineStep("all", "merge")]), {"x": [1], "y": 2}).output == {
        "x": [1],
        "y": 2,
    }


def test_a_rule_that_is_none() -> None:
    pipeline = Pipeline("p", [PipelineStep("all", "merge", {"conflict": "frist"})])
    (error,) = PipelineValidator().validate_pipeline(pipeline).errors
    assert "it should be 'error' | 'first' | 'last'; did you mean 'first'?" in error
