"""Undoing a step that has completed, as part of a rollback."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..events.errors import HandlerNotFound, UnreadableValue
from .binding import plan
from .model import Handler, find_handler

GIVEN = ("step", "context")
"""Parameters that are filled besides the output, if there are any of these names."""


def undo(compensate: Handler | str, step: Any, read: Callable[[], Any], context: Any) -> Any:
    """Call what undoes a step with the step's output; also with ``step`` and ``context``, if it has
    parameters of these names. What it returns is dropped.

    Args:
        compensate: Or its ``module:qualname``, as it was recorded.
        read: Reads the output.

    Raises:
        HandlerNotFound: There is none of this name here.
        Exception: What it raises.
    """
    if isinstance(compensate, str):
        compensate = _found(compensate, step)
    takes = plan(compensate).named
    more = dict(zip(GIVEN, (step, context), strict=True))
    answer = compensate(read(), **{name: more[name] for name in GIVEN if name in takes})
    return _awaited(answer) if inspect.iscoroutine(answer) else None


async def _awaited(answer: Any) -> None:
    await answer


def _found(reference: str, step: Any) -> Handler:
    try:
        if not reference:
            raise UnreadableValue("it is a lambda or closure of another process")
        return find_handler(reference)
    except UnreadableValue as error:
        raise HandlerNotFound(
            f"step {step.name!r}: what undoes it cannot be found ({error}); give the pipeline "
            "again (pipeline=...)"
        ) from error
