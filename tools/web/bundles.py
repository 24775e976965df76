"""Which steps share a box where a graph has more of them than anybody can look at."""

from __future__ import annotations

from collections import defaultdict, deque

from ...projections.graph import Graph

MOST = 250
"""Steps of a graph up to which each has a box of its own."""
BANDS = 30
"""Columns of a larger graph."""
KINDS = 10
"""Boxes of a column, one for each type of step; what is left shares the last."""


def bundles(graph: Graph, most: int = MOST) -> list[list[int]]:
    """The steps of each box, in the order of the definition.

    In a large graph the steps of one type at one depth are one box: 10,000 files that are parsed
    side by side, and then embedded, are two. Where it is deep, neighbouring depths are one.
    """
    if len(graph) <= most:
        return [[i] for i in range(len(graph))]
    depth = depths(graph)
    thick = -(-(max(depth) + 1) // BANDS)
    by_band: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, step in enumerate(graph.definition.steps):
        by_band[depth[i] // thick][step.type].append(i)
    found: list[list[int]] = []
    for _, kinds in sorted(by_band.items()):
        largest = sorted(kinds.values(), key=len, reverse=True)
        found += sorted(largest[:KINDS])
        rest = sorted(i for members in largest[KINDS:] for i in members)
        if rest:
            found.append(rest)
    return found


def depths(graph: Graph) -> list[int]:
    """The longest way to each step."""
    waits = [len(before) for before in graph.dependencies]
    depth = [0] * len(graph)
    ready = deque(i for i, count in enumerate(waits) if not count)
    while ready:
        i = ready.popleft()
        for j in graph.dependents[i]:
            depth[j] = max(depth[j], depth[i] + 1)
            waits[j] -= 1
            if not waits[j]:
                ready.append(j)
    return depth
