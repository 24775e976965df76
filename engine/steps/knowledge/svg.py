"""The picture of a graph as SVG: one file, no scripts, and right on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from .picture import Arrow, Box, Picture, picture_of, width_of
from .plain import printable

if TYPE_CHECKING:
    from .graph import KnowledgeGraph


class Colours(NamedTuple):
    """Fill and stroke on light ground, and on dark ground."""

    fill: str
    stroke: str
    dark_fill: str
    dark_stroke: str


_BLUE = Colours("#dbeafe", "#2563eb", "#1e3a70", "#60a5fa")
_VIOLET = Colours("#ede9fe", "#7c3aed", "#432a7d", "#a78bfa")
_GREEN = Colours("#dcfce7", "#16a34a", "#17472b", "#4ade80")
_AMBER = Colours("#fef3c7", "#b45309", "#5c3b0c", "#fbbf24")
_TEAL = Colours("#ccfbf1", "#0d9488", "#134e4a", "#2dd4bf")
_ROSE = Colours("#ffe4e6", "#e11d48", "#6d1633", "#fb7185")
_ORANGE = Colours("#ffedd5", "#ea580c", "#6b2a0f", "#fb923c")
_LIME = Colours("#ecfccb", "#4d7c0f", "#33470f", "#a3e635")
_PINK = Colours("#fce7f3", "#be185d", "#6b1743", "#f472b6")
_CYAN = Colours("#cffafe", "#0e7490", "#164e63", "#22d3ee")
_SLATE = Colours("#e2e8f0", "#475569", "#334155", "#94a3b8")

KNOWN = {
    "PERSON": _BLUE,
    "ORGANIZATION": _VIOLET,
    "PLACE": _GREEN,
    "DATE": _AMBER,
    "MONEY": _TEAL,
    "PERCENT": _LIME,
    "EMAIL": _ROSE,
    "URL": _PINK,
    "PHONE": _ORANGE,
}
OTHERS = (_CYAN, _SLATE)
"""For types besides, in turn."""
EDGE = 28.0
"""Pixels around the picture."""
_HEAD = 74.0
_FOOT = 30.0

_STYLE = """
.ground{fill:#ffffff}
.title{font-size:17px;font-weight:600;fill:#0f172a}
.legend,.caption{font-size:12px;fill:#475569}
.node text{font-size:13px;fill:#0f172a;text-anchor:middle;dominant-baseline:central}
.node rect{stroke-width:1.4}
.edge path{fill:none;stroke:#94a3b8;stroke-width:1.3}
.edge text{font-size:11px;fill:#475569;text-anchor:middle;dominant-baseline:central;\
paint-order:stroke;stroke:#ffffff;stroke-width:4px;stroke-linejoin:round}
.tip{fill:#94a3b8}
"""
_DARK = """
.ground{fill:#0f1420}
.title{fill:#f1f5f9}
.legend,.caption{fill:#a9b6c8}
.node text{fill:#f1f5f9}
.edge path{stroke:#64748b}
.edge text{fill:#b6c2d2;stroke:#0f1420}
.tip{fill:#64748b}
"""


def write_svg(graph: KnowledgeGraph, file: BinaryIO, limit: int | None = None) -> None:
    """The graph as SVG, with at most ``limit`` nodes."""
    file.write(f"{drawing(graph, picture_of(graph, limit))}\n".encode())


def drawing(graph: KnowledgeGraph, picture: Picture) -> str:
    """The element ``svg``. What stands in documents is escaped."""
    return "\n".join(_elements(graph, picture))


def colours_of(types: Iterable[str]) -> dict[str, Colours]:
    """Each type's colours."""
    others = iter(sorted(kind for kind in types if kind not in KNOWN))
    found = {kind: KNOWN[kind] for kind in types if kind in KNOWN}
    return found | {kind: OTHERS[number % len(OTHERS)] for number, kind in enumerate(others)}


def _elements(graph: KnowledgeGraph, picture: Picture) -> Iterator[str]:
    colours = colours_of(picture.shown)
    names = {kind: f"t{number}" for number, kind in enumerate(colours)}
    legend, right = _legend(picture, names)
    caption = caption_of(graph, picture)
    least = max(right, width_of(caption) * 0.95 + EDGE)
    width = max(picture.width + 2 * EDGE, least)
    height = picture.height + _HEAD + _FOOT + EDGE
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="Knowledge graph" '
        "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif\">"
    )
    yield f"<style>{_STYLE}{_types(colours, names)}"
    dark = _DARK + _types(colours, names, dark=True)
    yield f"@media (prefers-color-scheme: dark){{{dark}}}</style>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto-start-reverse"><path class="tip" d="M0 0.8 L8 4 L0 7.2 z"/>'
        "</marker></defs>"
    )
    yield f'<rect class="ground" width="{width:.0f}" height="{height:.0f}"/>'
    yield f'<g class="head"><text class="title" x="{EDGE}" y="34">Knowledge graph</text>'
    yield f"{legend}</g>"
    left = (width - picture.width) / 2
    yield f'<g class="picture" transform="translate({left:.1f} {_HEAD})">'
    yield from map(_arrow, picture.arrows)
    yield from (_box(box, names[box.node.type]) for box in picture.boxes)
    yield "</g>"
    yield f'<text class="caption" x="{EDGE}" y="{height - 16:.0f}">{caption}</text>'
    yield "</svg>"


def _types(colours: dict[str, Colours], names: dict[str, str], *, dark: bool = False) -> str:
    rules = []
    for kind, chosen in colours.items():
        fill, stroke = chosen[2:] if dark else chosen[:2]
        rules.append(f".{names[kind]} rect,.{names[kind]} circle{{fill:{fill};stroke:{stroke}}}")
    return "\n".join(rules) + "\n"


def _legend(picture: Picture, names: dict[str, str]) -> tuple[str, float]:
    """The types with their colours and counts, and where they end."""
    left, parts = EDGE, []
    for kind, count in picture.shown.items():
        text = f"{printable(kind).replace('_', ' ').capitalize()} {count}"
        parts.append(
            f'<g class="{names[kind]}"><circle cx="{left + 6:.1f}" cy="54" r="6" '
            f'stroke-width="1.4"/></g><text class="legend" x="{left + 17:.1f}" y="58">'
            f"{escape(text)}</text>"
        )
        left += 17 + width_of(text) * 0.95 + 18
    return "".join(parts), left + EDGE


def caption_of(graph: KnowledgeGraph, picture: Picture) -> str:
    """How much there is, and how much of it is not drawn."""
    total = graph.counts
    text = f"{total['nodes']:,} entities, {total['edges']:,} relations"
    hidden = picture.hidden
    if hidden:
        text += f"; not shown: {hidden:,} "
        more = hidden - picture.unconnected
        text += "entities without relations" if more <= 0 else "entities with fewer relations"
    return text


def _arrow(arrow: Arrow) -> str:
    start, bend, end, at = arrow.start, arrow.bend, arrow.end, arrow.at
    return (
        f'<g class="edge" data-from="{arrow.ends[0]}" data-to="{arrow.ends[1]}">'
        f'<path d="M{start[0]} {start[1]} Q{bend[0]} {bend[1]} {end[0]} {end[1]}" '
        'marker-end="url(#tip)"/>'
        f'<text x="{at[0]}" y="{at[1]}">{escape(arrow.label)}</text></g>'
    )


def _box(box: Box, kind: str) -> str:
    node = box.node
    often = "once" if node.mentions == 1 else f"{node.mentions} times"
    told = f"{node.name}\n{node.type}, named {often}"
    left, top = box.x - box.width / 2, box.y - box.height / 2
    return (
        f'<g class="node {kind}" data-node="{box.number}"><title>{escape(printable(told))}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{box.height / 2:.0f}"/>'
        f'<text x="{box.x}" y="{box.y}">{escape(box.label)}</text></g>'
    )
