"""How a handler is called: by the names of its parameters."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, NamedTuple

from ..events.errors import nearest
from .model import Handler

GIVEN = ("step", "data", "context")
"""Parameters that the engine fills; every other name is a key of the step's configuration."""


class Plan(NamedTuple):
    """What a handler's signature asks for."""

    positional: tuple[str, ...]
    """Positional-only parameters, in order."""
    named: frozenset[str]
    takes_any: bool
    """It has ``**kwargs``, which receive the rest of the configuration."""
    data_name: str | None
    """The parameter that receives ``data``."""
    opaque: bool = False
    """No signature is to be had; it is called with the data alone."""


def plan(handler: Handler) -> Plan:
    """The plan of a handler; remembered where the handler can be hashed."""
    try:
        return _cached_plan(handler)
    except TypeError:  # unhashable
        return _plan(handler)


def _plan(handler: Handler) -> Plan:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (ValueError, TypeError):  # some built-ins
        return Plan((), frozenset(), False, None, opaque=True)
    positional, named, takes_any = [], set[str](), False
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named.add(parameter.name)
    data_name = "data" if "data" in named or "data" in positional else None
    if data_name is None:
        data_name = _sole_input(handler)
    return Plan(tuple(positional), frozenset(named), takes_any, data_name)


_cached_plan = lru_cache(maxsize=1024)(_plan)


def _sole_input(handler: Handler) -> str | None:
    """A single required positional parameter of another name receives the data."""
    required = [
        parameter.name
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        and parameter.name not in GIVEN
    ]
    return required[0] if len(required) == 1 else None


def call(handler: Handler, *, step: Any, data: Any, context: Any) -> Any:
    """Call ``handler`` with what it asks for; a coroutine function returns its coroutine.

    Raises:
        TypeError: The configuration has a key that the handler does not take.
    """
    shape = plan(handler)
    if shape.opaque:
        return handler(data)
    given = {"step": step, "context": context}
    config = dict(step.config)
    if shape.data_name is not None and shape.data_name not in config:
        given[shape.data_name] = data
    arguments = [_take(name, given, config) for name in shape.positional]
    keywords = {name: given[name] for name in given if name in shape.named}
    for name in list(config):
        if name in shape.named and name not in keywords:
            keywords[name] = config.pop(name)
    if shape.takes_any:
        keywords.update(config)
    elif config:
        raise _unknown(handler, step, config, shape)
    return handler(*arguments, **keywords)


def _take(name: str, given: dict[str, Any], config: dict[str, Any]) -> Any:
    if name in given:
        return given[name]
    if name in config:
        return config.pop(name)
    raise TypeError(f"the handler needs {name!r}, which the step's configuration does not have")


def _unknown(handler: Handler, step: Any, config: dict[str, Any], shape: Plan) -> TypeError:
    name = min(config)
    takes = sorted(shape.named - {*GIVEN, shape.data_name or "data"})
    listing = f"it takes {', '.join(takes)}" if takes else "it takes none"
    called = getattr(handler, "__qualname__", repr(handler))
    return TypeError(
        f"step {step.name!r}: {called} takes no configuration {name!r}"
        f"{nearest(name, takes)} ({listing})"
    )


__all__ = ["Plan", "call", "plan"]
