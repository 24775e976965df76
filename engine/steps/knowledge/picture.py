"""What a picture of a graph shows, and where: boxes, arrows with words, and a legend.

Of a large graph it shows what is most connected, grown from the node with the most neighbours.
Nodes without any edge are counted, and not shown unless there is nothing else.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from .layout import Link, Size, lay_out
from .plain import printable

if TYPE_CHECKING:
    from .graph import Edge, KnowledgeGraph, Node

LIMIT = 120
"""Nodes that are shown unless the user says otherwise; more are no picture but a stain."""
MOST = 1000
"""Nodes that can be laid out in seconds."""
HEIGHT = 30.0
_WORDS = 15.0
_SMALL = 0.85
"""Size of the words on arrows, by that of names."""
_PADDING = 26.0
_LONGEST = 34
_CHARACTER = 7.5
"""Width of an average character at 13 pixels, in most fonts; see :func:`width_of`."""
_NARROW = frozenset("iljtfrI.,:;'!|()[]-/ ")
_WIDE = frozenset("mwMWQOGDNHU@%&—")

Point = tuple[float, float]


class Box(msgspec.Struct, frozen=True):
    """A node, as it is drawn: its centre and size in pixels; ``number`` counts all nodes."""

    number: int
    node: Node
    label: str
    x: float
    y: float
    width: float
    height: float


class Arrow(msgspec.Struct, frozen=True):
    """All that is said of one node about another: a curve, and where its words are.

    Args:
        ends: The numbers of the nodes.
        bend: The curve's control point.
    """

    ends: tuple[int, int]
    label: str
    start: Point
    bend: Point
    end: Point
    at: Point


class Picture(msgspec.Struct, frozen=True):
    """What is drawn. ``shown`` counts nodes by their type, ``hidden`` those that are not drawn."""

    boxes: list[Box]
    arrows: list[Arrow]
    shown: dict[str, int]
    hidden: int
    unconnected: int
    width: float
    height: float


def picture_of(graph: KnowledgeGraph, limit: int | None = None) -> Picture:
    """The picture of a graph, with at most ``limit`` nodes (:data:`LIMIT` if None)."""
    numbers, edges, unconnected = _chosen(graph, min(limit or LIMIT, MOST))
    nodes, said = graph.nodes, _said(graph, edges)
    labels = [label_of(nodes[number].name) for number in numbers]
    sizes: list[Size] = [(width_of(label) + _PADDING, HEIGHT) for label in labels]
    place = {number: position for position, number in enumerate(numbers)}
    links: list[Link] = []
    for (one, other), words in said.items():  # the words are boxes too, so that nothing covers them
        links += [(place[one], len(sizes)), (len(sizes), place[other])]
        sizes.append((width_of(words) * _SMALL + 4, _WORDS))
    layout = lay_out(sizes, links)
    boxes = [
        Box(number, nodes[number], labels[one], *layout.centres[one], *sizes[one])
        for one, number in enumerate(numbers)
    ]
    arrows = [
        _arrow(ends, words, layout.centres[at], boxes[place[ends[0]]], boxes[place[ends[1]]])
        for at, (ends, words) in enumerate(said.items(), start=len(boxes))
    ]
    return Picture(
        boxes,
        arrows,
        dict(sorted(Counter(box.node.type for box in boxes).items())),
        len(nodes) - len(boxes),
        unconnected,
        layout.width,
        layout.height,
    )


def _chosen(graph: KnowledgeGraph, limit: int) -> tuple[list[int], list[Edge], int]:
    """The numbers of the nodes that are shown, the edges between them, and how many nodes have no
    edge at all."""
    nodes = graph.nodes
    place = {node.id: number for number, node in enumerate(nodes)}
    near: dict[int, set[int]] = defaultdict(set)
    for edge in graph.edges:
        near[place[edge.subject]].add(place[edge.object])
        near[place[edge.object]].add(place[edge.subject])
    if not near:
        most = sorted(range(len(nodes)), key=lambda one: (-nodes[one].mentions, one))
        return sorted(most[:limit]), [], len(nodes)
    kept = set(islice(_grown(near), limit))
    edges = [one for one in graph.edges if {place[one.subject], place[one.object]} <= kept]
    shown = {place[end] for one in edges for end in (one.subject, one.object)}
    return sorted(shown), edges, len(nodes) - len(near)


def _grown(near: dict[int, set[int]]) -> Iterator[int]:
    """The node with the most neighbours, then always the one with the most that is a neighbour of
    one before it; when there is none, the same again with what is left."""
    ranked = sorted(near, key=lambda one: (-len(near[one]), one))
    seen: set[int] = set()
    for first in ranked:
        if first in seen:
            continue
        seen.add(first)
        ahead = [(-len(near[first]), first)]
        while ahead:
            _, one = heappop(ahead)
            yield one
            for other in sorted(near[one] - seen):
                heappush(ahead, (-len(near[other]), other))
            seen |= near[one]


def _said(graph: KnowledgeGraph, edges: Sequence[Edge]) -> dict[tuple[int, int], str]:
    """From one node to another: the words on the arrow."""
    place = {node.id: number for number, node in enumerate(graph.nodes)}
    words: dict[tuple[int, int], list[str]] = defaultdict(list)
    for edge in edges:
        words[place[edge.subject], place[edge.object]].append(edge.predicate.replace("_", " "))
    return {ends: printable(", ".join(said)) for ends, said in words.items()}


def _arrow(ends: tuple[int, int], label: str, at: Point, one: Box, other: Box) -> Arrow:
    """From box to box by way of the words."""
    start, end = _border(one, at, 1.0), _border(other, at, 3.0)
    bend = tuple(round(2 * at[i] - (start[i] + end[i]) / 2, 1) for i in (0, 1))
    return Arrow(ends, label, start, (bend[0], bend[1]), end, at)


def _border(box: Box, toward: Point, gap: float) -> Point:
    """Where a line from the centre of ``box`` leaves it, and ``gap`` pixels more."""
    dx, dy = toward[0] - box.x, toward[1] - box.y
    across = (box.width / 2 + gap) / abs(dx) if dx else float("inf")
    along = (box.height / 2 + gap) / abs(dy) if dy else float("inf")
    part = min(across, along, 1.0)
    return round(box.x + dx * part, 1), round(box.y + dy * part, 1)


def label_of(name: str) -> str:
    """A name that fits in a box."""
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1].rstrip()}…"


def width_of(text: str) -> float:
    """About the pixels that a text takes at a size of 13."""
    total = 0.0
    for character in text:
        if character in _NARROW:
            total += 0.58
        elif character in _WIDE or character.isupper():
            total += 1.22
        elif unicodedata.east_asian_width(character) in "WF":
            total += 1.85
        else:
            total += 0 if unicodedata.combining(character) else 1.0
    return total * _CHARACTER
