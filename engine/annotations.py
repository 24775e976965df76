"""Whether the values of a step's configuration are of the types that its handler's annotations say.

In doubt a value passes: an annotation that cannot be resolved, or that says nothing msgspec knows,
and a value of a class that only the handler can judge, such as a NumPy scalar or a path.
"""

from __future__ import annotations

import inspect
import typing
from abc import ABCMeta
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace, UnionType
from typing import Any

import msgspec

from ..events.arguments import shown
from .binding import Misfit, name_of, plan, schema_of, settle
from .kinds import did_you_mean
from .model import Handler

_REMEMBERED = 1024
"""Handlers that are kept at once."""


class Configurations:
    """Checks the configuration of steps; what it learns of a handler is kept."""

    def __init__(self) -> None:
        self._signatures: dict[int, _Signature] = {}

    def check(self, handler: Handler, config: Mapping[str, Any]) -> list[Misfit]:
        """What is wrong with a configuration for ``handler``."""
        signature = self._signatures.get(id(handler))
        if signature is None:
            if len(self._signatures) >= _REMEMBERED:
                self._signatures.clear()
            signature = self._signatures[id(handler)] = _Signature(handler)
        return signature.check(config)


class _Signature:
    """What a handler takes: names, and the types of its annotations, resolved when asked for."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._judged = schema_of(handler) is not None or plan(handler).opaque
        self._parameters = {} if self._judged else inspect.signature(handler).parameters
        self._types: dict[str, tuple[Any, ...]] = {}
        self._fitting: set[tuple[str, ...]] = set()

    def check(self, config: Mapping[str, Any]) -> list[Misfit]:
        if self._judged:
            return list(settle(self._handler, config)[1])
        keys = tuple(config)
        misfits: list[Misfit] = []
        if keys not in self._fitting:  # whether names fit depends on the names alone
            misfits += settle(self._handler, config)[1]
            if not misfits and len(self._fitting) < _REMEMBERED:
                self._fitting.add(keys)
        for key, value in config.items():
            members = self._types[key] if key in self._types else self._members(key)
            if members and type(value) not in members:
                problem = self._problem(key, value, members)
                if problem:
                    said = f"{name_of(self._handler)} cannot take {problem}"
                    misfits.append(Misfit("invalid_config", said))
        return misfits

    def _members(self, key: str) -> tuple[Any, ...]:
        """The types of which ``key`` may have one; none when nothing is known."""
        parameter = self._parameters.get(key)
        if parameter is None or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            return ()  # one of many that **kwargs take: not to be remembered
        members = _members(parameter.annotation, _names_around(self._handler))
        self._types[key] = members
        return members

    def _problem(self, key: str, value: Any, members: tuple[Any, ...]) -> str | None:
        """Why the parameter ``key`` cannot take ``value``."""
        parameter = self._parameters[key]
        refusal = None if value is parameter.default else _refusal(value, members)
        if refusal is None:
            return None
        annotation = parameter.annotation
        wanted = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        problem, _, place = refusal.partition(" - at ")
        inside = f" ({problem} at {place})" if place else did_you_mean(value, members)
        return f"{key}={shown(value)}: it should be {wanted}{inside}"


def _names_around(handler: Any) -> dict[str, Any]:
    """The global names that a handler's annotations are written with."""
    while isinstance(handler, partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    if isinstance(handler, type):
        handler = inspect.getattr_static(handler, "__init__")
    elif not hasattr(handler, "__globals__"):
        handler = type(handler).__call__
    names: dict[str, Any] = getattr(handler, "__globals__", {})
    return names


def _members(annotation: Any, names: dict[str, Any]) -> tuple[Any, ...]:
    """The types that an annotation allows; none when it cannot be resolved."""
    if annotation is inspect.Parameter.empty:
        return ()
    try:  # alone, so that a name for type checkers only hides no other parameter's type
        alone = SimpleNamespace(__annotations__={"it": annotation})
        hint = typing.get_type_hints(alone, names, include_extras=True)["it"]
    except Exception:  # an annotation may be any expression
        return ()
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return typing.get_args(hint)
    return (hint,)


class _Undecided(Exception):
    """Only the handler can say whether it takes a value."""


def _refusal(value: Any, members: tuple[Any, ...]) -> str | None:
    """msgspec's words why ``value`` is of none of these types; None when it is, or may be."""
    refusals = []
    for member in members:
        refusal = _converted(value, member)
        if refusal is None or _is_text_for_sequence(value, member):
            return None
        refusals.append(refusal)
    try:
        plain = _plain(value, 50)
    except _Undecided:
        return None
    if any(_converted(plain, member) is None for member in members):
        return None
    return next((refusal for refusal in refusals if "$" in refusal), refusals[0])


def _converted(value: Any, hint: Any) -> str | None:
    try:
        msgspec.convert(value, hint, builtin_types=(bytes, bytearray), dec_hook=_judge)
    except msgspec.ValidationError as error:
        return str(error)
    except Exception:  # a type that msgspec does not know, which may be anything
        return None
    return None


def _judge(hint: Any, value: Any) -> Any:
    """For types that msgspec does not know: an abstract class says itself what belongs to it."""
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, ABCMeta) and not isinstance(value, kind):
        raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
    raise _Undecided


def _is_text_for_sequence(value: Any, hint: Any) -> bool:
    kind = typing.get_origin(hint) or hint
    return isinstance(value, str) and isinstance(kind, ABCMeta) and isinstance(value, kind)


def _plain(value: Any, depth: int) -> Any:
    """``value`` with numbers for its truth values, which Python takes for numbers too.

    Raises:
        _Undecided: It holds something that is not plain data, or is deeper than that.
    """
    kind = type(value)
    if kind is bool:
        return int(value)
    if value is None or kind in (int, float, str, bytes):
        return value
    if kind not in (list, tuple, set, frozenset, dict) or not depth:
        raise _Undecided
    if kind is dict:
        items = value.items()
        return {_plain(key, depth - 1): _plain(item, depth - 1) for key, item in items}
    return kind(_plain(item, depth - 1) for item in value)
