"""The codec is faithful: what is read back is what was written, type for type, all the way down."""

from __future__ import annotations

import enum
import math
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import codec_samples as samples
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantica.pipeline.events.artifacts import MemoryArtifacts
from semantica.pipeline.events.codec import INLINE_LIMIT, decode, encode

ARTIFACTS = MemoryArtifacts()


def back(value: Any, **options: Any) -> Any:
    return decode(encode(value, ARTIFACTS, **options), ARTIFACTS, **options)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down; a NaN is the same as a NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, type):
        return one is other
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, (datetime, time)):
        zones = type(one.tzinfo) is type(other.tzinfo) and str(one.tzinfo) == str(other.tzinfo)
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and zones
            and (one.fold == other.fold)
        )
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return one == other and sorted(map(typed, one)) == sorted(map(typed, other))
    if is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, msgspec.Struct):
        return all(same(getattr(one, f), getattr(other, f)) for f in one.__struct_fields__)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    return bool(one == other)


def typed(value: Any) -> str:
    inner: object = repr(value)
    if isinstance(value, (frozenset, tuple)):
        inner = sorted(map(typed, value)) if isinstance(value, frozenset) else [*map(typed, value)]
    return f"{type(value).__name__} {inner}"


def made(kind: Any, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*parts).map(lambda values: kind(*values))


ZONES = [UTC, timezone(timedelta(hours=5, minutes=45)), ZoneInfo("Europe/Berlin"), None]
text = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["!", "", "\udc80", "é"])
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**40]),
    st.floats(allow_nan=False),
    text,
    st.binary(max_size=8),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.sampled_from([*samples.Color, *samples.Number, *samples.Word]),
    st.builds(samples.Permission, st.integers(0, 3)),
    st.sampled_from([Path("/tmp/a b"), Path("x"), PurePosixPath("/p"), Path("\udc80")]),
)
scalars = st.one_of(
    hashable,
    st.floats(),
    st.decimals(),
    st.datetimes(timezones=st.sampled_from(ZONES)),
    st.datetimes(timezones=st.sampled_from(ZONES)).map(lambda value: value.replace(fold=1)),
    st.times(),
    st.binary(max_size=8).map(bytearray),
    st.sampled_from([int, dict, samples.Plain, samples.a_function, len]),
)
keys = st.recursive(
    hashable, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=2)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(keys, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(text, inner, max_size=3),
        made(samples.Plain, inner, st.lists(inner, max_size=2)),
        made(samples.Frozen, inner),
        made(samples.Box, inner),
        made(samples.Struct, inner, inner),
        inner.map(lambda v: samples.FrozenStruct(long_name=v)),
        made(samples.Pair, inner, inner),
        made(samples.Point, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(values)
def test_what_is_read_back_is_what_was_written(value: Any) -> None:
    assert same(back(value), value)
    assert same(back(value, allow_pickle=False), value), "and without pickle"


@settings(max_examples=30, deadline=None)
@given(values)
def test_every_dependent_gets_its_own_copy(value: Any) -> None:
    recorded = encode([value, []], ARTIFACTS)
    first, second = decode(recorded, ARTIFACTS), decode(recorded, ARTIFACTS)
    first[1].append("changed")
    assert second[1] == []


@pytest.mark.parametrize(
    "value",
    [
        samples.Counting(5),
        samples.WithInit(7, 1),
        samples.Trouble(7),
        samples.Permission.READ | samples.Permission.WRITE,
        samples.Permission(0),
        samples.Color.ROT,
        samples.ByItself(b"content"),
        samples.Text("text"),
        samples.Ordered(a=1),
        samples.NamedWithMore(1, 2),
        defaultdict(list, {"a": [1]}),
        OrderedDict([("b", 1), ("a", 2)]),
        Counter("aab"),
        deque([1, 2], maxlen=3),
        range(3),
        ...,
        enum.auto,
        10**5000,
        Fraction(10**5000, 7),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "home")),
        time(1, 2, tzinfo=ZoneInfo("Asia/Tokyo"), fold=1),
        date.max,
        UUID(int=2**128 - 1),
        -0.0,
        complex(-0.0, float("inf")),
        {1: "int", "1": "str", (1,): "tuple", None: 0, b"1": 1},
        {"!": "tuple", "v": [1]},
        {"!": None},
        {"x": {"!": {"!": 1}}},
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_special_value_comes_back_as_itself(value: Any) -> None:
    assert same(back(value), value)


def test_a_dataclass_is_not_constructed_again() -> None:
    value = samples.Counting(5)
    assert back(value).total == value.total == 10
    with_more = samples.Plain(1)
    with_more.extra = "kept"  # type: ignore[attr-defined]
    assert back(with_more).extra == "kept"
    table = samples.Table(title="t")
    table["a"] = 1
    assert (back(table)["a"], back(table).title) == (1, "t")


def test_a_defaultdict_keeps_its_factory() -> None:
    assert back(defaultdict(list))["new"] == []


def test_the_two_hours_of_a_changed_clock_stay_apart() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    hours = [datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1)]
    assert [value.utcoffset() for value in back(hours)] == [timedelta(hours=2), timedelta(hours=1)]


def test_a_large_value_becomes_an_artifact() -> None:
    small, large = encode("x" * (INLINE_LIMIT - 2), ARTIFACTS), encode("x" * 10**6, ARTIFACTS)
    assert small.artifact is None
    assert large.artifact is not None
    assert (large.size, bytes(large.inline)) == (10**6 + 2, b"")
    assert decode(large, ARTIFACTS) == "x" * 10**6


@pytest.mark.parametrize("depth", [50, 99, 101, 150, 300, 450, 600, 1000, 10_000, 200_000])
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, samples.Box])
def test_a_deep_value_comes_back_or_is_refused_when_it_is_written(depth: int, wrap: Any) -> None:
    """What has been acknowledged must be readable, even from deeper in the stack."""
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    recorded = _try_encode(value)
    assert depth > 99 or recorded is not None
    if recorded is not None:
        found = deeper(100, lambda: decode(recorded, ARTIFACTS))
        for _ in range(depth):
            found = found.content if isinstance(found, samples.Box) else next(iter(_inside(found)))
        assert found == 0
    # Taken apart by hand: Python's own destructor of such dataclasses recurses.
    while not isinstance(value, int):
        value = value.content if isinstance(value, samples.Box) else next(iter(_inside(value)))


def _try_encode(value: Any) -> Any:
    from semantica.pipeline.events.errors import UnencodableValue

    try:
        return encode(value, ARTIFACTS)
    except UnencodableValue as error:
        assert "cannot be recorded" in str(error)
        return None


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def deeper(frames: int, call: Any) -> Any:
    """The result of ``call``, made from further down the stack."""
    return call() if not frames else deeper(frames - 1, call)


def test_a_cycle_comes_back_as_a_cycle() -> None:
    cycle: dict[str, Any] = {"a": []}
    cycle["a"].append(cycle)
    found = back(cycle)
    assert found["a"][0] is found


@pytest.mark.parametrize("value", ["small", "large" * 2000])
def test_a_recorded_value_survives_pickling(value: str) -> None:
    """Worker processes send them."""
    recorded = encode(value, MemoryArtifacts())
    sent = pickle.loads(pickle.dumps(recorded))
    assert msgspec.json.encode(sent) == msgspec.json.encode(recorded)
