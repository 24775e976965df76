"""The graph of a pipeline or a run as SVG, coloured by the states of its steps."""

from __future__ import annotations

from itertools import pairwise

from ..mermaid import Drawing, Node
from .layout import Layout, Place, layered
from .style import cut, escaped, state_class, svg

WIDTH, HEIGHT = 150, 40
"""Of a box."""
ACROSS, DOWN = 206, 54
"""From one layer, and one row, to the next."""
MARGIN = 12


def graph_svg(drawing: Drawing, *, styled: bool = True) -> str:
    """The graph; each box says in its title all that is cut off in it.

    Args:
        styled: With its own style sheet, for a file of its own.
    """
    names = [node.name for node in drawing.nodes]
    found = layered(names, drawing.edges)
    body = "".join(_edge(bends) for bends in found.edges)
    body += "".join(_box(node, found) for node in drawing.nodes)
    width = max(1, found.layers) * ACROSS - (ACROSS - WIDTH) + 2 * MARGIN
    height = found.rows * DOWN - (DOWN - HEIGHT) + 2 * MARGIN
    label = f"graph of {drawing.name}: {len(names)} steps"
    return svg(width, height, body, label, styled=styled)


def _box(node: Node, found: Layout) -> str:
    x, y = _corner(found.places[node.name])
    state = node.status or "pending"
    kind = node.type if node.type not in ("", node.name) else ""
    facts = [node.name, kind and f"type {kind}", node.status or ""]
    below = " · ".join(one for one in (kind, node.status or "") if one)
    name, top = escaped(cut(node.name, 20)), y + (17 if below else 25)
    text = f'<text x="{x + 10:g}" y="{top:g}">{name}</text>'
    if below:
        shown = escaped(cut(below, 22))
        text += f'<text class="dim" x="{x + 10:g}" y="{y + 32:g}" font-size="10">{shown}</text>'
    return (
        f"<g><title>{escaped(', '.join(one for one in facts if one))}</title>"
        f'<rect class="{state_class(state)}" x="{x:g}" y="{y:g}" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="6"/>{text}</g>'
    )


def _corner(place: Place) -> Place:
    return MARGIN + place[0] * ACROSS, MARGIN + place[1] * DOWN


def _edge(bends: list[Place]) -> str:
    """From the right side of a box, through the bends, to the left side of another."""
    corners = [_corner(place) for place in bends]
    middle = HEIGHT / 2
    points = [(corners[0][0] + WIDTH, corners[0][1] + middle)]
    for x, y in corners[1:-1]:
        points += [(x, y + middle), (x + WIDTH, y + middle)]
    end = (corners[-1][0], corners[-1][1] + middle)
    points.append((end[0] - 6, end[1]))
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (x1 - x0) / 2
        path += f"C{x0 + half:g} {y0:g} {x1 - half:g} {y1:g} {x1:g} {y1:g}"
    tip = f"M{end[0]:g} {end[1]:g}l-7 -4v8z"
    return f'<path class="edge" d="{path}"/><path class="tip" d="{tip}"/>'
