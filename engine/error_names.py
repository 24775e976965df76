"""Whether the exceptions that retry policies name can be had here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from ..events.definition import RetryPolicy
from ..events.errors import UnreadableValue, nearest
from ..events.references import resolve_reference
from .findings import Finding
from .handlers import Handlers
from .model import Pipeline
from .wellformed import label


class Unknown(NamedTuple):
    """A name that is none of a class of exceptions; or, if that is not ``certain``, that is not
    found since its module cannot be imported here, or is the script."""

    message: str
    certain: bool


def unknown_errors(policy: RetryPolicy, *, imports: bool = True) -> Iterator[Unknown]:
    """What is wrong with the ``retryable_errors`` of a policy.

    Args:
        imports: Whether the modules that are named may be imported; otherwise only what has been
            imported is looked at.
    """
    for reference in policy.retryable_errors or ():
        module, _, name = reference.partition(":")
        if not imports and module not in sys.modules:
            continue
        try:
            found = resolve_reference(reference)
        except (UnreadableValue, SystemExit):
            yield _missing(module, name)
            continue
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            yield Unknown(f"retryable_errors: {reference!r} is no class of exceptions", True)


def _missing(module: str, name: str) -> Unknown:
    loaded = sys.modules.get(module)
    if loaded is None:
        said = f"the module of {module}:{name} cannot be imported here"
        return Unknown(f"retryable_errors: {said}; errors of that name are not retried", False)
    if module == "builtins" and "." in name:
        hint = "; write it as 'module:qualname'"
    else:
        hint = nearest(name, dir(loaded))
    return Unknown(
        f"retryable_errors: there is no {name} in {module}{hint}", certain=module != "__main__"
    )


def retried(pipeline: Pipeline, handlers: Handlers) -> Iterator[Finding]:
    """What is wrong with the names in the retry policies of a pipeline's steps."""
    known: dict[tuple[object, bool], list[Unknown]] = {}
    for step in pipeline.steps:
        if not isinstance(step.retry, RetryPolicy) or not step.retry.retryable_errors:
            continue
        key = step.retry.retryable_errors, handlers.imports_for(step)
        if key not in known:
            known[key] = list(unknown_errors(step.retry, imports=key[1]))
        for message, certain in known[key]:
            code = "unknown_error" if certain else "unimportable_error"
            yield Finding(code, message, label(step))
