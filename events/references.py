"""Classes and functions by name, so that another process can find them again."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import UnencodableValue, UnreadableValue


def reference_of(target: Any) -> str:
    """``module:qualname`` of a class or function.

    Raises:
        UnencodableValue: It is a lambda, a closure or otherwise not importable by that name.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if module == "__mp_main__":  # the main script, as a worker process has imported it
        module = "__main__"
    reference = f"{module}:{name}"
    if not module or not name or "<" in name:
        raise UnencodableValue(f"{target!r} cannot be found again by name: define it in a module")
    try:
        found = resolve_reference(reference)
    except UnreadableValue:
        found = None
    if found is not target:
        raise UnencodableValue(f"{target!r} cannot be found again as {reference}")
    return reference


def resolve_reference(reference: str) -> Any:
    """The object named ``module:qualname``.

    Raises:
        UnreadableValue: The module cannot be imported or has no such name.
    """
    module, _, name = reference.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
    except Exception as error:  # an import may raise anything
        raise UnreadableValue(
            f"cannot import {reference!r}: {error}; make the module importable here"
        ) from error
    return target
