"""NumPy arrays and Arrow tables come back as themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semantica.pipeline.events.artifacts import MemoryArtifacts
from semantica.pipeline.events.codec import decode, encode
from semantica.pipeline.events.errors import UnencodableValue

ARTIFACTS = MemoryArtifacts()


def back(value: Any, **options: Any) -> Any:
    return decode(encode(value, ARTIFACTS, **options), ARTIFACTS, **options)


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, of one type and shape, and NaN like NaN."""
    return (
        type(one) is type(other)
        and one.dtype == other.dtype
        and one.shape == other.shape
        and (
            np.array_equal(one, other, equal_nan=True)
            if one.dtype.char in "gG"  # long doubles have padding, which holds anything
            else np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
        )
    )


dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans())
def test_any_array_comes_back(data: st.DataObject, fortran: bool) -> None:
    array = data.draw(hnp.arrays(data.draw(dtypes), data.draw(shapes)))
    if fortran:
        array = np.asfortranarray(array)
    found = back(array, allow_pickle=False)
    assert same(found, array)
    assert found.flags.writeable, "a handler may change what it was given"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_scalar_comes_back(data: st.DataObject) -> None:
    scalar = data.draw(hnp.arrays(data.draw(dtypes), 1))[0]
    assert same(back(scalar), scalar)


@pytest.mark.parametrize(
    "value",
    [
        np.str_(""),
        np.array(["", ""]),
        np.array(5.0),
        np.float32("nan"),
        np.longdouble("1.1"),
        np.datetime64("NaT", "ns"),
        np.array([("a", 1)], dtype=[("name", "U5"), ("n", "<i4")]),
        np.arange(10)[::-2],
        np.broadcast_to(np.float64(1), (2, 3)),
    ],
    ids=repr,
)
def test_a_special_array_comes_back(value: Any) -> None:
    assert same(back(value), value)


def test_an_array_of_objects_is_pickled_or_refused() -> None:
    array = np.array([{"a": 1}, None], dtype=object)
    assert list(back(array)) == [{"a": 1}, None]
    with pytest.raises(UnencodableValue, match=r"numpy\.ndarray needs pickle"):
        encode(array, ARTIFACTS, allow_pickle=False)


def test_a_masked_array_keeps_its_mask() -> None:
    array = np.ma.masked_array([1, 2], mask=[True, False])
    assert back(array).mask.tolist() == [True, False]


def test_a_large_array_becomes_an_artifact() -> None:
    array = np.random.default_rng(1).normal(size=10_000)
    recorded = encode({"vectors": array}, ARTIFACTS)
    assert recorded.artifact is not None
    assert same(decode(recorded, ARTIFACTS)["vectors"], array)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"n": [1, None, 3], "s": ["a", "é", None], "v": [[1.0], [], None]}),
        pa.table({}),
        pa.table({"n": pa.array([], pa.int8())}),
        pa.table({"d": pa.array(["x", "y", "x"]).dictionary_encode()}),
        pa.table({"t": pa.array([1], pa.timestamp("ns", "Europe/Berlin"))}),
        pa.table({"n": [1]}).replace_schema_metadata({"made": "here"}),
        pa.concat_tables([pa.table({"n": [1]}), pa.table({"n": [2]})]),
    ],
    ids=lambda table: str(table.schema),
)
def test_an_arrow_table_comes_back(table: pa.Table) -> None:
    found = back((table, 1), allow_pickle=False)[0]
    assert found.equals(table)
    assert found.schema.equals(table.schema, check_metadata=True)
