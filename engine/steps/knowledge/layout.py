"""Where the boxes of a drawing go, so that what is connected is near and nothing overlaps.

Each connected part is laid out by stress majorization (Gansner, Koren and North, 2004): distances
on paper follow distances in the graph. It begins with a radial tree, so that the same graph always
gets the same drawing. Then boxes that overlap are pushed apart, and the parts are packed in rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import MissingExtra

try:
    import numpy as np
except ImportError as missing:
    raise MissingExtra("a picture of a graph", "graph") from missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

Points: TypeAlias = "NDArray[np.float64]"

EDGE = 18.0
"""Length of a link between the boxes of its ends, in pixels."""
MARGIN = 9.0
"""Least distance between boxes."""
GAP = 40.0
"""Between parts."""
RATIO = 1.6
"""Width of a drawing by its height, about."""
_STEPS = 150
_PUSHES = 400
_ENOUGH = 1e-4

Size = tuple[float, float]
Link = tuple[int, int]


class Layout(NamedTuple):
    """The centre of each box, and the size of the whole, whose corner is at (0, 0)."""

    centres: list[tuple[float, float]]
    width: float
    height: float


def lay_out(sizes: Sequence[Size], links: Sequence[Link]) -> Layout:
    """Place boxes of those sizes, connected by those links."""
    placed = []
    for part in _parts(len(sizes), links):
        inner = {box: number for number, box in enumerate(part)}
        own = [(inner[a], inner[b]) for a, b in links if a in inner and a != b]
        boxes = np.array([sizes[box] for box in part], dtype=float)
        points = _push(_stress(boxes, own), boxes)
        placed.append((part, _wide(points, boxes), boxes))
    return _packed(placed, len(sizes))


def _parts(count: int, links: Sequence[Link]) -> list[list[int]]:
    """The connected parts, the largest first."""
    near = _neighbours(count, links)
    seen: set[int] = set()
    parts = []
    for first in range(count):
        if first not in seen:
            part = [box for box, _ in _breadth_first(first, near)]
            seen.update(part)
            parts.append(sorted(part))
    return sorted(parts, key=lambda part: (-len(part), part))


def _neighbours(count: int, links: Sequence[Link]) -> list[list[int]]:
    near: list[set[int]] = [set() for _ in range(count)]
    for a, b in links:
        near[a].add(b)
        near[b].add(a)
    return [sorted(some - {box}) for box, some in enumerate(near)]


def _breadth_first(first: int, near: Sequence[Sequence[int]]) -> Iterator[tuple[int, int | None]]:
    """Every box that can be reached, with the one it was reached from."""
    seen = {first}
    ahead: list[tuple[int, int | None]] = [(first, None)]
    for box, before in ahead:
        yield box, before
        for other in near[box]:
            if other not in seen:
                seen.add(other)
                ahead.append((other, box))


def _radial(near: Sequence[Sequence[int]]) -> Points:
    """A tree around the box with the most links, each branch as wide as it has leaves."""
    centre = max(range(len(near)), key=lambda box: (len(near[box]), -box))
    order = list(_breadth_first(centre, near))
    below: dict[int, list[int]] = {box: [] for box, _ in order}
    for box, before in order:
        if before is not None:
            below[before].append(box)
    leaves: dict[int, int] = {}
    for box, _ in reversed(order):
        leaves[box] = sum(leaves[one] for one in below[box]) or 1
    points = np.zeros((len(near), 2))
    ring = 3 * EDGE
    wedges = {centre: (0.0, 2 * np.pi, 0)}
    for box, _ in order:
        start, width, depth = wedges[box]
        angle = start + width / 2
        points[box] = depth * ring * np.cos(angle), depth * ring * np.sin(angle)
        for one in below[box]:
            share = width * leaves[one] / leaves[box]
            wedges[one] = start, share, depth + 1
            start += share
    return points


def _stress(boxes: Points, links: Sequence[Link]) -> Points:
    count = len(boxes)
    if count == 1:
        return np.zeros((1, 2))
    near = _neighbours(count, links)
    wanted = _distances(boxes, near)
    weights = np.where(wanted > 0, 1.0 / np.maximum(wanted, 1.0) ** 2, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian)
    points = _radial(near)
    stress = np.inf
    for _ in range(_STEPS):
        apart = points[:, None, :] - points[None, :, :]
        actual = np.sqrt((apart**2).sum(axis=2))
        before, stress = stress, (weights * (actual - wanted) ** 2).sum()
        if before - stress < _ENOUGH * stress:
            break
        factor = np.where(actual > 1e-9, weights * wanted / np.maximum(actual, 1e-9), 0.0)
        pull = np.diag(factor.sum(axis=1)) - factor
        points = inverse @ (pull @ points)
    return points


def _distances(boxes: Points, near: Sequence[Sequence[int]]) -> Points:
    """The lengths of the shortest ways; a box with many links needs room around it."""
    count = len(boxes)
    far = np.full((count, count), np.inf)
    np.fill_diagonal(far, 0.0)
    for box, others in enumerate(near):
        for other in others:
            half = (boxes[box] + boxes[other]) @ (0.3, 0.2)
            crowd = max(len(near[box]), len(near[other]))
            far[box, other] = EDGE + half + 8.0 * max(0, crowd - 5)
    for middle in range(count):  # Floyd and Warshall
        far = np.minimum(far, far[:, middle, None] + far[None, middle, :])
    return far


def _push(points: Points, boxes: Points) -> Points:
    """Move boxes that overlap apart, the shorter way, half each."""
    points = points.copy()
    room = (boxes[:, None, :] + boxes[None, :, :]) / 2 + MARGIN
    sign = np.triu(np.ones((len(points),) * 2), 1) - np.tril(np.ones((len(points),) * 2), -1)
    for _ in range(_PUSHES):
        apart = points[:, None, :] - points[None, :, :]
        over = room - np.abs(apart)
        hit = (over[:, :, 0] > 0.5) & (over[:, :, 1] > 0.5)
        np.fill_diagonal(hit, False)
        if not hit.any():
            break
        along = (over[:, :, 0] <= over[:, :, 1]).astype(int) ^ 1  # 0: sideways
        for axis in (0, 1):
            way = np.sign(apart[:, :, axis])
            way = np.where(way == 0, sign, way)
            moves = np.where(hit & (along == axis), way * over[:, :, axis], 0.0)
            points[:, axis] += 0.5 * moves.sum(axis=1) / np.maximum(1, (moves != 0).sum(axis=1))
    return points


def _wide(points: Points, boxes: Points) -> Points:
    """The part lying rather than standing, with its corner at (0, 0)."""
    width, height = np.ptp(points, axis=0)
    if height > width * 1.15:
        turned = _push(points[:, ::-1] * (1, -1), boxes)
        points = turned
    corner: Points = (points - boxes / 2).min(axis=0)
    return points - corner


def _packed(placed: list[tuple[list[int], Points, Points]], count: int) -> Layout:
    """The parts, the tallest first, each as high up as it fits: below a skyline of the others."""
    extents = [(points + boxes / 2).max(axis=0) + GAP for _, points, boxes in placed]
    area = sum(width * height for width, height in extents)
    limit = max([(area * RATIO) ** 0.5, *(width for width, _ in extents)], default=0.0)
    centres = [(0.0, 0.0)] * count
    skyline: list[tuple[float, float, float]] = [(0.0, float(limit), 0.0)]
    order = sorted(range(len(placed)), key=lambda one: (-extents[one][1], placed[one][0]))
    for number in order:
        part, points, _ = placed[number]
        width, height = map(float, extents[number])
        top, left = min(_room(skyline, width, limit))
        skyline = _risen(skyline, left, left + width, top + height)
        for box, (x, y) in zip(part, points, strict=True):
            centres[box] = round(left + float(x), 1), round(top + float(y), 1)
    wide = max((end for _, end, bottom in skyline if bottom), default=GAP) - GAP
    deep = max(bottom for _, _, bottom in skyline) - GAP
    return Layout(centres, round(wide, 1), round(max(deep, 0.0), 1))


def _room(
    skyline: Sequence[tuple[float, float, float]], width: float, limit: float
) -> Iterator[tuple[float, float]]:
    """Where something of that width could be: how far down, and how far right."""
    for left, _, _ in skyline:
        if left + width <= limit + 1e-6:
            below = [deep for start, end, deep in skyline if start < left + width and end > left]
            yield max(below), left


def _risen(
    skyline: Sequence[tuple[float, float, float]], left: float, right: float, bottom: float
) -> list[tuple[float, float, float]]:
    """The skyline with something of that ``bottom`` between ``left`` and ``right``."""
    kept = [(start, min(end, left), deep) for start, end, deep in skyline if start < left]
    kept.append((left, right, bottom))
    kept += [(max(start, right), end, deep) for start, end, deep in skyline if end > right]
    return kept
