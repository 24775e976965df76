"""From events to payloads and back, whatever their age."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from contract.runs import value
from hypothesis import given, settings
from hypothesis import strategies as st

from semantica.pipeline.events import upcasters
from semantica.pipeline.events.codec import Value
from semantica.pipeline.events.definition import RetryPolicy, RetryStrategy
from semantica.pipeline.events.directory import advance
from semantica.pipeline.events.envelope import Envelope, NewEvent
from semantica.pipeline.events.errors import LogCorrupt, UnknownEvent
from semantica.pipeline.events.resource import Fit, Ordering, ResourceType
from semantica.pipeline.events.step import StepCompleted, StepInterrupted
from semantica.pipeline.events.upcasters import EVENT_TYPES, to_event, to_new
from semantica.pipeline.events.values import ErrorInfo

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
figure = st.floats(0, 1e9, allow_nan=False)
values = st.one_of(
    text.map(value), st.builds(Value, artifact=st.just("ab" * 32), size=st.integers(1, 10**9))
)
errors = st.builds(
    ErrorInfo,
    type=text,
    message=text,
    category=text,
    retryable=st.booleans(),
    traceback=st.none() | text,
    causes=st.lists(text, max_size=2).map(tuple),
)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 9),
    strategy=st.sampled_from(RetryStrategy),
    initial_delay=figure,
    jitter=st.floats(0, 1),
    retryable_errors=st.none() | st.just(("builtins:ValueError",)),
    max_elapsed=st.none() | figure,
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    "str": text,
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": figure,
    "bool": st.booleans(),
    "Value": values,
    "ErrorInfo": errors,
    "int | None": st.none() | st.integers(0, 2**40),
    "str | None": st.none() | text,
    "float | None": st.none() | figure,
    "RetryPolicy | None": st.none() | policies,
    "int | float": st.integers(0, 2**60) | figure,
    "int | float | None": st.none() | st.integers(0, 2**60) | figure,
    "dict[str, int | float]": st.dictionaries(text, st.integers(0, 2**60) | figure, max_size=3),
    "tuple[int, ...]": st.lists(st.integers(0, 9), max_size=3).map(tuple),
    "dict[str, RetryPolicy]": st.dictionaries(text, policies, max_size=3),
    "dict[str, str]": st.dictionaries(text, text, max_size=3),
    "tuple[str, ...]": st.lists(text, max_size=3).map(tuple),
    "dict[str, Value]": st.dictionaries(text, values, max_size=3),
    "Value | None": st.none() | values,
    "ErrorInfo | None": st.none() | errors,
    "Ordering": st.sampled_from(Ordering),
    "Fit": st.sampled_from(Fit),
    "ResourceType": st.sampled_from(ResourceType),
    "dict[str, float]": st.dictionaries(text, figure, max_size=3),
    "dict[str, int]": st.dictionaries(text, st.integers(0, 2**62), max_size=3),
}


def events_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any event of a type, built field by field, and so are structs within it."""
    hints = get_type_hints(kind)
    fields = {name: field_of(kind.__annotations__[name], hints[name]) for name in hints}
    return st.builds(kind, **fields)


def field_of(annotation: str, hint: Any) -> st.SearchStrategy[Any]:
    if annotation in BY_TYPE:
        return BY_TYPE[annotation]
    parts = get_args(hint) or (hint,)
    return st.one_of(st.none() if part is NoneType else events_of(part) for part in parts)


def recorded(new: NewEvent) -> Envelope:
    return Envelope(
        position=1,
        stream="run/r",
        version=4,
        type=new.type,
        schema=new.schema,
        at=1,
        actor="tester",
        epoch=1,
        encoding=new.encoding,
        payload=new.payload,
        digest=b"",
    )


@pytest.mark.parametrize("kind", EVENT_TYPES.values())
def test_an_event_comes_back_as_it_was(kind: type[Any]) -> None:
    @settings(max_examples=20, deadline=None)
    @given(events_of(kind))
    def check(event: Any) -> None:
        new = to_new(event)
        assert (new.type, new.encoding) == (kind.__name__, "json")
        assert to_event(recorded(new)) == event
        assert type(to_event(recorded(new))) is kind

    check()


@pytest.mark.parametrize(
    ("type_", "schema"), [("StepExploded", 1), ("StepInterrupted", 2), ("Envelope", 1), ("", 1)]
)
def test_what_only_a_newer_version_knows_is_refused(type_: str, schema: int) -> None:
    with pytest.raises(UnknownEvent, match=r"event 4 of run/r is a .*upgrade"):
        to_event(recorded(NewEvent(type_, schema, b"{}")))


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"null", b"{}", b'{"step":1,"attempt":1}', b"\xff", b"[" * 10_000]
)
def test_a_broken_payload_is_called_so(payload: bytes) -> None:
    with pytest.raises(LogCorrupt, match=r"event 4 of run/r \(StepInterrupted\) cannot be read"):
        to_event(recorded(NewEvent("StepInterrupted", 1, payload)))


def test_a_schema_that_never_was_is_called_damage() -> None:
    with pytest.raises(LogCorrupt, match="event 4 of run/r"):
        to_event(recorded(NewEvent("StepInterrupted", 0, b"{}")))


@pytest.fixture
def third_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """StepInterrupted is in its third schema: it was ``{task}``, then ``{task, try}``."""
    monkeypatch.setattr(upcasters, "SCHEMAS", {"StepInterrupted": 3})
    key = "StepInterrupted"
    monkeypatch.setitem(upcasters.UPCASTERS, (key, 1), lambda old: {**old, "try": 1})
    lift = lambda old: {"step": old["task"], "attempt": old["try"]}  # noqa: E731
    monkeypatch.setitem(upcasters.UPCASTERS, (key, 2), lift)


@pytest.mark.parametrize(
    ("schema", "payload", "event"),
    [
        (1, {"task": "a"}, StepInterrupted("a", 1)),
        (2, {"task": "a", "try": 5}, StepInterrupted("a", 5)),
        (3, {"step": "a", "attempt": 7}, StepInterrupted("a", 7)),
    ],
)
@pytest.mark.usefixtures("third_schema")
def test_an_old_payload_is_lifted_through_every_schema(
    schema: int, payload: dict[str, Any], event: StepInterrupted
) -> None:
    new = NewEvent("StepInterrupted", schema, msgspec.json.encode(payload))
    assert to_event(recorded(new)) == event


@pytest.mark.usefixtures("third_schema")
def test_new_events_have_the_present_schema() -> None:
    assert to_new(StepInterrupted("a", 1)).schema == 3


@pytest.mark.parametrize("payload", [b"{}", b"[1]", b'{"task":1}', b"nonsense"])
@pytest.mark.usefixtures("third_schema")
def test_a_broken_old_payload_is_called_so(payload: bytes) -> None:
    with pytest.raises(LogCorrupt, match="event 4 of run/r"):
        to_event(recorded(NewEvent("StepInterrupted", 1, payload)))


def test_recorded_values_survive_the_lifting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcasters, "SCHEMAS", {"StepCompleted": 2})
    lift = lambda old: {**old, "duration": old.pop("seconds")}  # noqa: E731
    monkeypatch.setitem(upcasters.UPCASTERS, ("StepCompleted", 1), lift)
    payload = b'{"step":"a","attempt":1,"output":{"inline":{"x":[1,"y"]}},"seconds":0.5}'
    event = to_event(recorded(NewEvent("StepCompleted", 1, payload)))
    assert event == StepCompleted("a", 1, Value(inline=msgspec.Raw(b'{"x":[1,"y"]}')), 0.5)


def test_the_directory_reads_old_payloads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild of an old log goes through the upcasters like every other fold."""
    monkeypatch.setitem(upcasters.SCHEMAS, "PipelineSubmitted", 2)  # type: ignore[arg-type]
    monkeypatch.setitem(
        upcasters.UPCASTERS,
        ("PipelineSubmitted", 1),
        lambda old: {**old, "name": old["title"]},
    )
    old = b'{"title":"old","definition":{},"identity":"","data":{"inline":null},"engine":"e"}'
    row = advance(None, "run/r", 1, 1, NewEvent("PipelineSubmitted", 1, old))
    assert (row.run_id, row.name, row.status) == ("r", "old", "pending")
