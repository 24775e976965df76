"""The graph of a definition as numbers: steps by index, edges in both directions."""

from __future__ import annotations

from ..events.definition import PipelineDefinition


class Graph:
    """Steps by index, in the order of the definition, and the edges between them.

    Raises:
        KeyError: A dependency names no step; a definition is validated before it is recorded.
    """

    __slots__ = ("definition", "dependencies", "dependents", "index", "sinks")

    def __init__(self, definition: PipelineDefinition) -> None:
        self.definition = definition
        self.index = {step.name: i for i, step in enumerate(definition.steps)}
        self.dependencies: list[tuple[int, ...]] = []
        self.dependents: list[list[int]] = [[] for _ in definition.steps]
        for i, step in enumerate(definition.steps):
            before = tuple(map(self.index.__getitem__, step.dependencies))
            self.dependencies.append(before)
            for j in before:
                self.dependents[j].append(i)
        self.sinks = [i for i, after in enumerate(self.dependents) if not after]

    def __len__(self) -> int:
        return len(self.dependencies)

    def name(self, i: int) -> str:
        """The name of step ``i``."""
        return self.definition.steps[i].name
