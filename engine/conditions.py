"""What can be wrong with the conditions of steps; part of a validation."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import iscoroutinefunction

from ..events.errors import HandlerNotFound
from .findings import Finding
from .model import Given, Pipeline, PipelineStep, handler_reference
from .wellformed import is_reference


def conditions(pipeline: Pipeline, executor: str = "thread") -> Iterator[Finding]:
    """What is wrong, or worth a word, about the ``when`` of each step.

    Args:
        executor: How steps are executed that do not say so.
    """
    for step in pipeline.steps:
        found = None if step.when is None else _finding(step, executor)
        if found is not None:
            name = step.name if isinstance(step.name, str) else None
            yield Finding(*found, name)


def _finding(step: PipelineStep, executor: str) -> tuple[str, str] | None:
    when = step.when
    if isinstance(when, str):
        if not is_reference(when):
            return "invalid_condition", f"when={when!r:.60} must be 'module:name' or a callable"
        return None
    if not callable(when):
        return "invalid_condition", f"when={when!r:.60} is not callable"
    if iscoroutinefunction(when):
        return "invalid_condition", "a condition must not be async: it is not waited for"
    reference = handler_reference(when)
    if reference is None:
        if (step.executor or executor) == "process" and not is_sendable(Given(when=when)):
            return "unsendable_condition", (
                "the step runs in a process, where its condition cannot be found; define it at the "
                "top level of a module, or use executor='thread'"
            )
        return "unrecoverable_condition", (
            "the condition is a lambda, a closure or a method, so another process cannot recover "
            "the run unless it is given the pipeline again; define it with def in a module"
        )
    if reference.startswith("__main__:"):
        return "main_condition", (
            f"the condition {reference} lives in the script, so only the same script can recover "
            "the run; define it in a module"
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
