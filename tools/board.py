"""The board that ``watch`` shows: a run at a glance, and below it the steps worth a look.

A run may have 10,000 steps and a terminal 24 lines: what fails, runs or waits to be tried again
comes first, and the rest is counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..events.machines import StepStatus
from ..events.store import Store
from ..projections.progress import Progress
from ..projections.run import Run
from ..projections.status import StepReport, report
from .finding import holder
from .follow import Follower
from .terminal import COLOURS, amount, clean, columns_of, command, rate, seconds

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.measure import Measurement
    from rich.text import Text

DIM = "bright_black"
HEADER = 7
"""Lines above the steps, at the most."""
BELOW = 3
"""Lines below them: what is left out, and the shell's prompt in the end."""
ENDED = 6
"""Completed steps that are shown where there is no room for all."""
SHARES = (
    (StepStatus.FAILED, 1 / 4),
    (StepStatus.RUNNING, 1 / 2),
    (StepStatus.RETRYING, 1 / 4),
    (StepStatus.COMPENSATION_FAILED, 1 / 4),
    (StepStatus.COMPENSATING, 1 / 4),
    (StepStatus.SUSPENDED, 1 / 4),
    (StepStatus.WAITING, 1 / 6),
    (StepStatus.COMPENSATED, 1 / 8),
    (StepStatus.PENDING, 1 / 6),
    (StepStatus.CANCELLED, 1 / 8),
    (StepStatus.SKIPPED, 1 / 8),
)
"""How much of the room the steps in each state may take; completed ones come last."""
WORDS = {
    "pending": "waiting",
    "waiting": "queued",
    "compensating": "undoing",
    "compensated": "undone",
    "compensation_failed": "not undone",
}
"""What people call some of the states: all that is pending waits, some of it in a queue."""
_UNDONE = (StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED)


class Bar:
    """A bar as wide as its place, in parts of several colours.

    Args:
        parts: How much, its colour, and the character that tells it where there are no colours.
    """

    def __init__(self, parts: Iterable[tuple[float, str, str]]) -> None:
        self.parts = list(parts)

    def text(self, width: int) -> Text:
        """The bar, ``width`` columns wide."""
        from rich.text import Text

        bar, total, passed, drawn = Text(), sum(part[0] for part in self.parts) or 1, 0.0, 0
        for size, style, character in self.parts:
            passed += size
            # Rounded down, so that only what is complete looks complete.
            end = width if passed >= total else int(width * passed / total)
            bar.append(character * (end - drawn), style)
            drawn = end
        return bar

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(4, options.max_width)


def board(store: Store, follower: Follower, width: int, height: int) -> RenderableType:
    """A run on so many columns and lines."""
    from rich.console import Group

    run, now = follower.run, follower.progress()
    if run is None or now is None:
        return ""
    steps = report(run, time.time_ns(), store.run).steps
    room = max(3, height - HEADER - BELOW)
    chosen = choose(run, steps, room)
    parts: list[RenderableType] = [*_header(store, run, now), _steps(follower, chosen, width)]
    if len(chosen) < len(steps):
        parts.append(_line((f"and {len(steps) - len(chosen):,} more steps", DIM)))
    return Group(*parts)


def choose(run: Run, steps: Sequence[StepReport], room: int) -> list[StepReport]:
    """All steps where there is room for them, else those worth a look."""
    if len(steps) <= room:
        return list(steps)
    chosen: list[StepReport] = []
    for status, share in SHARES:
        found = [step for step in steps if step.status is status]
        if status is StepStatus.PENDING:  # those that could start come before the others
            found.sort(key=lambda step: not (step.waits_for or "").startswith("a free worker"))
        chosen += found[: max(1, int(room * share))]
    ended = [i for i, step in enumerate(run.state.steps) if step.status is StepStatus.COMPLETED]
    ended.sort(key=lambda i: run.state.steps[i].version, reverse=True)
    chosen += [steps[i] for i in ended[:ENDED]]
    return chosen[:room]


# The run


def _header(store: Store, run: Run, now: Progress) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    row = store.run(run.run_id)
    member = None if row is None else holder(store, row)
    head: list[tuple[str, str]] = [
        (clean(now.name), "bold"), (f"  {now.status}  ", COLOURS.get(now.status, "")),
        (clean(now.run_id), DIM),
    ]  # fmt: skip
    if member is not None:
        head.append((f", process {member.pid} on {clean(member.host)}", DIM))
    yield _line(*head)
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(run_bar(run), f"{now.percentage:.0f} %")
    yield grid
    yield _line((figures(now), ""))
    yield _states(run)
    hint = _hint(store, now, lost=now.status.active and member is None)
    if hint:
        yield Text(hint, "yellow")  # wraps: it is there to be copied
    yield ""


def run_bar(run: Run) -> Bar:
    """How many steps are in which state, as a bar."""
    state = run.state
    undone = sum(step.status in _UNDONE for step in state.steps)
    undoing = sum(step.status is StepStatus.COMPENSATING for step in state.steps)
    rest = state.unfinished - len(state.running) + undoing
    return Bar([
        (state.completed - undone - undoing, "green", "━"), (undone, "yellow", "┄"),
        (state.skipped, "yellow", "━"),
        (len(state.failed) + state.cancelled, "red", "x"),
        (len(state.running), "cyan", "╍"), (rest, DIM, "─"),
    ])  # fmt: skip


def figures(now: Progress) -> str:
    """``12/40 steps, 3.1 s, 3.9 steps/s, about 7.2 s left``."""
    told = f"{now.completed_steps:,}/{now.total_steps:,} steps, {seconds(now.elapsed)}"
    if now.completed_steps and now.elapsed:
        told += f", {rate(now.completed_steps / now.elapsed).replace('/', ' steps/')}"
    if now.estimated_remaining is not None and now.status == "running":
        told += f", about {seconds(now.estimated_remaining)} left"
    return told


def counts(run: Run) -> dict[str, int]:
    """How many steps are in which state, in the order of a step's life."""
    found = Counter(step.status for step in run.state.steps)
    return {str(status): found[status] for status in StepStatus if found[status]}


def _states(run: Run) -> RenderableType:
    words = []
    for status, count in counts(run).items():
        words += [(f"{count:,} {WORDS.get(status, status)}", COLOURS.get(status, "")), ("  ", "")]
    return _line(*words)


def _hint(store: Store, now: Progress, *, lost: bool) -> str:
    if lost:
        go_on = command("recover", now.run_id, log=store.location)
        return clean(f"nobody executes it; go on with: {go_on}")
    if now.status in ("paused", "stopped", "failed", "rollback_failed"):
        return clean(f"go on with: {command('resume', now.run_id, log=store.location)}")
    return ""


def _line(*parts: tuple[str, str]) -> RenderableType:
    from rich.text import Text

    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


# The steps


def _steps(follower: Follower, steps: Sequence[StepReport], width: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    names = [_name(step) for step in steps]
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    longest = max(map(columns_of, names), default=1)
    grid.add_column(width=min(longest, width // 3), no_wrap=True, overflow="ellipsis")
    grid.add_column(width=9, no_wrap=True)
    if any(step.total for step in steps if step.status is StepStatus.RUNNING):
        grid.add_column(width=10 if width < 120 else 24)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for step, name in zip(steps, names, strict=True):
        word = WORDS.get(step.status, step.status)
        cells = [Text(name), Text(word, COLOURS.get(step.status, DIM))]
        if len(grid.columns) == 4:
            cells.append(_bar(step))
        grid.add_row(*cells, Text(remark(follower, step)))
    return grid


def _name(step: StepReport) -> str:
    attempt = f" (attempt {step.attempt})" if step.attempt > 1 else ""
    return clean(step.name) + attempt


def _bar(step: StepReport) -> Any:
    if step.status is not StepStatus.RUNNING or not step.total or step.done is None:
        return ""
    done = min(max(step.done, 0), step.total)
    return Bar([(done, "cyan", "━"), (step.total - done, DIM, "─")])


def pace(follower: Follower, step: StepReport) -> tuple[float | None, float | None]:
    """A running step's items per second and the seconds it still needs, as far as is known."""
    if step.status is not StepStatus.RUNNING or not step.done or step.seconds <= 0:
        return None, None
    said_at = follower.progressed_at.get(step.name)
    since = 0.0 if said_at is None else max(0.0, (time.time_ns() - said_at) / 1e9)
    worked = step.seconds - since
    speed = step.done / (worked if worked > 0 else step.seconds)  # said of an earlier attempt
    return speed, max(0.0, (step.total - step.done) / speed - since) if step.total else None


def remark(follower: Follower, step: StepReport) -> str:
    """How far a step is, what it waits for, or how it ended."""
    parts = []
    if step.status is StepStatus.RUNNING:
        if step.done is not None:
            of = f"/{amount(step.total)}" if step.total else ""
            parts.append(f"{amount(step.done)}{of}")
        parts.append(seconds(step.seconds))
        speed, left = pace(follower, step)
        if speed is not None:
            parts.append(rate(speed))
        if left is not None:
            parts.append(f"{seconds(left)} left")
        if step.message:
            parts.append(step.message)
    elif step.waits_for:
        told = step.waits_for
        parts.append(told if told.startswith("retry") else f"for {told}")
        if step.error:
            parts.append(step.error)
    elif step.status is StepStatus.FAILED and step.error:
        parts.append(step.error)
    elif step.seconds:
        parts.append(seconds(step.seconds))
    return clean(", ".join(parts))


# Several runs


def runs_table(followers: Sequence[Follower], height: int) -> RenderableType:
    """A line for each run, and how many there are besides."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=10, no_wrap=True)
    grid.add_column(ratio=2)
    grid.add_column(width=5, justify="right", no_wrap=True)
    grid.add_column(ratio=5, no_wrap=True, overflow="ellipsis")
    room = max(1, height - 2)
    for follower in followers[:room]:
        run, now = follower.run, follower.progress()
        if run is None or now is None:
            continue
        grid.add_row(
            Text.assemble((clean(now.name), "bold"), (f" {clean(now.run_id)}", DIM)),
            Text(str(now.status), COLOURS.get(now.status, "")),
            run_bar(run),
            f"{now.percentage:.0f} %",
            Text(figures(now)),
        )
    if len(followers) > room:
        grid.add_row(Text(f"and {len(followers) - room:,} more runs", DIM))
    return grid
