"""Pipelines as text: the round trip of anything, and what is refused, with its place."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semantica.pipeline.engine import yaml_safe
from semantica.pipeline.engine.model import Pipeline, PipelineStep
from semantica.pipeline.engine.serialize import deserialize, serialize
from semantica.pipeline.events.definition import RetryPolicy, RetryStrategy
from semantica.pipeline.events.errors import SerializationError

FORMATS = ("json", "yaml")


@dataclass(frozen=True)
class Point:
    x: int
    y: float


class Colour(Enum):
    RED = 1


def handler(data: Any) -> Any:
    return data


# The round trip

ODD = [
    *("no", "yes", "on", "012", "0o17", "0x1F", "1e3", "1.", ".5", "1_000", "1:30", "-", "+", "."),
    *("", " ", "null", "~", "Null", "true", "TRUE", "2020-01-01", "=", "<<", "!", "!x", "&a", "*a"),
    *(".inf", "-.INF", ".nan", "08", "# x", "a: b", "a #b", "- a", "? a", "---", "...", "%a", "@a"),
    *(
        "it's",
        'q"q',
        "{}",
        "[]",
        "a,b",
        "\\",
        "\\n",
        "'",
        '"',
        "|",
        ">",
        "a\nb",
        "a\n",
        "\n",
        "\na",
    ),
    *(
        " a\nb",
        "a\n\n",
        "a \nb",
        "\ta",
        "a\t\nb",
        "a\r\nb",
        "\r",
        "\u2028",
        "a\u2029b",
        "\x85",
        "\0",
    ),
    *("\x7f", "\ufeff", "a\ufeff", "\ufffe", "\U0010ffff", "😀", "é", "\xa0", "\ud800", "a\udfff"),
    *("a" * 200, "word " * 60, "word\n" * 60, "\n\n a", "a\n---\nb", "a\n...\n", " ", "\n "),
]

texts = (
    st.sampled_from(ODD)
    | st.text(max_size=8)
    | st.text("-: #\n'\"\\|>[]{}!&*%@`~0aenx.", max_size=8)
)


def is_encodable(text: str) -> bool:
    """No half of a surrogate pair, which neither JSON nor YAML files can hold as they are."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=4),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=2))])),
    st.dates(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.timedeltas(),
    st.builds(Point, st.integers(), st.floats(allow_nan=False)),
    st.sampled_from([Colour.RED, Path("a/b"), handler, len, frozenset({1, "a"}), 1j]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(st.integers() | texts | st.tuples(texts), inner, max_size=2),
    ),
    max_leaves=8,
)
seconds = st.floats(0, 1e9)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 2**62),
    strategy=st.sampled_from(RetryStrategy),
    initial_delay=seconds,
    backoff_factor=seconds,
    max_delay=seconds,
    jitter=st.floats(0, 1),
    retryable_errors=st.none()
    | st.lists(st.sampled_from([ConnectionError, TimeoutError, "m:E"]), max_size=2).map(tuple),
    max_elapsed=st.none() | seconds,
)
steps = st.builds(
    PipelineStep,
    name=texts,
    step_type=texts,
    config=st.dictionaries(texts, values, max_size=3),
    dependencies=st.lists(texts, max_size=3),
    handler=st.none() | st.sampled_from(["module:name", "no"]),
    priority=st.integers(),
    timeout=st.none() | st.floats(allow_nan=False),
    retry=st.none() | policies,
    at_most_once=st.booleans(),
)
pipelines = st.builds(
    Pipeline,
    name=texts,
    steps=st.lists(steps, max_size=3),
    metadata=st.dictionaries(texts, values, max_size=3),
    parallelism=st.none() | st.integers(),
)


def typed(value: Any) -> Any:
    """A form that tells 1, 1.0 and True apart, and keeps the order of keys."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    if isinstance(value, frozenset):
        return value
    return type(value), repr(value) if isinstance(value, float) else value


@pytest.mark.parametrize("format", FORMATS)
@given(pipelines)
@settings(deadline=None)
def test_everything_comes_back(format: str, pipeline: Pipeline) -> None:
    text = serialize(pipeline, format)
    back = deserialize(text, format)
    assert back == pipeline
    for before, after in zip(pipeline.steps, back.steps, strict=True):
        assert typed(before.config) == typed(after.config)
    assert typed(back.metadata) == typed(pipeline.metadata)
    assert serialize(back, format) == text


encodable = texts.filter(is_encodable)
plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        encodable,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(encodable, inner, max_size=3),
    max_leaves=10,
)


@given(plain)
@settings(deadline=None, max_examples=300)
def test_yaml_reads_what_it_writes(value: Any) -> None:
    text = yaml_safe.dump(value)
    assert typed(yaml_safe.load(text)) == typed(value)


@pytest.mark.parametrize("text", list(filter(is_encodable, ODD)))
def test_yaml_quotes_text_for_old_readers_too(text: str) -> None:
    import yaml

    for value in (text, [text], {text: text}, {"a": [{"b": text}]}):
        assert yaml_safe.load(yaml_safe.dump(value)) == value
        assert yaml.safe_load(yaml_safe.dump(value)) == value


@given(st.text())
@example("{}")
@example("steps: []")
@settings(deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    for format in FORMATS:
        try:
            deserialize(text, format)
        except SerializationError as error:
            assert str(error)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["!", "v", "t", "name", "type", "retry", "x"]), inner)
    ),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": anything,
            "metadata": anything,
            "parallelism": anything,
            "steps": st.lists(
                anything
                | st.fixed_dictionaries(
                    {"name": texts, "type": texts},
                    optional=dict.fromkeys(
                        ("dependencies", "config", "retry", "timeout", "handler"), anything
                    ),
                ),
                max_size=3,
            ),
        },
    )
)
@settings(deadline=None)
def test_no_document_breaks_the_reader(document: dict[str, Any]) -> None:
    try:
        pipeline = deserialize(document)
    except SerializationError:
        return
    assert deserialize(serialize(pipeline)) == pipeline


@pytest.mark.parametrize("format", FORMATS)
def test_types_of_the_codec(format: str) -> None:
    config = {
        "tuple": (1, (2,)),
        "moment": datetime(2026, 1, 2, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "decimal": Decimal("1.10"),
        "uuid": UUID(int=5),
        "point": Point(1, 2.0),
        "colour": Colour.RED,
        "class": Point,
        "infinite": float("inf"),
        "!": {"!": "tuple", "v": [1]},
        "größe": {1: "one", None: "nothing"},
    }
    pipeline = Pipeline("p", [PipelineStep("a", "t", config)], dict(config), 3)
    assert deserialize(serialize(pipeline, format), format) == pipeline


@pytest.mark.parametrize("format", FORMATS)
def test_a_shared_value_is_written_twice(format: str) -> None:
    shared = {"x": [1]}
    pipeline = Pipeline("p", [PipelineStep("a", "t", {"one": shared, "two": shared})])
    assert deserialize(serialize(pipeline, format), format) == pipeline


def test_a_handler_is_written_by_name() -> None:
    text = serialize(Pipeline("p", [PipelineStep("a", "t", handler=handler)]))
    assert deserialize(text).steps[0].handler == f"{__name__}:handler"


def test_lambdas_and_closures_are_refused() -> None:
    def closure(data: Any) -> Any:
        return data

    for lost in (closure, lambda data: data):
        with pytest.raises(SerializationError, match=r"steps\[1\].handler.*'b'.*in a module"):
            serialize(Pipeline("p", [PipelineStep("a", "t"), PipelineStep("b", "t", handler=lost)]))


def test_the_written_form() -> None:
    pipeline = Pipeline(
        "p",
        [
            PipelineStep("a", "t", {"text": "a\nb", "no": "no"}),
            PipelineStep("b", "t", dependencies=["a"], retry=RetryPolicy(max_retries=1)),
        ],
        {"version": "1.0"},
        2,
    )
    assert serialize(pipeline, "yaml") == (
        "name: p\nparallelism: 2\nmetadata:\n  version: '1.0'\nsteps:\n"
        "- name: a\n  type: t\n  dependencies: []\n  config:\n    text: |-\n      a\n      b\n"
        "    'no': 'no'\n"
        "- name: b\n  type: t\n  dependencies:\n  - a\n  retry:\n    max_retries: 1\n"
        "    strategy: exponential\n    initial_delay: 1.0\n    backoff_factor: 2.0\n"
        "    max_delay: 60.0\n    jitter: 0.0\n"
    )
    assert list(json.loads(serialize(pipeline))) == ["name", "parallelism", "metadata", "steps"]


# What people write

WRITTEN = """\
# a comment
name: documents
parallelism: 2
metadata: {version: "1.0"}
steps:
  - name: ingest
    type: ingest
    config: {source: ./documents, recursive: true, answer: no, code: 012, day: 2026-01-02}
  - name: parse
    type: parse
    retry: {max_retries: 5, strategy: linear, retryable_errors: ["builtins:ConnectionError"]}
  - {name: side, type: side, dependencies: []}
  - {name: last, type: last, dependencies: [parse, side], timeout: 5}
"""


def test_a_written_pipeline() -> None:
    pipeline = deserialize(WRITTEN, "yaml")
    assert [step.dependencies for step in pipeline.steps] == [[], ["ingest"], [], ["parse", "side"]]
    assert pipeline.steps[0].config == {
        "source": "./documents",
        "recursive": True,
        "answer": "no",
        "code": 12,
        "day": "2026-01-02",
    }
    assert pipeline.steps[1].retry == RetryPolicy(
        max_retries=5, strategy=RetryStrategy.LINEAR, retryable_errors=(ConnectionError,)
    )
    assert (pipeline.name, pipeline.parallelism) == ("documents", 2)
    assert deserialize('{"steps": []}').name == "pipeline"


def test_the_forms_of_json() -> None:
    pipeline = deserialize(WRITTEN, "yaml")
    text = serialize(pipeline)
    for data in (
        text,
        text.encode(),
        "\ufeff" + text,
        json.dumps(text),
        json.loads(json.dumps(text)),
        json.loads(text),
        OrderedDict(json.loads(text)),
    ):
        assert deserialize(data) == pipeline
