"""Whether what steps need of resources can ever be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .findings import Finding
from .model import Pipeline, steps_within

if TYPE_CHECKING:
    from .resources import ResourceScheduler


def unsatisfiable(pipeline: Pipeline, scheduler: ResourceScheduler) -> Iterator[Finding]:
    """Steps that need more of a resource than there is in all, so that they could never start."""
    for path, step in steps_within(pipeline):
        problem = step.resources and scheduler.impossible(step.resources)
        if problem:
            message = f"{problem}; need less, or register more with the ResourceScheduler"
            yield Finding("unsatisfiable_resources", message, path)
