"""Where the boxes of a graph stand: in layers from left to right, with few crossings.

After K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Trans. SMC 11 (1981): a box stands right of all that it follows; an edge over
several layers has a bend in each; boxes of a layer are ordered by the mean place of their
neighbours, in some sweeps to and fro, and then drawn towards them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

SWEEPS = 6
MOST_BENDS = 20_000
"""Beyond that edges go straight through what lies between."""

Place = tuple[float, float]
"""Layer, and row within it; rows are 1 apart at least."""


class Layout(msgspec.Struct):
    """Places of the boxes, and the bends of the edges, both ends included."""

    places: dict[str, Place]
    edges: list[list[Place]]
    layers: int
    rows: float


def layered(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """Lay out a graph, of which edges may also lead back."""
    known = dict.fromkeys(names)
    pairs = [(a, b) for a, b in dict.fromkeys(edges) if a in known and b in known]
    layer = _layers(list(known), pairs)
    chains = _chains(pairs, layer)
    ordered = _ordered(list(known), layer, chains)
    rows = _rows(ordered, chains)
    lowest = min(rows.values(), default=0.0)
    places = {
        node: (float(i), rows[node] - lowest) for i, nodes in enumerate(ordered) for node in nodes
    }
    return Layout(
        {name: places[name] for name in known},
        [[places[node] for node in chain] for chain in chains],
        len(ordered),
        max((row for _, row in places.values()), default=0.0) + 1,
    )


def _layers(names: list[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each; what lies on a cycle comes after all else."""
    after: Mapping[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(names, 0)
    for a, b in pairs:
        after[a].append(b)
        waits[b] += 1
    layer = dict.fromkeys(names, 0)
    ready = deque(name for name in names if not waits[name])
    left = dict.fromkeys(names)
    while left:
        if not ready:
            ready.append(next(iter(left)))
        name = ready.popleft()
        if name not in left:
            continue
        del left[name]
        for other in after[name]:
            if other in left:
                layer[other] = max(layer[other], layer[name] + 1)
                waits[other] -= 1
                if not waits[other]:
                    ready.append(other)
    return layer


Node = Hashable
"""A box by its name, or a bend: ``(edge, layer)``."""


def _chains(pairs: Sequence[tuple[str, str]], layer: Mapping[str, int]) -> list[list[Node]]:
    """Each edge as the boxes and bends that it goes through."""
    total = sum(abs(layer[b] - layer[a]) for a, b in pairs)
    chains: list[list[Node]] = []
    for number, (a, b) in enumerate(pairs):
        step = 1 if layer[b] >= layer[a] else -1
        between = range(layer[a] + step, layer[b], step) if total <= MOST_BENDS else ()
        chains.append([a, *((number, at) for at in between), b])
    return chains


def _ordered(
    names: list[str], layer: Mapping[str, int], chains: Sequence[list[Node]]
) -> list[list[Node]]:
    """The boxes and bends of each layer, in an order with few crossings."""
    depth = max(layer.values(), default=-1) + 1
    layers: list[list[Node]] = [[] for _ in range(depth)]
    for name in names:
        layers[layer[name]].append(name)
    for chain in chains:
        for bend in chain[1:-1]:
            assert isinstance(bend, tuple)
            layers[bend[1]].append(bend)
    left, right = _neighbours(chains)
    for sweep in range(SWEEPS):
        towards = left if sweep % 2 == 0 else right
        place = {node: i for nodes in layers for i, node in enumerate(nodes)}
        for nodes in layers if sweep % 2 == 0 else reversed(layers):
            nodes.sort(key=lambda node: _mean(towards[node], place, place[node]))
            place.update((node, i) for i, node in enumerate(nodes))
    return layers


def _neighbours(
    chains: Sequence[list[Node]],
) -> tuple[Mapping[Node, list[Node]], Mapping[Node, list[Node]]]:
    left: Mapping[Node, list[Node]] = defaultdict(list)
    right: Mapping[Node, list[Node]] = defaultdict(list)
    for chain in chains:
        for a, b in pairwise(chain):
            right[a].append(b)
            left[b].append(a)
    return left, right


def _mean(others: Sequence[Node], place: Mapping[Node, float], own: float) -> float:
    return sum(place[one] for one in others) / len(others) if others else own


def _rows(layers: Sequence[list[Node]], chains: Sequence[list[Node]]) -> dict[Node, float]:
    """Boxes near the mean of their neighbours, in the order they have, one row apart."""
    left, right = _neighbours(chains)
    rows = {node: i - (len(nodes) - 1) / 2 for nodes in layers for i, node in enumerate(nodes)}
    for sweep in range(SWEEPS):
        towards = left if sweep % 2 == 0 else right
        for nodes in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean(towards[node], rows, rows[node]) for node in nodes]
            rows.update(zip(nodes, _apart(wanted), strict=True))
    return rows


def _apart(wanted: Sequence[float]) -> list[float]:
    """Places one apart at least, in this order, near what is wanted: blocks of those that push one
    another stand at their mean (isotonic regression by pooling neighbours)."""
    blocks: list[tuple[float, int]] = []  # mean of (wanted - index), and how many
    for i, place in enumerate(wanted):
        mean, count = place - i, 1
        while blocks and blocks[-1][0] >= mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [mean + i for i, mean in enumerate(flat)]
