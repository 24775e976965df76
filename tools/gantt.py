"""A run's attempts over time, drawn in lines: what ``timeline`` shows."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..events.directory import RunRow
from ..events.machines import StepStatus
from ..events.store import Store
from ..projections.catchup import load_run
from ..projections.run import Run, StepState
from ..projections.timeline import Attempt, Timeline, timeline
from .terminal import COLOURS, clean, columns_of, fitted, heading, paint, print_json, seconds

COLOUR = {
    **COLOURS,
    "timed_out": "red",
    "interrupted": "yellow",
    "abandoned": "red",
    "undone": COLOURS["compensated"],
    "not_undone": COLOURS["compensation_failed"],
}
"""By the outcome of an attempt."""
FULL, LEFT, RIGHT = "━", "╺", "╸"
"""A cell of a bar: all of it, and its halves."""
WAIT, GRID, BROKEN = "┄", "┊", "x"
"""Waiting between two attempts, a tick of the axis, and the end of an attempt without success."""
UNHARMED = ("completed", "running", "skipped", "suspended", "undone")
"""Outcomes that nobody need look at."""
TICKS = (
    *(factor * 10.0**power for power in range(-6, 0) for factor in (1, 2, 5)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
    *(86400.0 * days for days in (1, 2, 7, 14, 28, 91, 182, 364, 1820, 3640, 36400)),
)
"""Distances between two ticks that people can count in, in seconds."""
LABEL = 11
"""Columns between two ticks, at least."""

Cell = tuple[str, str | None]


class Bars(msgspec.Struct):
    """A step with its attempts, in order, and until when it waits for the next one, and how."""

    step: str
    attempts: list[Attempt]
    waits_until: int = 0
    waits: str = ""

    def spent(self, now: int) -> int:
        """Nanoseconds in all attempts."""
        return sum((attempt.end or now) - attempt.start for attempt in self.attempts)


def show_timeline(store: Store, row: RunRow, *, limit: int, as_json: bool) -> None:
    """A Gantt chart of a run, or an object with its attempts."""
    run, told = load_run(store, row.run_id), timeline(store.read(row.stream))
    if as_json:
        print_json(_as_json(run, told))
        return
    now = run.state.ended_at or time.time_ns()
    rows = bars_of(run, told, now)
    status = paint(run.status, COLOURS.get(run.status))
    print(f"{heading(clean(run.state.name))}  {run.run_id}  {status}")
    if not rows:
        print("no step has started")
        return
    shown = choose(rows, limit, now)
    width = shutil.get_terminal_size((100, 24)).columns
    for line in chart(shown, span_of(rows, now), now, width):
        print(line)
    if len(shown) < len(rows):
        print(f"and {len(rows) - len(shown):,} shorter steps (--limit shows more)")
    waiting = len(run.state.steps) - len(rows)
    if waiting:
        print(f"{waiting:,} {'step has' if waiting == 1 else 'steps have'} not started")


def _as_json(run: Run, told: Timeline) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.state.name,
        "status": run.status,
        "attempts": told.attempts,
        "milestones": [{"at": at, "type": kind} for at, kind in told.milestones],
    }


def bars_of(run: Run, told: Timeline, now: int) -> list[Bars]:
    """The attempts by step, in the order of their first start."""
    found: dict[str, Bars] = {}
    for attempt in told.attempts:
        found.setdefault(attempt.step, Bars(attempt.step, [])).attempts.append(attempt)
    for bars in found.values():
        bars.waits = _waits(run.step(bars.step))
        bars.waits_until = now if bars.waits else 0
    return list(found.values())


def _waits(step: StepState) -> str:
    if step.status is StepStatus.PENDING and step.fallback:
        return "falling back"
    waits = (StepStatus.RETRYING, StepStatus.WAITING, StepStatus.SUSPENDED)
    return str(step.status) if step.status in waits else ""


def choose(rows: Sequence[Bars], limit: int, now: int) -> list[Bars]:
    """The longest ones, and before them those without success, in the order they had."""
    if len(rows) <= limit:
        return list(rows)
    order = sorted(
        rows,
        key=lambda bars: (bars.attempts[-1].outcome in UNHARMED, -bars.spent(now)),
    )
    chosen = {bars.step for bars in order[:limit]}
    return [bars for bars in rows if bars.step in chosen]


def span_of(rows: Sequence[Bars], now: int) -> tuple[int, int]:
    """The first start and the last end."""
    ends = [attempt.end or now for bars in rows for attempt in bars.attempts]
    begin = min(bars.attempts[0].start for bars in rows)
    return begin, max(*ends, *(bars.waits_until for bars in rows), begin + 1)


def chart(rows: Sequence[Bars], span: tuple[int, int], now: int, width: int) -> Iterator[str]:
    """The lines of the chart, ``width`` columns wide.

    Args:
        span: The time it shows, which is also that of the rows that are left out.
    """
    names = [clean(bars.step) for bars in rows]
    remarks = [remark(bars, now) for bars in rows]
    left = min(max(map(columns_of, names)), max(8, width // 4))
    right = max(map(columns_of, remarks))
    room = max(10, width - left - right - 4)
    scale = Scale(*span, room)
    yield paint(f"{' ' * left}  {scale.labels()}".rstrip(), "bright_black")
    for bars, name, text in zip(rows, names, remarks, strict=True):
        line = "".join(_joined(draw(bars, scale, now)))
        yield f"{fitted(name, left)}  {line}  {text}".rstrip()


def remark(bars: Bars, now: int) -> str:
    """How long the step took and, unless all went well, how it ended."""
    last = bars.attempts[-1]
    told = seconds(bars.spent(now) / 1e9)
    if len(bars.attempts) > 1:
        told += f" in {len(bars.attempts)}"
    if last.fallback:
        told += " with fallback"
    if bars.waits:
        return f"{told} {bars.waits}"
    return told if last.outcome == "completed" else f"{told} {last.outcome.replace('_', ' ')}"


class Scale:
    """From times to the columns of the chart."""

    def __init__(self, begin: int, end: int, room: int) -> None:
        self.begin, self.span, self.room = begin, (end - begin) / 1e9, room
        most = max(1, room // LABEL)
        self.tick = next((tick for tick in TICKS if self.span / tick <= most), TICKS[-1])

    def half(self, at: int) -> int:
        """The place of a time in half columns."""
        share = (at - self.begin) / 1e9 / self.span
        return min(2 * self.room, max(0, round(share * 2 * self.room)))

    def ticks(self) -> Iterator[tuple[int, float]]:
        """Columns of the ticks, with their seconds from the start."""
        for number in range(int(self.span / self.tick + 1e-9) + 1):
            column = int(number * self.tick / self.span * self.room)
            if column < self.room:
                yield column, number * self.tick

    def labels(self) -> str:
        """The line above the chart."""
        line = ""
        for column, after in self.ticks():
            text = label(after, self.tick)
            if column + len(text) <= self.room and column >= len(line):
                line = line.ljust(column) + text
        return line


def label(after: float, tick: float) -> str:
    """A time of the axis, as exact as the distance of the ticks asks for."""
    if after == 0:
        return "0"
    if tick >= 86400:
        return f"{after / 86400:.0f} d"
    if tick >= 3600:
        return f"{after / 3600:.0f} h"
    if tick >= 60:
        hours, minutes = divmod(round(after / 60), 60)
        return f"{hours} h {minutes:02d}" if hours else f"{minutes} min"
    if after >= 60:
        return f"{int(after) // 60} min {round(after) % 60:02d}"
    if tick >= 1:
        return f"{after:.0f} s"
    digits = next(digits for digits in range(1, 8) if tick >= 0.999 * 10.0**-digits)
    return f"{after:.{digits}f} s"


def draw(bars: Bars, scale: Scale, now: int) -> list[Cell]:
    """The cells of a row: grid, waiting, and over them the attempts."""
    row: list[Cell] = [(" ", None)] * scale.room
    for column, _ in scale.ticks():
        row[column] = (GRID, "bright_black")
    ends = [*(attempt.start for attempt in bars.attempts[1:]), bars.waits_until]
    for attempt, until in zip(bars.attempts, ends, strict=True):
        if attempt.end and until:
            for column in range(scale.half(attempt.end) // 2, -(-scale.half(until) // 2)):
                row[column] = (WAIT, "yellow")
    for attempt in bars.attempts:
        _draw_attempt(row, attempt, scale, now)
    return row


def _draw_attempt(row: list[Cell], attempt: Attempt, scale: Scale, now: int) -> None:
    first, last = scale.half(attempt.start), scale.half(attempt.end or now)
    first = min(first, 2 * scale.room - 1)
    last = max(last, first + 1)  # however short: something is seen
    colour = COLOUR.get(attempt.outcome)
    for column in range(first // 2, (last + 1) // 2):
        begins, ends = first <= 2 * column, last >= 2 * column + 2
        row[column] = (FULL if begins and ends else RIGHT if begins else LEFT, colour)
    if attempt.outcome not in UNHARMED:
        row[(last - 1) // 2] = (BROKEN, colour)


def _joined(row: Sequence[Cell]) -> Iterator[str]:
    """The row with each run of one colour painted at once."""
    start = 0
    for i in range(1, len(row) + 1):
        if i == len(row) or row[i][1] != row[start][1]:
            yield paint("".join(cell for cell, _ in row[start:i]), row[start][1], sys.stdout)
            start = i
