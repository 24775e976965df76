"""How each type is written; see :mod:`~semantica.pipeline.events.codec` for the form."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from math import isfinite
from pathlib import PosixPath, PurePosixPath
from types import BuiltinFunctionType, FunctionType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from .artifacts import Artifacts
from .errors import UnencodableValue
from .references import reference_of

TAG = "!"
"""The key of a tagged object."""
MAX_DEPTH = 100
"""Values nested deeper are pickled: reading takes more of the stack than writing, and what has been
acknowledged must be readable."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class Writer:
    """Turns a value into JSON's own types, and tagged objects for the rest."""

    def __init__(self, artifacts: Artifacts, allow_pickle: bool) -> None:
        self.artifacts = artifacts
        self.allow_pickle = allow_pickle
        self._depth = 0

    def plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return value if value.isascii() else self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if _INT_MIN <= value <= _INT_MAX else {TAG: "int", "v": hex(value)}
        if kind is float:
            return value if isfinite(value) else {TAG: "float", "v": repr(value)}
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError(f"it is nested more than {MAX_DEPTH} levels deep, or in a cycle")
        if kind is list:
            plain: Any = [self.plain(item) for item in value]
        elif kind is dict:
            plain = self._dict(value)
        else:
            write = _WRITERS.get(kind)
            plain = self._object(value, kind) if write is None else write(self, value)
        self._depth -= 1
        return plain

    def pickled(self, value: Any) -> dict[str, Any]:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if not self.allow_pickle:
            raise UnencodableValue(
                f"a value of type {name} needs pickle (by its type, or since it is nested too deep "
                "or in a circle), which allow_pickle=False forbids; "
                "use flat built-in types, dataclasses or msgspec structs"
            )
        try:
            data = pickle.dumps(value, protocol=5)
            pickle.loads(data)  # what cannot be read back must not be acknowledged
        except Exception as error:  # __reduce__ may raise anything
            raise UnencodableValue(
                f"a value of type {name} cannot be recorded: {error}; "
                "return built-in types, dataclasses or msgspec structs"
            ) from error
        return {TAG: "pickle", "t": name, "v": base64.b64encode(data).decode()}

    def _text(self, value: str) -> Any:
        try:
            value.encode()
        except UnicodeEncodeError:  # lone surrogates, as in undecodable file names
            data = value.encode("utf-8", "surrogatepass")
            return {TAG: "str", "v": base64.b64encode(data).decode()}
        return value

    def _dict(self, value: dict[Any, Any]) -> Any:
        plain = self.plain
        if TAG not in value and all(type(key) is str and key.isascii() for key in value):
            return {key: plain(item) for key, item in value.items()}
        return {TAG: "dict", "v": [[plain(key), plain(item)] for key, item in value.items()]}

    def _object(self, value: Any, kind: type) -> Any:
        to_pipeline = getattr(kind, "__to_pipeline__", None)
        if to_pipeline is not None:
            inner = to_pipeline(value, self.artifacts)
            return {TAG: "object", "t": reference_of(kind), "v": self.plain(inner)}
        if isinstance(value, type):
            return {TAG: "ref", "v": reference_of(value)}
        depth = self._depth
        try:
            tagged = self._record(value, kind)
        except UnencodableValue:  # a class that cannot be found again; pickle will say so too
            tagged = None
            self._depth = depth
        return self.pickled(value) if tagged is None else tagged

    def _record(self, value: Any, kind: type) -> Any:
        if isinstance(value, Enum):
            # Combined flags are no members by name.
            named = type(value).__members__.get(value.name) is value
            known = value.name if named else {"value": self.plain(value.value)}
            return {TAG: "enum", "t": reference_of(kind), "v": known}
        if isinstance(value, msgspec.Struct):
            inner = {name: getattr(value, name) for name in value.__struct_fields__}
            return {TAG: "struct", "t": reference_of(kind), "v": self._dict(inner)}
        if is_dataclass(kind):
            own = _dataclass_fields(value, kind)
            if own is not None:
                return {TAG: "dataclass", "t": reference_of(kind), "v": self._dict(own)}
        if isinstance(value, tuple) and hasattr(kind, "_fields") and not hasattr(value, "__dict__"):
            return {TAG: "namedtuple", "t": reference_of(kind), "v": [self.plain(v) for v in value]}
        root = kind.__module__.partition(".")[0]
        if root == "numpy":
            return _numpy_plain(value)
        if root == "pyarrow":
            return _arrow_plain(value)
        return None


def _dataclass_fields(value: Any, kind: type) -> dict[str, Any] | None:
    """The fields, or None when the object is more than its fields (an exception, a dict...)."""
    try:
        object.__new__(kind)
    except TypeError:
        return None
    names = [field.name for field in fields(kind)]
    extra = set(getattr(value, "__dict__", ())) - set(names)
    if extra or not all(hasattr(value, name) for name in names):
        return None
    return {name: getattr(value, name) for name in names}


def _numpy_plain(value: Any) -> Any:
    import numpy as np

    if type(value) is not np.ndarray and not isinstance(value, np.generic):
        return None
    if value.dtype.hasobject or value.dtype.names is not None or not value.dtype.itemsize:
        return None
    data = np.ascontiguousarray(value).tobytes()
    shape = list(value.shape) if type(value) is np.ndarray else None
    return {
        TAG: "numpy",
        "dtype": value.dtype.str,
        "shape": shape,
        "v": base64.b64encode(data).decode(),
    }


def _arrow_plain(value: Any) -> Any:
    import pyarrow as pa

    if not isinstance(value, pa.Table):
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, value.schema) as stream:
        stream.write_table(value)
    return {TAG: "arrow", "v": base64.b64encode(sink.getvalue().to_pybytes()).decode()}


def _sequence(tag: str) -> Callable[[Writer, Any], Any]:
    return lambda writer, value: {TAG: tag, "v": [writer.plain(item) for item in value]}


def _text(tag: str, form: Callable[[Any], str]) -> Callable[[Writer, Any], Any]:
    return lambda writer, value: {TAG: tag, "v": form(value)}


def _moment(tag: str) -> Callable[[Writer, Any], Any]:
    """Date and time in ISO form; a named zone and the fold travel beside it."""

    def write(writer: Writer, value: Any) -> Any:
        zone = value.tzinfo
        if zone is None or type(zone) is timezone:
            if zone is not None and zone.tzname(None) != timezone(zone.utcoffset(None)).tzname(
                None
            ):
                return writer.pickled(value)  # a fixed offset with a name of its own
            tagged = {TAG: tag, "v": value.isoformat()}
        elif type(zone) is ZoneInfo and zone.key:
            tagged = {TAG: tag, "v": value.replace(tzinfo=None).isoformat(), "zone": zone.key}
        else:
            return writer.pickled(value)
        if value.fold:
            tagged["fold"] = 1
        return tagged

    return write


def _duration(value: timedelta) -> str:
    return f"{value.days},{value.seconds},{value.microseconds}"


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _complex(value: complex) -> str:
    return f"{value.real!r},{value.imag!r}"


def _function(writer: Writer, value: Any) -> Any:
    return {TAG: "ref", "v": reference_of(value)}


def _path(writer: Writer, value: Any) -> Any:
    return {TAG: "path", "v": writer.plain(str(value))}


_WRITERS: Mapping[type, Callable[[Writer, Any], Any]] = {
    tuple: _sequence("tuple"),
    set: _sequence("set"),
    frozenset: _sequence("frozenset"),
    bytes: _text("bytes", _base64),
    bytearray: _text("bytearray", _base64),
    complex: _text("complex", _complex),
    Decimal: _text("decimal", str),
    Fraction: lambda writer, value: {
        TAG: "fraction",
        "v": [writer.plain(value.numerator), writer.plain(value.denominator)],
    },
    UUID: _text("uuid", str),
    datetime: _moment("datetime"),
    time: _moment("time"),
    date: _text("date", date.isoformat),
    timedelta: _text("timedelta", _duration),
    PosixPath: _path,
    PurePosixPath: lambda writer, value: {TAG: "purepath", "v": writer.plain(str(value))},
    FunctionType: _function,
    BuiltinFunctionType: _function,
}
