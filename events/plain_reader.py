"""How each type is read back; see :mod:`~semantica.pipeline.events.codec` for the form."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from .artifacts import Artifacts
from .errors import UnreadableValue
from .plain_writer import TAG
from .references import resolve_reference

ENCRYPTED = "encrypted"
"""The kind of a value of an encrypted run that is read without its key."""


class Reader:
    """Turns what a Writer wrote back into the value."""

    def __init__(self, artifacts: Artifacts, allow_pickle: bool) -> None:
        self.artifacts = artifacts
        self.allow_pickle = allow_pickle

    def value(self, plain: Any) -> Any:
        if type(plain) is list:
            return [self.value(item) for item in plain]
        if type(plain) is not dict:
            return plain
        if TAG not in plain:
            return {key: self.value(item) for key, item in plain.items()}
        tag = plain[TAG]
        read = _READERS.get(tag) if isinstance(tag, str) else None
        if read is None:
            raise UnreadableValue(f"a recorded value has the unknown kind {tag!r}")
        try:
            return read(self, plain)
        except UnreadableValue:
            raise
        except Exception as error:  # constructors of users' classes may raise anything
            raise UnreadableValue(f"a recorded {tag} cannot be read back: {error}") from error

    def unpickle(self, plain: Any) -> Any:
        if not (self.allow_pickle and self.artifacts.trusted):
            raise UnreadableValue(
                f"a recorded {plain['t']} is a pickle, and the log may be written by other users "
                "or allow_pickle is False; unpickling would run its code (mend: chmod go-w)"
            )
        return pickle.loads(base64.b64decode(plain["v"]))

    def refuse(self, plain: Any) -> Any:
        raise UnreadableValue(
            f"the value of {plain['v']} is encrypted, and its key is not here: "
            "it was erased, or is elsewhere"
        )

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
        kind = plain_type = self.typed(plain)
        if not is_dataclass(kind):
            raise UnreadableValue(f"{plain['t']} is not a dataclass any more")
        result: Any = object.__new__(plain_type)  # as it was, without running __init__ again
        for name, item in self.value(plain["v"]).items():
            object.__setattr__(result, name, item)
        return result

    def namedtuple(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not issubclass(kind, tuple):
            raise UnreadableValue(f"{plain['t']} is not a named tuple any more")
        return tuple.__new__(kind, self.items(plain))

    def enum(self, plain: Any) -> Any:
        kind = self.typed(plain)
        if not issubclass(kind, Enum):
            raise UnreadableValue(f"{plain['t']} is not an enum any more")
        known = plain["v"]
        return kind[known] if isinstance(known, str) else kind(self.value(known["value"]))

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


_READERS: Mapping[str, Callable[[Reader, Any], Any]] = {
    "tuple": lambda reader, plain: tuple(reader.items(plain)),
    "set": lambda reader, plain: set(reader.items(plain)),
    "frozenset": lambda reader, plain: frozenset(reader.items(plain)),
    "dict": lambda reader, plain: {
        reader.value(key): reader.value(item) for key, item in plain["v"]
    },
    "str": lambda reader, plain: base64.b64decode(plain["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda reader, plain: int(plain["v"], 16),
    "float": lambda reader, plain: float(plain["v"]),
    "complex": lambda reader, plain: complex(*map(float, plain["v"].split(","))),
    "bytes": lambda reader, plain: base64.b64decode(plain["v"]),
    "bytearray": lambda reader, plain: bytearray(base64.b64decode(plain["v"])),
    "decimal": lambda reader, plain: Decimal(plain["v"]),
    "fraction": lambda reader, plain: Fraction(*reader.items(plain)),
    "uuid": lambda reader, plain: UUID(plain["v"]),
    "datetime": lambda reader, plain: reader.moment(datetime, plain),
    "time": lambda reader, plain: reader.moment(time, plain),
    "date": lambda reader, plain: date.fromisoformat(plain["v"]),
    "timedelta": lambda reader, plain: timedelta(*map(int, plain["v"].split(","))),
    "path": lambda reader, plain: Path(reader.value(plain["v"])),
    "purepath": lambda reader, plain: PurePosixPath(reader.value(plain["v"])),
    "ref": lambda reader, plain: resolve_reference(plain["v"]),
    "enum": Reader.enum,
    "struct": Reader.struct,
    "dataclass": Reader.dataclass,
    "namedtuple": Reader.namedtuple,
    "object": Reader.custom,
    "numpy": Reader.numpy,
    "arrow": Reader.arrow,
    "pickle": Reader.unpickle,
    ENCRYPTED: Reader.refuse,
}
