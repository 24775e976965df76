"""A run's attempts over time as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from ...projections.timeline import Attempt
from ..gantt import TICKS, UNHARMED, Bars, label, remark, span_of
from ..terminal import seconds
from .style import cut, escaped, state_class, svg

NAMES, REMARKS = 190, 170
"""Pixels left and right of the bars."""
ROOM = 600
"""Pixels of the bars."""
ROW, HEAD = 22, 26
APART = 75
"""Pixels between two ticks, at least."""


def timeline_svg(
    rows: Sequence[Bars], shown: Sequence[Bars], now: int, *, styled: bool = True
) -> str:
    """The chart of ``shown``, over the time that all ``rows`` took.

    Args:
        now: Until when what runs has run, ns.
        styled: With its own style sheet, for a file of its own.
    """
    begin, end = span_of(rows, now)
    scale = ROOM / (end - begin)
    height = HEAD + ROW * len(shown) + 6
    body = _axis(begin, end, height)
    for number, bars in enumerate(shown):
        body += _row(bars, HEAD + ROW * number, begin, scale, now)
    width = NAMES + ROOM + REMARKS
    return svg(width, height, body, f"timeline of {len(shown)} steps", styled=styled)


def _axis(begin: int, end: int, height: float) -> str:
    span = (end - begin) / 1e9
    tick = next((one for one in TICKS if span / one <= ROOM / APART), TICKS[-1])
    body, number = "", 0
    while number * tick <= span:
        x = NAMES + number * tick / span * ROOM
        body += f'<line class="grid" x1="{x:.1f}" y1="18" x2="{x:.1f}" y2="{height - 4:g}"/>'
        body += f'<text class="dim" x="{x + 2:.1f}" y="13">{label(number * tick, tick)}</text>'
        number += 1
    return body


def _row(bars: Bars, y: float, begin: int, scale: float, now: int) -> str:
    body = f"<g><title>{escaped(bars.step)}</title>"
    body += f'<text x="0" y="{y + 15:g}">{escaped(cut(bars.step, 28))}</text></g>'
    ends = [*(attempt.start for attempt in bars.attempts[1:]), bars.waits_until]
    for attempt, until in zip(bars.attempts, ends, strict=True):
        if attempt.end and until:
            x1, x2 = (NAMES + (at - begin) * scale for at in (attempt.end, until))
            body += (
                f'<line class="wait" x1="{x1:.1f}" y1="{y + 11:g}" x2="{x2:.1f}" y2="{y + 11:g}"/>'
            )
    body += "".join(_bar(attempt, y, begin, scale, now) for attempt in bars.attempts)
    told = escaped(cut(remark(bars, now), 26))
    return f'{body}<text class="dim" x="{NAMES + ROOM + 8}" y="{y + 15:g}">{told}</text>'


def _bar(attempt: Attempt, y: float, begin: int, scale: float, now: int) -> str:
    end = attempt.end or now
    x, width = NAMES + (attempt.start - begin) * scale, max(2.0, (end - attempt.start) * scale)
    facts = [
        f"{attempt.step}, attempt {attempt.attempt}{' with its fallback' * attempt.fallback}",
        f"{attempt.outcome.replace('_', ' ')}, {seconds((end - attempt.start) / 1e9)}",
        f"on {attempt.worker}" if attempt.worker else "",
        attempt.error or "",
    ]
    harmed = "" if attempt.outcome in UNHARMED else " bad"
    return (
        f"<g><title>{escaped('; '.join(one for one in facts if one))}</title>"
        f'<rect class="{state_class(attempt.outcome)}{harmed}" x="{x:.1f}" y="{y + 4:g}" '
        f'width="{width:.1f}" height="{ROW - 8}" rx="2"/></g>'
    )
