"""What steps need of each resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..events.errors import nearest
from .findings import Finding
from .model import Pipeline, PipelineStep
from .wellformed import label, short


def needs_of(step: PipelineStep) -> Mapping[str, float]:
    """How much of each resource a step needs while it runs, by the resource's name."""
    needs: Mapping[str, float] = getattr(step, "resources", {})
    return needs


def unsatisfiable(pipeline: Pipeline, capacities: Mapping[str, float]) -> Iterator[Finding]:
    """Steps that need more of a resource than there is in all, so that they could never start."""
    listing = ", ".join(f"{name}={amount:g}" for name, amount in capacities.items()) or "none"
    for step in pipeline.steps:
        for name, need in needs_of(step).items():
            there = capacities.get(name)
            if there is None:
                message = (
                    f"needs {need:g} of {short(name)}, and there is no such resource"
                    f"{nearest(name, capacities)} (there is: {listing}); register it, or need less"
                )
            elif need > there:
                message = (
                    f"needs {need:g} of {short(name)}, and there is {there:g} in all; need at "
                    f"most that, or register {short(name)} with more"
                )
            else:
                continue
            yield Finding("unsatisfiable_resources", message, label(step))
