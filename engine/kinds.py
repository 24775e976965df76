"""What messages and lists call the type that a key of a step's configuration should have."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal

import msgspec

from ..events.errors import nearest

_UNIONS = (typing.Union, UnionType)


def kind_of(hint: Any) -> str:
    """A type in words that Python's users know, its range included: ``int >= 1``, ``'a' | 'b'``,
    ``list[str] | None``; a type that has a ``msgspec.Meta(title=...)`` is called that."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        title = next(filter(None, (getattr(one, "title", None) for one in args[1:])), None)
        return title or kind_of(args[0]) + "".join(map(_range, args[1:]))
    if origin in _UNIONS:
        parts = [kind_of(one) for one in args]
        return " | ".join(f"({part})" if " >" in part or " <" in part else part for part in parts)
    if origin is Literal:
        return " | ".join(map(repr, args))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " | ".join(repr(one.value) for one in hint)
    if origin is not None and args:
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join(map(kind_of, args))}]"
    if hint is NoneType:
        return "None"
    return "Any" if hint is Any else inspect.formatannotation(hint)


def _range(meta: Any) -> str:
    """The limits that ``msgspec.Meta`` sets, most of which are numbers'."""
    if not isinstance(meta, msgspec.Meta):
        return ""
    limits = [
        f"{sign} {limit}"
        for sign, limit in ((">=", meta.ge), (">", meta.gt), ("<=", meta.le), ("<", meta.lt))
        if limit is not None
    ]
    return f" {', '.join(limits)}" if limits else ""


def description_of(hint: Any) -> str:
    """What a field's ``msgspec.Meta`` says that it means; empty when it does not."""
    if typing.get_origin(hint) is not Annotated:
        return ""
    said = (getattr(one, "description", None) for one in typing.get_args(hint)[1:])
    return next(filter(None, said), "")


def members_of(hint: Any) -> Iterable[Any]:
    """The types of which a value may have one, without their descriptions."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        for one in args:
            yield from members_of(one)
    elif origin is Annotated and typing.get_origin(args[0]) in _UNIONS:
        yield from members_of(args[0])
    else:
        yield hint


def did_you_mean(value: Any, members: Iterable[Any]) -> str:
    """A hint for a number that was written as text, or with a point, and for a misspelt word."""
    for member in members:
        plain = member
        if typing.get_origin(plain) is Annotated:
            plain = typing.get_args(plain)[0]
        if plain in (bool, int, float) and isinstance(value, (str, float)):
            with suppress(msgspec.ValidationError):
                return f"; did you mean {msgspec.convert(value, member, strict=False)!r}?"
        if typing.get_origin(plain) is Literal and isinstance(value, str):
            words = [one for one in typing.get_args(plain) if isinstance(one, str)]
            if hint := nearest(_alike(value, words), words):
                return hint
    return ""


def _alike(value: str, words: Iterable[str]) -> str:
    """The word that differs from ``value`` in case alone, else ``value``."""
    return next((word for word in words if word.lower() == value.lower()), value)
