"""What can be wrong with the conditions and the undoing of steps; part of a validation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import NamedTuple

from ..events.arguments import shown
from ..events.errors import HandlerNotFound
from .binding import name_of
from .findings import Finding
from .handlers import Handlers, is_sendable
from .model import Given, Handler, Pipeline, PipelineStep, handler_reference
from .undo import GIVEN
from .wellformed import is_reference, label

_Problem = tuple[str, str]
"""The beginning of a finding's code, and its message."""


class _Role(NamedTuple):
    """What a function is to a step."""

    option: str
    name: str
    receives: str
    """What it is called with."""
    awaited: bool
    """It may be async."""
    given: tuple[str, ...] = ()
    """Parameters that are filled besides, if it has them."""


_CONDITION = _Role("when", "condition", "the step's input", awaited=False)
_COMPENSATION = _Role("compensate", "compensation", "the step's output", awaited=True, given=GIVEN)


def conditions(pipeline: Pipeline, handlers: Handlers) -> Iterator[Finding]:
    """What is wrong, or worth a word, about ``when`` and ``compensate`` of each step."""
    checks = _Checks(handlers)
    for step in pipeline.steps:
        for role in (_CONDITION, _COMPENSATION):
            for kind, message in checks.problems(step, role):
                yield Finding(f"{kind}_{role.name}", message, label(step))


class _Checks:
    """Looks at each function once."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._misfits: dict[tuple[int, _Role], _Problem | None] = {}

    def problems(self, step: PipelineStep, role: _Role) -> Iterator[_Problem]:
        given: Handler | str | None = getattr(step, role.option)
        if given is None:
            return
        problem = _malformed(given, role)
        if problem is None:
            try:
                function = self._found(step, given, role)
            except HandlerNotFound as error:
                problem = "unimportable", str(error)
            else:
                problem = self._misfit(function, role) if function is not None else None
        yield from filter(None, [problem or self._lost(step, given, role)])

    def _found(self, step: PipelineStep, given: Handler | str, role: _Role) -> Handler | None:
        """The function, unless it is not to be imported here. Raises HandlerNotFound."""
        if not isinstance(given, str):
            return given
        # What undoes a step runs in a thread, wherever the step itself does.
        here = self._handlers.imports_for(step) if role is _CONDITION else self._handlers.imports
        return self._handlers.named(given) if here else None

    def _misfit(self, function: Handler, role: _Role) -> _Problem | None:
        key = id(function), role
        if key not in self._misfits:
            self._misfits[key] = _misfit(function, role)
        return self._misfits[key]

    def _lost(self, step: PipelineStep, given: Handler | str, role: _Role) -> _Problem | None:
        """Where a function cannot be found again."""
        reference = handler_reference(given)
        if reference is None:
            if (
                role is _CONDITION
                and self._handlers.elsewhere(step)
                and not is_sendable(Given(when=step.when if callable(step.when) else None))
            ):
                return "unsendable", (
                    "the step runs in a process, where its condition cannot be found; define it at "
                    "the top level of a module, or use executor='thread'"
                )
            return "unrecoverable", (
                f"the {role.name} is a lambda, a closure or a method, so another process cannot "
                "recover the run unless it is given the pipeline again; define it with def in a "
                "module"
            )
        if reference.startswith("__main__:"):
            return "main", (
                f"the {role.name} {reference} lives in the script, so only the same script can "
                "recover the run; define it in a module"
            )
        return None


def _malformed(given: Handler | str, role: _Role) -> _Problem | None:
    if isinstance(given, str):
        if is_reference(given):
            return None
        return "invalid", f"{role.option}={shown(given)} must be 'module:name' or a callable"
    if callable(given):
        return None
    return "invalid", f"{role.option}={shown(given)} is not callable"


def _misfit(function: Handler, role: _Role) -> _Problem | None:
    """Why a function cannot be what it is meant to be."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "invalid", f"a {role.name} must return, not yield: nobody takes what it yields"
    if inspect.iscoroutinefunction(function) and not role.awaited:
        return "invalid", f"a {role.name} must not be async: it is not waited for"
    try:
        signature = inspect.signature(function)
    except Exception:  # some built-ins have none; and a __signature__ may raise anything
        return None
    filled = [name for name in role.given if name in signature.parameters]
    try:
        signature.bind(None, **dict.fromkeys(filled))
    except TypeError as error:
        besides = f"; besides it may have parameters {' and '.join(role.given)}" * bool(role.given)
        return "invalid", (
            f"{role.option}={name_of(function)}{signature} cannot be called with {role.receives}: "
            f"{error}{besides}"
        )
    return None
