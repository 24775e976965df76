"""What can be wrong with the conditions and the undoing of steps; part of a validation."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import iscoroutinefunction

from ..events.errors import HandlerNotFound
from .findings import Finding
from .model import Given, Handler, Pipeline, PipelineStep, handler_reference
from .wellformed import is_reference


def conditions(pipeline: Pipeline, executor: str = "thread") -> Iterator[Finding]:
    """What is wrong, or worth a word, about ``when`` and ``compensate`` of each step.

    Args:
        executor: How steps are executed that do not say so.
    """
    for step in pipeline.steps:
        name = step.name if isinstance(step.name, str) else None
        if step.when is not None:
            found = _unsendable(step, executor) or _finding("when", "condition", step.when)
            if found is not None:
                yield Finding(*found, name)
        if step.compensate is not None:
            found = _finding("compensate", "compensation", step.compensate)
            if found is not None:
                yield Finding(*found, name)


def _unsendable(step: PipelineStep, executor: str) -> tuple[str, str] | None:
    when = step.when
    if isinstance(when, str) or not callable(when):
        return None
    if iscoroutinefunction(when):
        return "invalid_condition", "a condition must not be async: it is not waited for"
    if handler_reference(when) is not None or (step.executor or executor) != "process":
        return None
    if is_sendable(Given(when=when)):
        return None
    return "unsendable_condition", (
        "the step runs in a process, where its condition cannot be found; define it at the top "
        "level of a module, or use executor='thread'"
    )


def _finding(option: str, role: str, function: Handler | str) -> tuple[str, str] | None:
    if isinstance(function, str):
        if not is_reference(function):
            return (
                f"invalid_{role}",
                f"{option}={function!r:.60} must be 'module:name' or a callable",
            )
        return None
    if not callable(function):
        return f"invalid_{role}", f"{option}={function!r:.60} is not callable"
    reference = handler_reference(function)
    if reference is None:
        return f"unrecoverable_{role}", (
            f"the {role} is a lambda, a closure or a method, so another process cannot recover "
            "the run unless it is given the pipeline again; define it with def in a module"
        )
    if reference.startswith("__main__:"):
        return f"main_{role}", (
            f"the {role} {reference} lives in the script, so only the same script can recover the "
            "run; define it in a module"
        )
    return None


def is_sendable(given: Given) -> bool:
    """Whether a worker process can be given these callables."""
    from .backends.remote import pickle_given

    try:
        pickle_given("", given)
    except HandlerNotFound:
        return False
    return True
