"""A plot of the results: what a step takes here, at the floor and with others, logarithmically."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

from .catalogue import Group
from .measuring import Results
from .report import time_of

SHOWN = ("chain", "normal", "fan", "replay", "cold")
LEFT, RIGHT, ROW = 190, 520, 20
COLOURS = {"ours": "#2563eb", "floor": "#9ca3af"}


def svg(results: Results, groups: Mapping[str, Group]) -> str:
    """Bars, group by group; each decade is equally wide."""
    body, y = list[str](), 10
    for name in SHOWN:
        sides = results.figures.get(name)
        if sides:
            title = _title(groups[name])
            body.append(f'<text x="10" y="{y + 14}" font-weight="bold">{title}</text>')
            y += ROW + 4
            medians = {side: results.median(f"{name}/{side}/us") or 0.0 for side in sides}
            body += _bars(medians, y)
            y += ROW * len(medians) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + RIGHT + 90} {y}" '
        'font-family="sans-serif" font-size="12" fill="#374151">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _title(group: Group) -> str:
    return escape(group.title.replace("`", ""))


def _bars(medians: Mapping[str, float], y: int) -> Iterator[str]:
    least = math.floor(math.log10(min(medians.values())))
    decades = max(1, math.ceil(math.log10(max(medians.values()))) - least)
    for side, median in medians.items():
        width = RIGHT * (math.log10(median) - least) / decades
        colour = COLOURS.get(side, "#d97706" if not side.startswith("ours") else "#93c5fd")
        yield f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(side)}</text>'
        yield f'<rect x="{LEFT}" y="{y + 3}" width="{width:.0f}" height="14" fill="{colour}"/>'
        yield f'<text x="{LEFT + width + 6:.0f}" y="{y + 14}">{time_of(median)}</text>'
        y += ROW
