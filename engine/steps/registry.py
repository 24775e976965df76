"""Which handler belongs to a step type.

Looked up in this order: what ``@step`` registered, the built-in steps, then the entry points of
the group ``semantica.pipeline.steps`` of installed packages. None of them is imported before a step
needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ...events.errors import HandlerNotFound, UnreadableValue, nearest
from ..model import Handler, PipelineStep, find_handler
from .builtin import BUILTIN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from msgspec import Struct

GROUP = "semantica.pipeline.steps"
F = TypeVar("F", bound=Callable[..., Any])

_registered: dict[str, Handler] = {}


def step(step_type: str, *, config: type[Struct] | None = None) -> Callable[[F], F]:
    """Register the decorated function as the handler of ``step_type``; the newest one counts.

    What a step's configuration may hold follows from the function's parameters: their names, which
    of them have defaults, and their annotations. A schema says it more exactly, ranges included::

        class Options(msgspec.Struct):
            size: Annotated[int, msgspec.Meta(ge=1)]
            unit: Literal["words", "characters"] = "words"

        @step("cut", config=Options)
        def cut(data, size, unit): ...

    Args:
        config: The schema: the function gets its fields, converted, defaults included, and any
            other key is an error. It becomes the function's attribute ``config_schema``.

    Raises:
        TypeError: ``config`` is no ``msgspec.Struct`` type, or the function does not take its
            fields.
    """

    def register(handler: F) -> F:
        if config is not None:
            from .configured import configured

            handler = configured(config)(handler)
        _registered[step_type] = handler
        return handler

    return register


def lookup(step_type: str) -> Handler | None:
    """The handler of a step type, or None.

    Raises:
        HandlerNotFound: There is one, but it cannot be imported.
    """
    handler = _registered.get(step_type)
    if handler is not None:
        return handler
    try:
        if step_type in BUILTIN:
            return find_handler(BUILTIN[step_type])
        if step_type in _installed():
            loaded: Handler = _installed()[step_type].load()
            return loaded
    except Exception as error:  # an import may raise anything
        raise HandlerNotFound(f"the handler of step type {step_type!r}: {error}") from error
    return None


def known_types() -> Iterable[str]:
    """All step types that have a handler, sorted."""
    return sorted({*_registered, *BUILTIN, *_installed()})


def resolve(step: PipelineStep) -> Handler | None:
    """The handler of a step: its own, else its type's; None when it has neither.

    Raises:
        HandlerNotFound: It names one that cannot be imported here.
    """
    if callable(step.handler):
        return step.handler
    if step.handler == "":
        raise HandlerNotFound(
            f"step {step.name!r}: its handler was given as a lambda, a closure or the like, which "
            "cannot be found again; give the pipeline again (pipeline=...)"
        )
    if step.handler is not None:
        try:
            return find_handler(step.handler)
        except UnreadableValue as error:
            raise HandlerNotFound(
                f"step {step.name!r}: {error}, or give the pipeline again (pipeline=...)"
            ) from error
    return lookup(step.step_type)


def condition(step: PipelineStep) -> Handler | None:
    """The condition of a step. Raises HandlerNotFound."""
    if step.when is None or callable(step.when):
        return step.when
    if not step.when:
        raise HandlerNotFound(
            f"step {step.name!r}: its condition is a lambda or closure of another process; give "
            "the pipeline again (pipeline=...)"
        )
    try:
        return find_handler(step.when)
    except UnreadableValue as error:
        raise HandlerNotFound(f"the condition of step {step.name!r}: {error}") from error


def has_handler(step: PipelineStep) -> bool:
    """Whether a step has a handler, without importing it."""
    if step.handler is not None:
        return True
    kind = step.step_type
    return kind in _registered or kind in BUILTIN or kind in _installed()


def missing(step_type: str) -> str:
    """What to say of a type without handler."""
    return f"no handler for step type {step_type!r}{nearest(step_type, known_types())}"


@cache
def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return {entry.name: entry for entry in entry_points(group=GROUP)}


__all__ = ["GROUP", "has_handler", "known_types", "lookup", "missing", "resolve", "step"]
