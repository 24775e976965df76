"""JSON without its traps: a repeated key is an error, NaN is not a number, depth is bounded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from ..events.errors import SerializationError

MAX_DEPTH = 100
"""Levels of nesting that a document may have."""

MAX_VALUES = 10_000_000
"""Values that a document may hold; one with shared parts can unfold to more than its text."""

Place = tuple[Any, Any] | None
"""The place of the collection around, and the key in it; spelled out only for an error."""


def load(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        SerializationError: It is not JSON, a key is repeated, or it is nested too deeply; names
            line and column, or the path of the object.
    """
    repeated: list[_Repeated] = []

    def collect(pairs: list[tuple[str, Any]]) -> Any:
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        repeated.append(_Repeated(pairs))
        return repeated[-1]

    try:
        value = json.loads(text, object_pairs_hook=collect, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SerializationError(
            f"the JSON text is not valid at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise SerializationError(
            f"the JSON text is nested deeper than {MAX_DEPTH} levels"
        ) from None
    except ValueError:
        raise SerializationError("the JSON text holds a number of thousands of digits") from None
    if repeated:
        _refuse_repeated(value)
    return value


def dump(value: Any) -> str:
    """``value`` (JSON's own types) as indented JSON text."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def walk(value: Any) -> Iterator[tuple[Any, Place]]:
    """Every value inside ``value`` with its place, without recursion.

    Raises:
        SerializationError: More than ``MAX_DEPTH`` levels or ``MAX_VALUES`` values.
    """
    work: list[tuple[Any, Place, int]] = [(value, None, 1)]
    seen = 0
    while work:
        inner, place, depth = work.pop()
        yield inner, place
        if not isinstance(inner, dict | list | tuple):
            continue
        seen += len(inner)
        if depth > MAX_DEPTH:
            raise SerializationError(f"{path(place)[:200]}: nested deeper than {MAX_DEPTH} levels")
        if seen > MAX_VALUES:
            raise SerializationError(f"the document holds more than {MAX_VALUES} values")
        items = inner.items() if isinstance(inner, dict) else enumerate(inner)
        work += [(item, (place, key), depth + 1) for key, item in items]


def path(place: Place) -> str:
    """A place in words, such as ``steps[3].config.source``."""
    parts = []
    while place is not None:
        place, key = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(reversed(parts)).removeprefix(".") or "the document"


class _Repeated:
    """Stands for an object with a repeated key, whose place is not known while parsing."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        keys = Counter(key for key, _ in pairs)
        self.key = keys.most_common(1)[0][0]


def _refuse_repeated(value: Any) -> None:
    for inner, place in walk(value):
        if isinstance(inner, _Repeated):
            raise SerializationError(f"{path(place)}: the key {inner.key[:60]!r} appears twice")


def _no_constant(name: str) -> Any:
    raise SerializationError(f"the JSON text holds {name}, which is not JSON")
