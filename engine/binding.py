"""How a handler is called: by the names of its parameters.

:func:`settle` is the one place that says which configuration a handler takes. The validator asks it
before anything runs, :func:`call` when the step runs, so that they never disagree.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ..events.arguments import shown
from ..events.errors import nearest
from .model import Handler

FILLED = ("step", "context")
"""Parameters that are the engine's to fill, whatever the configuration says."""

FILLS = ": the engine fills that parameter"
"""What is said of one of them in a configuration."""

GIVEN = (*FILLED, "data")
"""Parameters that the engine fills; every other name is a key of the step's configuration."""


class Plan(NamedTuple):
    """What a handler's signature asks for."""

    positional: Mapping[str, Any]
    """Positional-only parameters, in order, with their defaults."""
    named: frozenset[str]
    takes_any: bool
    """It has ``**kwargs``, which receive the rest of the configuration."""
    data_name: str | None
    """The parameter that receives ``data``."""
    required: tuple[str, ...] = ()
    """Parameters without a default that the configuration has to fill."""
    opaque: bool = False
    """No signature is to be had; it is called with the data alone."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the configuration it takes, sorted."""
        names = {*self.positional, *self.named}.difference(GIVEN, {self.data_name or ""})
        return tuple(sorted(names))


class Misfit(NamedTuple):
    """Why a configuration does not fit a handler.

    ``code`` is ``"unknown_config"``, ``"missing_config"`` or ``"invalid_config"``.
    """

    code: str
    message: str


def plan(handler: Handler) -> Plan:
    """The plan of a handler; remembered where the handler can be hashed."""
    try:
        return _cached_plan(handler)
    except TypeError:  # unhashable
        return _plan(handler)


def _plan(handler: Handler) -> Plan:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except Exception:  # some built-ins have none; and a __signature__ may raise anything
        return Plan({}, frozenset(), False, None, opaque=True)
    positional: dict[str, Any] = {}
    named, required, takes_any = set[str](), [], False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional[parameter.name] = parameter.default
            else:
                named.add(parameter.name)
            if parameter.default is parameter.empty and parameter.name not in GIVEN:
                required.append(parameter)
    data_name = "data" if "data" in named or "data" in positional else None
    if data_name is None:  # a single required positional parameter of another name receives it
        inputs = [one.name for one in required if one.kind is not one.KEYWORD_ONLY]
        data_name = inputs[0] if len(inputs) == 1 else None
    needed = tuple(one.name for one in required if one.name != data_name)
    return Plan(positional, frozenset(named), takes_any, data_name, needed)


_cached_plan = lru_cache(maxsize=1024)(_plan)


def settle(
    handler: Handler, config: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Collection[Misfit]]:
    """What of ``config`` a handler is called with, and why it cannot be.

    A handler may describe its configuration by a ``msgspec.Struct`` type in its attribute
    ``config_schema``: then it gets the fields of that structure, converted, defaults included.
    """
    schema = schema_of(handler)
    if schema is not None:
        from .schema import read  # few handlers have one

        config, problems = read(name_of(handler), schema, config)
        if problems:
            return config, problems
    return config, fit(handler, config)


def fit(handler: Handler, keys: Collection[str]) -> Collection[Misfit]:
    """What is wrong with a configuration of these keys, by the names of the parameters."""
    shape = plan(handler)
    if shape.opaque or not (keys or shape.required):
        return ()
    return [*_unknown(handler, shape, keys), *_missing(handler, shape, keys)]


def schema_of(handler: Handler) -> type[msgspec.Struct] | None:
    """The structure that describes a handler's configuration, if it declares one."""
    schema = getattr(handler, "config_schema", None)
    return schema if isinstance(schema, type) and issubclass(schema, msgspec.Struct) else None


def takes_any_key(handler: Handler) -> bool:
    """Whether no key of the configuration is unknown to a handler."""
    return plan(handler).takes_any and schema_of(handler) is None


def _unknown(handler: Handler, shape: Plan, keys: Collection[str]) -> Iterator[Misfit]:
    for name in keys:
        own = name in shape.named or (name in shape.positional and not shape.takes_any)
        if own and name in FILLED:
            message = FILLS
        elif own or name in shape.positional or shape.takes_any:
            continue
        else:
            message = unknown(name, shape.keys)
        who = name_of(handler)
        yield Misfit("unknown_config", f"{who} takes no configuration {name!r}{message}")


@lru_cache(maxsize=256)  # one misspelt key in every step of a large pipeline costs no more
def unknown(name: str, takes: tuple[str, ...]) -> str:
    """What to say of a key of the configuration that is not among those a handler takes."""
    listing = f"it takes {', '.join(takes)}" if takes else "it takes none"
    return f"{nearest(name[:255], takes)} ({listing})"


def _missing(handler: Handler, shape: Plan, keys: Collection[str]) -> Iterator[Misfit]:
    for name in shape.required:
        if name not in keys:
            message = f"{name_of(handler)} needs the configuration {name!r}, which is not given"
            if shape.data_name is None:
                message += "; a parameter that is to receive the step's input is called 'data'"
            yield Misfit("missing_config", message)


def name_of(handler: Handler) -> str:
    """How messages call a handler."""
    return getattr(handler, "__qualname__", None) or shown(handler)


def call(handler: Handler, *, step: Any, data: Any, context: Any) -> Any:
    """Call ``handler`` with what it asks for; a coroutine function returns its coroutine.

    Raises:
        TypeError: The step's configuration does not fit the handler; see :func:`settle`.
    """
    shape = plan(handler)
    if shape.opaque:
        return handler(data)
    settled, misfits = settle(handler, step.config)
    for misfit in misfits:
        raise TypeError(f"step {step.name!r}: {misfit.message}")
    config = {key: context.secrets.revealed(value) for key, value in settled.items()}
    given = {"step": step, "context": context}
    if shape.data_name is not None and shape.data_name not in config:
        given[shape.data_name] = data
    filled = {name: given.pop(name) for name in shape.named if name in given}
    arguments = [
        given[name] if name in given else config.pop(name, default)
        for name, default in shape.positional.items()
    ]
    return handler(*arguments, **config, **filled)


__all__ = [
    "GIVEN",
    "Misfit",
    "Plan",
    "call",
    "fit",
    "name_of",
    "plan",
    "schema_of",
    "settle",
    "takes_any_key",
]
