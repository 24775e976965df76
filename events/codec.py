"""The faithful codec: what is read back equals what was written, type for type.

A value is written as JSON text, so that it can be read in twenty years. What JSON has no word for
stands in it as an object with the key ``"!"`` that names its kind::

    (1, 2)                  {"!": "tuple", "v": [1, 2]}
    datetime(2026, 1, 2)    {"!": "datetime", "v": "2026-01-02T00:00:00"}
    Point(x=1)              {"!": "dataclass", "t": "geometry:Point", "v": {"x": 1}}

Dataclasses, msgspec structs, enums, NumPy arrays and Arrow tables come back as themselves. A class
can bring its own form with ``__to_pipeline__(artifacts)`` and ``__from_pipeline__(plain,
artifacts)``. Everything else falls back to pickle, marked as such; reading one back is refused
where somebody else could have written it, since unpickling runs code.
"""

from __future__ import annotations

import base64
import importlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from math import isfinite
from pathlib import Path, PosixPath, PurePosixPath
from types import BuiltinFunctionType, FunctionType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from .artifacts import Artifacts
from .errors import UnencodableValue, UnreadableValue

TAG = "!"
INLINE_LIMIT = 4096
"""Values of up to this many bytes travel inside the event; larger ones become artifacts."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


_ABSENT = msgspec.Raw()


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded value: ``inline`` JSON text, or the digest of an ``artifact`` that holds it.

    ``size`` is the length of the JSON text of an artifact, in bytes.
    """

    inline: msgspec.Raw = _ABSENT
    artifact: str | None = None
    size: int = 0

    @classmethod
    def of_text(cls, text: bytes, artifacts: Artifacts) -> Value:
        """Record JSON text; an artifact is durable on return."""
        if len(text) <= INLINE_LIMIT:
            return cls(inline=msgspec.Raw(text))
        return cls(artifact=artifacts.put(text), size=len(text))


NONE = Value(inline=msgspec.Raw(b"null"))


def reference_of(target: Any) -> str:
    """``module:qualname`` of a class or function.

    Raises:
        UnencodableValue: It is a lambda, a closure or otherwise not importable by that name.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    reference = f"{module}:{name}"
    if not module or not name or "<" in name:
        raise UnencodableValue(f"{target!r} cannot be found again by name: define it in a module")
    try:
        found = resolve_reference(reference)
    except UnreadableValue:
        found = None
    if found is not target:
        raise UnencodableValue(f"{target!r} cannot be found again as {reference}")
    return reference


def resolve_reference(reference: str) -> Any:
    """The object named ``module:qualname``.

    Raises:
        UnreadableValue: The module cannot be imported or has no such name.
    """
    module, _, name = reference.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
    except Exception as error:  # an import may raise anything
        raise UnreadableValue(
            f"cannot import {reference!r}: {error}; make the module importable here"
        ) from error
    return target


def encode(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Value:
    """Record ``value``, inline when it is small, else as an artifact (durable on return).

    Raises:
        UnencodableValue: It can neither be written as JSON nor pickled, or pickle is forbidden.
        LogUnavailable: The artifact cannot be written.
    """
    return Value.of_text(dumps(value, artifacts, allow_pickle=allow_pickle), artifacts)


def decode(value: Value, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """A fresh object equal to the one that was recorded.

    Raises:
        UnreadableValue: A class cannot be imported, or the value is a pickle and may not be read.
        LogCorrupt: The artifact is missing or damaged.
    """
    return loads(text_of(value, artifacts), artifacts, allow_pickle=allow_pickle)


def text_of(value: Value, artifacts: Artifacts) -> bytes:
    """The JSON text of a recorded value."""
    if value.artifact is not None:
        return artifacts.get(value.artifact)
    return bytes(value.inline)


def dumps(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> bytes:
    """``value`` as JSON text. Raises UnencodableValue."""
    return msgspec.json.encode(to_plain(value, artifacts, allow_pickle=allow_pickle))


def loads(data: bytes, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """The value of JSON text. Raises UnreadableValue."""
    return from_plain(msgspec.json.decode(data), artifacts, allow_pickle=allow_pickle)


def to_plain(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """``value`` in terms of JSON's own types (with tagged objects for the rest)."""
    writer = _Writer(artifacts, allow_pickle)
    try:
        return writer.plain(value)
    except RecursionError:  # nested too deeply, or a cycle
        return writer.pickled(value)


def from_plain(plain: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """The inverse of :func:`to_plain`."""
    return _Reader(artifacts, allow_pickle and artifacts.trusted).value(plain)


class _Writer:
    def __init__(self, artifacts: Artifacts, allow_pickle: bool) -> None:
        self.artifacts = artifacts
        self.allow_pickle = allow_pickle

    def plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return value if value.isascii() else self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if _INT_MIN <= value <= _INT_MAX else {TAG: "int", "v": str(value)}
        if kind is float:
            return value if isfinite(value) else {TAG: "float", "v": repr(value)}
        if kind is list:
            return [self.plain(item) for item in value]
        if kind is dict:
            return self._dict(value)
        write = _WRITERS.get(kind)
        if write is not None:
            return write(self, value)
        return self._object(value, kind)

    def pickled(self, value: Any) -> dict[str, Any]:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if not self.allow_pickle:
            raise UnencodableValue(
                f"a value of type {name} needs pickle, which allow_pickle=False forbids; "
                "return built-in types, dataclasses or msgspec structs"
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
        try:
            tagged = self._record(value, kind)
        except UnencodableValue:  # a class that cannot be found again; pickle will say so too
            tagged = None
        return self.pickled(value) if tagged is None else tagged

    def _record(self, value: Any, kind: type) -> Any:
        if isinstance(value, Enum):
            return {TAG: "enum", "t": reference_of(kind), "v": value.name}
        if isinstance(value, msgspec.Struct):
            fields = {name: getattr(value, name) for name in kind.__struct_fields__}  # type: ignore[attr-defined]
            return {TAG: "struct", "t": reference_of(kind), "v": self._dict(fields)}
        if is_dataclass(kind):
            fields = _dataclass_fields(value)
            if fields is not None:
                return {TAG: "dataclass", "t": reference_of(kind), "v": self._dict(fields)}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return {TAG: "namedtuple", "t": reference_of(kind), "v": [self.plain(v) for v in value]}
        root = kind.__module__.partition(".")[0]
        if root == "numpy":
            return _numpy_plain(value)
        if root == "pyarrow":
            return _arrow_plain(value)
        return None


def _dataclass_fields(value: Any) -> dict[str, Any] | None:
    """The fields, or None when the object carries more than its fields."""
    names = value.__dataclass_fields__
    extra = set(getattr(value, "__dict__", ())) - set(names)
    if extra or not all(hasattr(value, name) for name in names):
        return None
    return {name: getattr(value, name) for name in names}


def _numpy_plain(value: Any) -> Any:
    import numpy as np

    if type(value) is not np.ndarray and not isinstance(value, np.generic):
        return None
    if value.dtype.hasobject or value.dtype.names is not None:
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


def _sequence(tag: str) -> Callable[[_Writer, Any], Any]:
    return lambda writer, value: {TAG: tag, "v": [writer.plain(item) for item in value]}


def _text(tag: str, form: Callable[[Any], str]) -> Callable[[_Writer, Any], Any]:
    return lambda writer, value: {TAG: tag, "v": form(value)}


def _moment(tag: str) -> Callable[[_Writer, Any], Any]:
    """Date and time in ISO form; a named zone and the fold travel beside it."""

    def write(writer: _Writer, value: Any) -> Any:
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


def _function(writer: _Writer, value: Any) -> Any:
    return {TAG: "ref", "v": reference_of(value)}


def _path(writer: _Writer, value: Any) -> Any:
    return {TAG: "path", "v": writer.plain(str(value))}


_WRITERS: Mapping[type, Callable[[_Writer, Any], Any]] = {
    tuple: _sequence("tuple"),
    set: _sequence("set"),
    frozenset: _sequence("frozenset"),
    bytes: _text("bytes", _base64),
    bytearray: _text("bytearray", _base64),
    complex: _text("complex", _complex),
    Decimal: _text("decimal", str),
    Fraction: _text("fraction", str),
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


class _Reader:
    def __init__(self, artifacts: Artifacts, allow_pickle: bool) -> None:
        self.artifacts = artifacts
        self.allow_pickle = allow_pickle

    def value(self, plain: Any) -> Any:
        if type(plain) is list:
            return [self.value(item) for item in plain]
        if type(plain) is not dict:
            return plain
        tag = plain.get(TAG)
        if tag is None:
            return {key: self.value(item) for key, item in plain.items()}
        read = _READERS.get(tag)
        if read is None:
            raise UnreadableValue(f"a recorded value has the unknown kind {tag!r}")
        try:
            return read(self, plain)
        except UnreadableValue:
            raise
        except Exception as error:  # constructors of users' classes may raise anything
            raise UnreadableValue(f"a recorded {tag} cannot be read back: {error}") from error

    def unpickle(self, plain: Any) -> Any:
        if not self.allow_pickle:
            raise UnreadableValue(
                f"a recorded {plain['t']} is a pickle, and the log may be written by other users "
                "or allow_pickle is False; unpickling would run its code (mend: chmod go-w)"
            )
        return pickle.loads(base64.b64decode(plain["v"]))

    def items(self, plain: Any) -> list[Any]:
        return [self.value(item) for item in plain["v"]]

    def typed(self, plain: Any) -> Any:
        """The class named in ``plain``; only classes, since calling a function would run code."""
        kind = resolve_reference(plain["t"])
        if not isinstance(kind, type):
            raise UnreadableValue(f"{plain['t']} is not a class")
        return kind

    def struct(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not issubclass(kind, msgspec.Struct):
            raise UnreadableValue(f"{plain['t']} is not a msgspec struct any more")
        return kind(**self.value(plain["v"]))

    def dataclass(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not is_dataclass(kind):
            raise UnreadableValue(f"{plain['t']} is not a dataclass any more")
        result = object.__new__(kind)  # as it was, without running __init__ again
        for name, item in self.value(plain["v"]).items():
            object.__setattr__(result, name, item)
        return result

    def namedtuple(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not issubclass(kind, tuple):
            raise UnreadableValue(f"{plain['t']} is not a named tuple any more")
        return kind(*self.items(plain))

    def enum(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not issubclass(kind, Enum):
            raise UnreadableValue(f"{plain['t']} is not an enum any more")
        return kind[plain["v"]]

    def custom(self, plain: Any) -> Any:
        kind = self.typed(plain)
        from_pipeline = getattr(kind, "__from_pipeline__", None)
        if from_pipeline is None:
            raise UnreadableValue(f"{plain['t']} has no __from_pipeline__ any more")
        return from_pipeline(self.value(plain["v"]), self.artifacts)

    def numpy(self, plain: Any) -> Any:
        import numpy as np

        data = bytearray(base64.b64decode(plain["v"]))  # writable, as the original was
        array = np.frombuffer(data, dtype=np.dtype(plain["dtype"]))
        return array[0] if plain["shape"] is None else array.reshape(plain["shape"])

    def arrow(self, plain: Any) -> Any:
        import pyarrow as pa

        return pa.ipc.open_stream(base64.b64decode(plain["v"])).read_all()

    def moment(self, kind: Any, plain: Any) -> Any:
        value = kind.fromisoformat(plain["v"])
        if "zone" in plain:
            value = value.replace(tzinfo=ZoneInfo(plain["zone"]))
        return value.replace(fold=1) if plain.get("fold") else value


_READERS: Mapping[str, Callable[[_Reader, Any], Any]] = {
    "tuple": lambda reader, plain: tuple(reader.items(plain)),
    "set": lambda reader, plain: set(reader.items(plain)),
    "frozenset": lambda reader, plain: frozenset(reader.items(plain)),
    "dict": lambda reader, plain: {
        reader.value(key): reader.value(item) for key, item in plain["v"]
    },
    "str": lambda reader, plain: base64.b64decode(plain["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda reader, plain: int(plain["v"]),
    "float": lambda reader, plain: float(plain["v"]),
    "complex": lambda reader, plain: complex(*map(float, plain["v"].split(","))),
    "bytes": lambda reader, plain: base64.b64decode(plain["v"]),
    "bytearray": lambda reader, plain: bytearray(base64.b64decode(plain["v"])),
    "decimal": lambda reader, plain: Decimal(plain["v"]),
    "fraction": lambda reader, plain: Fraction(plain["v"]),
    "uuid": lambda reader, plain: UUID(plain["v"]),
    "datetime": lambda reader, plain: reader.moment(datetime, plain),
    "time": lambda reader, plain: reader.moment(time, plain),
    "date": lambda reader, plain: date.fromisoformat(plain["v"]),
    "timedelta": lambda reader, plain: timedelta(*map(int, plain["v"].split(","))),
    "path": lambda reader, plain: Path(reader.value(plain["v"])),
    "purepath": lambda reader, plain: PurePosixPath(reader.value(plain["v"])),
    "ref": lambda reader, plain: resolve_reference(plain["v"]),
    "enum": _Reader.enum,
    "struct": _Reader.struct,
    "dataclass": _Reader.dataclass,
    "namedtuple": _Reader.namedtuple,
    "object": _Reader.custom,
    "numpy": _Reader.numpy,
    "arrow": _Reader.arrow,
    "pickle": _Reader.unpickle,
}
