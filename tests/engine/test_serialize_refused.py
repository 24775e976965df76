"""What is refused in the text of a pipeline, with its place; and texts that mean harm."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from semantica.pipeline.engine.model import Pipeline, PipelineStep
from semantica.pipeline.engine.serialize import deserialize, serialize
from semantica.pipeline.events.errors import SerializationError

FORMATS = ("json", "yaml")


class Odd:
    """Neither a dataclass nor a struct: only pickle writes it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd)

    __hash__ = None  # type: ignore[assignment]


STEP = '{"name": "a", "type": "t", %s}'


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "line 1, column 1", "Expecting value"),
        ('{"steps": [1,]}', "line 1, column 14", "Expecting value"),
        ("[]", "the document", "a mapping, got a list"),
        ("null", "the document", "a mapping, got nothing"),
        ("{}", "the document", "steps"),
        ('{"steps": 5}', "steps: ", "int"),
        ('{"steps": [5]}', "steps[0]: ", "a mapping"),
        ('{"steps": [{"name": "a"}]}', "steps[0]: ", "type"),
        ('{"stps": []}', "the document: ", "unknown key 'stps'; did you mean 'steps'?"),
        ('{"steps": NaN}', "", "NaN"),
        ('{"steps": ' + "9" * 5000 + "}", "", "number"),
        ('{"a": 1, "a": 2}', "the document: ", "'a' appears twice"),
        ('{"steps": [], "metadata": {"a": [{"b": 1, "b": 2}]}}', "metadata.a[0]: ", "'b'"),
        (STEP % '"dependency": []', "steps[0]: ", "did you mean 'dependencies'?"),
        (STEP % '"zzz": 1', "steps[0]: ", "goes under 'config'"),
        (STEP % '"deadline": 1', "steps[0]: ", "reserved and not supported"),
        (STEP % '"dependencies": null', "steps[0].dependencies: ", "null"),
        (STEP % '"dependencies": ["a", 5]', "steps[0].dependencies[1]: ", "int"),
        (STEP % '"timeout": "5"', "steps[0].timeout: ", "str"),
        (STEP % '"priority": true', "steps[0].priority: ", "bool"),
        (STEP % '"handler": 5', "steps[0].handler: ", "int"),
        (STEP % '"config": []', "steps[0].config: ", "array"),
        (STEP % '"config": {"!": "tuple", "v": []}', "steps[0].config: ", "array"),
        (STEP % '"config": {"x": {"!": "blah"}}', "steps[0].config.x: ", "blah"),
        (STEP % '"config": {"x": [{"!": "date", "v": "z"}]}', "steps[0].config.x: ", "date"),
        (STEP % '"config": {"x": {"!": "ref", "v": "no_such:y"}}', ".config.x: ", "no_such"),
        (STEP % '"retry": 5', "steps[0].retry: ", "a mapping"),
        (STEP % '"retry": {"max_retry": 5}', "steps[0].retry: ", "did you mean 'max_retries'?"),
        (STEP % '"retry": {"max_retries": "5"}', "steps[0].retry.max_retries: ", "str"),
        (
            STEP % '"retry": {"max_retries": -1}',
            "steps[0].retry: ",
            "RetryPolicy.max_retries must be a whole number from 0, not -1",
        ),
        (STEP % '"retry": {"strategy": "expo"}', "steps[0].retry.strategy: ", "exponential"),
        (STEP % '"retry": {"retryable_errors": [5]}', "steps[0].retry.retryable_errors: ", "names"),
    ],
)
def test_an_error_names_its_place(text: str, place: str, problem: str) -> None:
    if text.startswith('{"name"'):
        text = f'{{"steps": [{text}]}}'
    with pytest.raises(SerializationError) as caught:
        deserialize(text)
    assert place in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("steps: [", "line 2, column 1", "expected node content"),
        ("a: b: c", "line 1, column 5", "mapping values"),
        ("steps:\n\t- a", "line 2, column 1", "cannot start any token"),
        ("name: a\nname: b", "line 2, column 1", "'name' appears twice"),
        ("{a: 1, 'a': 2}", "line 1, column 8", "'a' appears twice"),
        ("a: &x 1", "line 1, column 4", "anchor &x"),
        ("a: *x", "line 1, column 4", "alias *x"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4", "tag"),
        ("a: !!str 5", "line 1, column 4", "tag"),
        ("? [1]\n: 2", "line 1, column 3", "single value"),
        ("a: 1\n---\na: 2", "line 2, column 1", "second document"),
        ("a: \x00", "line 1, column 4", "not allowed"),
        ("b: 1\na: \ud800", "line 2, column 4", "not allowed"),
        ("a: " + "9" * 5000, "line 1, column 4", "too long"),
        ("", "the document", "nothing"),
        ("steps: [{name: a, type: t, config: {1: 2}}]", "the keys of steps[0].config", "int"),
    ],
)
def test_an_error_in_yaml_names_its_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(SerializationError) as caught:
        deserialize(text, "yaml")
    assert place in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_data_and_formats() -> None:
    for data in (5, None, [1]):
        with pytest.raises(SerializationError, match="expected text or a mapping"):
            deserialize(data)  # type: ignore[arg-type]
    with pytest.raises(SerializationError, match="not UTF-8"):
        deserialize(b"\xff")
    for format in ("xml", None, []):
        with pytest.raises(SerializationError, match="'json' or 'yaml'"):
            deserialize("{}", format)  # type: ignore[arg-type]
        with pytest.raises(SerializationError, match="'json' or 'yaml'"):
            serialize(Pipeline("p"), format)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline("p", [PipelineStep("a", 5)]),  # type: ignore[arg-type]
        Pipeline("p", [PipelineStep("a", "t", {1: 2})]),  # type: ignore[dict-item]
        Pipeline("p", [PipelineStep("a", "t", None)]),  # type: ignore[arg-type]
        Pipeline("p", [PipelineStep("a", "t", dependencies="b")]),  # type: ignore[arg-type]
        Pipeline("p", [PipelineStep("a", "t", retry={"max_retries": 1})]),  # type: ignore[arg-type]
        Pipeline("p", ["a"]),  # type: ignore[list-item]
        Pipeline(5, []),  # type: ignore[arg-type]
        Pipeline("p", [], parallelism="x"),  # type: ignore[arg-type]
        Pipeline("p", [], {"odd": Odd()}),
    ],
)
def test_what_could_not_be_read_back_is_not_written(pipeline: Pipeline) -> None:
    with pytest.raises(SerializationError):
        serialize(pipeline)


# Hostile texts


def test_pickles_are_read_only_on_request() -> None:
    pipeline = Pipeline("p", [PipelineStep("a", "t", {"odd": [Odd()]})])
    with pytest.raises(SerializationError, match=r"steps\[0\].config.odd.*pickle"):
        serialize(pipeline)
    text = serialize(pipeline, allow_pickle=True)
    with pytest.raises(SerializationError, match=r"steps\[0\].config.odd\[0\].*allow_pickle=True"):
        deserialize(text)
    assert deserialize(text, allow_pickle=True) == pipeline


def nested(depth: int, opening: str, closing: str) -> str:
    return '{"steps": [], "metadata": {"a": ' + opening * depth + closing * depth + "}}"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "1}"), ("[", "")])
@pytest.mark.parametrize("depth", [150, 3000, 100_000])
def test_deep_nesting_ends_quickly(format: str, opening: str, closing: str, depth: int) -> None:
    begun = time.process_time()
    with pytest.raises(SerializationError):
        deserialize(nested(depth, opening, closing), format)
    assert time.process_time() - begun < 5


def test_depth_that_is_allowed() -> None:
    for format in FORMATS:
        assert deserialize(nested(98, "[", "]"), format)
    for indicator in ("- ", "? ", "{a: "):
        with pytest.raises(SerializationError, match="deeper than 100 levels"):
            deserialize(indicator * 10_000, "yaml")


@pytest.mark.parametrize("format", FORMATS)
def test_a_configuration_too_deep_is_not_written(format: str) -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(SerializationError, match="deep"):
        serialize(Pipeline("p", [PipelineStep("a", "t", {"deep": deep})]), format)
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(SerializationError, match=r"steps\[0\].config.circle"):
        serialize(Pipeline("p", [PipelineStep("a", "t", {"circle": circular})]), format)


def test_an_alias_bomb_does_not_go_off() -> None:
    lines = ['a0: &a0 ["lol"]']
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(SerializationError, match="anchor &a0"):
        deserialize("\n".join(lines), "yaml")


def test_a_text_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semantica.pipeline.engine.serialize.MAX_TEXT", 100)
    for format in FORMATS:
        with pytest.raises(SerializationError, match="more than 100"):
            deserialize(" " * 101, format)
    with pytest.raises(SerializationError, match="more than 100"):
        serialize(Pipeline("p" * 100))


@pytest.mark.parametrize("format", FORMATS)
def test_a_chain_of_20000_declared_in_reverse(format: str) -> None:
    chain = [
        PipelineStep(f"s{n}", "t", dependencies=[f"s{n - 1}"] if n else [])
        for n in reversed(range(20_000))
    ]
    pipeline = Pipeline("p", chain)
    begun = time.process_time()
    assert deserialize(serialize(pipeline, format), format) == pipeline
    assert time.process_time() - begun < 20


def test_yaml_is_imported_only_for_yaml() -> None:
    script = (
        "import sys\n"
        "from semantica.pipeline.engine.builder import PipelineBuilder\n"
        "b = PipelineBuilder(); b.deserialize(b.serialize(b.build()))\n"
        "assert 'yaml' not in sys.modules\n"
        "b.deserialize(b.serialize(b.build(), 'yaml'), 'yaml')\n"
        "assert 'yaml' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
