"""What is wrong with the graph of a pipeline: what its steps wait for, and what is left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..events.arguments import shown
from ..events.errors import nearest
from .core import graph as graphs
from .findings import SHOWN, Finding
from .model import Pipeline
from .wellformed import MAX_NAME, label, names_in

MANY = 100
"""Steps that stand alone, or can never run, which are named."""


class Shape:
    """The graph of a pipeline and what several checks need of it, found once.

    Steps of the same name count as one with all their dependencies.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.steps = pipeline.steps
        self.graph: dict[str, list[str]] = {}
        for step in pipeline.steps:
            if isinstance(step.name, str):
                self.graph.setdefault(step.name, []).extend(names_in(step.dependencies))
        self.followers = graphs.dependents(self.graph)
        self.levels = graphs.levels(self.graph)
        self.acyclic = sum(map(len, self.levels)) == len(self.graph)

    def certain(self) -> graphs.Graph:
        """The graph without names that several steps have: whether a circle goes through one of
        those cannot be told."""
        names = Counter(step.name for step in self.steps if isinstance(step.name, str))
        return {
            name: [other for other in before if names[other] <= 1]
            for name, before in self.graph.items()
            if names[name] == 1
        }

    def measures(self) -> dict[str, Any]:
        """What a :class:`.ValidationResult` tells of the graph."""
        measures: dict[str, Any] = {
            "steps": len(self.steps),
            "dependencies": sum(map(len, self.graph.values())),
            "roots": self.levels[0] if self.levels else [],
            "sinks": [name for name, followers in self.followers.items() if not followers],
        }
        if self.acyclic:
            measures["depth"] = len(self.levels)
            measures["width"] = max(map(len, self.levels), default=0)
        return measures


# Connections


def connections(shape: Shape) -> Iterator[Finding]:
    """Steps that stand alone, or can never run."""
    yield from _disconnected(shape)
    yield from _unreachable(shape)


def _disconnected(shape: Shape) -> Iterator[Finding]:
    if len(shape.graph) < 2:
        return
    alone = [
        name
        for name, followers in shape.followers.items()
        if not followers and not shape.graph[name]
    ]
    for name in alone[:MANY]:
        message = "nothing leads to this step and nothing follows from it; is that meant?"
        yield Finding("disconnected_step", message, name)
    if len(alone) > MANY:
        message = f"{len(alone) - MANY} more steps stand alone"
        yield Finding("disconnected_step", message)


def _unreachable(shape: Shape) -> Iterator[Finding]:
    """Steps behind a missing dependency or a circle, each with one of those it waits for."""
    causes = {
        name: f"{shown(name)}, which depends on {shown(absent)}, which is not a step"
        for name, before in shape.graph.items()
        for absent in before
        if absent not in shape.graph
    }
    if not shape.acyclic:
        for circle in graphs.cyclic(shape.certain()):
            causes |= {name: f"{shown(name)}, which waits for itself" for name in circle}
    cause_of = dict(causes)
    reached = list(causes)
    for name in reached:  # grows as it is walked
        for follower in shape.followers[name]:
            if follower not in cause_of:
                cause_of[follower] = cause_of[name]
                reached.append(follower)
    behind = reached[len(causes) :]
    for name in behind[:MANY]:
        yield Finding("unreachable_step", f"can never run: it waits for {cause_of[name]}", name)
    if len(behind) > MANY:
        yield Finding("unreachable_step", f"{len(behind) - MANY} more steps can never run")


# Dependencies


def dependencies(shape: Shape) -> Iterator[Finding]:
    """Each dependency is a step, is given once, and closes no circle."""
    hint = Hints(shape.graph)
    for step in shape.steps:
        seen: set[str] = set()
        for name in names_in(step.dependencies):
            if name in seen:
                message = f"depends on {shown(name)} more than once"
                yield Finding("duplicate_dependency", message, label(step))
            elif name not in shape.graph:
                message = f"depends on {shown(name)}, which is not a step{hint(name)}"
                yield Finding("missing_dependency", message, label(step))
            seen.add(name)
    if not shape.acyclic:
        yield from _circular(shape.certain())


class Hints:
    """The nearest known name, while the comparisons stay within a bound for all hints together."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.budget = 20_000
        self.given: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self.given:
            self.budget -= len(self.names)
            self.given[name] = nearest(name[:MAX_NAME], self.names) if self.budget >= 0 else ""
        return self.given[name]


def _circular(graph: graphs.Graph) -> Iterator[Finding]:
    """One error for each knot of steps that wait for one another."""
    for cycles in graphs.cycles(graph):
        first = cycles[0][0]
        if cycles == [[first]]:
            yield Finding("circular_dependency", "the step depends on itself", first)
            continue
        shown = "; ".join(map(_arrows, cycles[:SHOWN]))
        rest = "; and more" if len(cycles) > SHOWN else ""
        message = f"steps wait for one another: {shown}{rest}; remove a dependency of each circle"
        yield Finding("circular_dependency", message, first)


def _arrows(cycle: list[str]) -> str:
    if len(cycle) > SHOWN:
        return f"{' -> '.join(cycle[:SHOWN])} -> ... ({len(cycle)} steps) -> {cycle[0]}"
    return " -> ".join([*cycle, cycle[0]])
