"""What is seen of runs while they go on: bars on a terminal, lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..events import pipeline as p
from ..events import step as s
from ..events.upcasters import Event
from ..projections.progress import Progress
from ..projections.run import Run
from .follow import Follower
from .terminal import COLOURS, PROGRAM, amount, clean, is_terminal, paint, seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH = 0.25
"""Seconds between two looks at the log."""
SHOWN = 8
"""Runs, and steps of a run, that get a bar."""
FEW = 60
"""Steps of a run up to which every one that ends gets a line."""


class View(Protocol):
    """Shows runs while they go on."""

    @property
    def interval(self) -> float | None:
        """Seconds between two updates; None when there is nothing to update."""
        ...

    def update(self) -> None:
        """Show what has happened since."""
        ...

    def close(self) -> None:
        """Show the rest and leave the terminal as it was. Closing twice does nothing."""
        ...


def view_of(followers: Sequence[Follower], *, quiet: bool) -> View:
    """The view that suits standard error. ``quiet``: no lines, only what a terminal can take."""
    if is_terminal(sys.stderr):
        return TerminalView(followers)
    return SilentView() if quiet else PlainView(followers)


class SilentView:
    """Shows nothing."""

    interval = None

    def update(self) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to leave."""


class PlainView:
    """Lines: one for each step that ends, or, for a large run, at most one a second."""

    interval = REFRESH

    def __init__(self, followers: Sequence[Follower], stream: IO[str] | None = None) -> None:
        self._followers = list(followers)
        self._stream = stream or sys.stderr
        self._told_at = 0.0
        self._told: dict[str, str] = {}
        self._begun: set[str] = set()

    def update(self) -> None:
        with suppress(OSError):  # nobody reads; the run matters more
            self.tell()

    def close(self) -> None:
        with suppress(OSError):
            self.tell(last=True)
        self._followers.clear()

    def add(self, follower: Follower) -> None:
        """Show one more run."""
        self._followers.append(follower)

    def tell(self, *, last: bool = False) -> None:
        """As ``update`` or, at the ``last``, ``close``. Raises OSError: nobody reads."""
        due = last or time.monotonic() - self._told_at >= 1
        for follower in self._followers:
            for event in follower.news():
                self._tell(follower, event)
            now = follower.progress() if due else None
            if now is not None and now.total_steps > FEW:
                self._tell_progress(follower, now)
        if due:
            self._told_at = time.monotonic()
        self._stream.flush()

    def _tell(self, follower: Follower, event: Event) -> None:
        run = follower.run
        assert run is not None  # there are no events before it is recorded
        steps = len(run.state.steps)
        if run.run_id not in self._begun:
            self._begun.add(run.run_id)
            self._say(follower, clean(f"run {run.run_id} ({run.state.name}), {steps} steps"))
        line = _line(event, run, large=steps > FEW)
        if line:
            self._say(follower, line)

    def _tell_progress(self, follower: Follower, now: Progress) -> None:
        line = progress_line(now)
        if self._told.get(follower.run_id) != line:
            self._told[follower.run_id] = line
            self._say(follower, line)

    def _say(self, follower: Follower, line: str) -> None:
        prefix = f"{follower.run_id}: " if len(self._followers) > 1 else ""
        self._stream.write(f"{prefix}{line}\n")


def progress_line(now: Progress) -> str:
    """``12/40 steps, 30 %, parse running``."""
    line = f"{now.completed_steps}/{now.total_steps} steps, {now.percentage:.0f} %"
    if now.failed_steps:
        line += f", {now.failed_steps} failed"
    running = now.running_steps
    if running:
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        line += f", {', '.join(map(clean, running[:3]))}{more} running"
    elif not now.status.finished:
        line += f", {now.status}"
    return line


def _line(event: Event, run: Run, *, large: bool) -> str | None:
    """An event as a line; None for what needs none."""
    tell = _LINES.get(type(event))
    if tell is None or (large and isinstance(event, s.StepCompleted)):
        return None
    return clean(tell(event, run))


def _completed(event: s.StepCompleted, run: Run) -> str:
    done = f"{run.state.completed}/{len(run.state.steps)}"
    return f"{event.step} completed in {seconds(event.duration)} ({done})"


def _retried(event: s.StepRetryScheduled, run: Run) -> str:
    return f"{event.step}: retry {event.retry} in {seconds(event.delay)}"


def _suspended(event: s.StepSuspended, run: Run) -> str:
    waits = f"run {event.run}" if event.run is not None else "its alarm"
    if event.signal is not None:
        waits = f"the signal {event.signal}"
    return f"{event.step} waits for {waits}"


def _skipped(event: s.StepSkipped, run: Run) -> str:
    """What is skipped because of another step goes without saying."""
    return f"{event.step} skipped: its condition is false" if event.attempt else ""


_LINES: dict[type[Any], Callable[[Any, Run], str]] = {
    s.StepCompleted: _completed,
    s.StepFailed: lambda event, run: f"{event.step} failed: {event.error}",
    s.StepTimedOut: lambda event, run: f"{event.step} timed out: {event.error}",
    s.StepRetryScheduled: _retried,
    s.StepFallbackScheduled: lambda event, run: f"{event.step}: its fallback is next",
    s.StepSuspended: _suspended,
    s.StepWoken: lambda event, run: f"{event.step} goes on",
    s.StepSkipped: _skipped,
    s.StepCompensated: lambda event, run: f"{event.step} undone",
    s.StepCompensationFailed: lambda event, run: f"{event.step} not undone: {event.error}",
    s.StepInterrupted: lambda event, run: f"{event.step} was interrupted and starts again",
    s.StepCancelled: lambda event, run: f"{event.step} cancelled ({event.how})",
    p.PipelinePauseRequested: lambda event, run: "pausing",
    p.PipelinePaused: lambda event, run: f"paused; go on with: {PROGRAM} resume {run.run_id}",
    p.PipelineResumed: lambda event, run: "resumed",
    p.PipelineQueued: lambda event, run: f"back in queue {run.state.queue}",
    p.PipelineStopRequested: lambda event, run: "stopping",
    p.PipelineCancelRequested: lambda event, run: "cancelling",
    p.PipelineDeadlineExceeded: lambda event, run: "the deadline has passed",
    p.PipelineRollbackStarted: lambda event, run: "undoing what was done",
    p.SignalReceived: lambda event, run: f"signal {event.name}",
}


class TerminalView:
    """Bars: one for each run, and below it those of its running steps."""

    interval = REFRESH

    def __init__(self, followers: Sequence[Follower]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._followers = followers
        self._live: Live | None = Live(
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=is_terminal(sys.stdout),
        )
        self._live.start()

    def update(self) -> None:
        if self._live is None:
            return
        for follower in self._followers:
            follower.catch_up()
        with suppress(OSError):  # the terminal is gone; the run matters more
            self._live.update(self._render(), refresh=True)

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()

    def _render(self) -> RenderableType:
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        grid.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=24)
        grid.add_column(ratio=4, no_wrap=True, overflow="ellipsis")
        grid.expand = True
        going = [one for one in self._followers if one.run and not one.run.status.finished]
        for follower in going[:SHOWN]:
            _add_run(grid, follower)
        if len(going) > SHOWN:
            grid.add_row(f"and {len(going) - SHOWN} more runs")
        return grid


def _add_run(grid: Any, follower: Follower) -> None:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    run, now = follower.run, follower.progress()
    if run is None or now is None:
        return
    name = Text.assemble((clean(now.name), "bold"), (f" {clean(now.run_id)}", "bright_black"))
    figures = f"{now.completed_steps}/{now.total_steps}  {seconds(now.elapsed)}"
    if now.estimated_remaining is not None and now.status == "running":
        figures += f", about {seconds(now.estimated_remaining)} left"
    if now.failed_steps:
        figures += f", {now.failed_steps} failed"
    if now.status == "paused":
        figures += f"  paused; go on with: {PROGRAM} resume, or Ctrl-C to leave"
    elif now.status != "running":
        figures += f"  {now.status}"
    style = COLOURS.get(now.status, "cyan")
    bar = ProgressBar(total=now.total_steps or 1, completed=_finished(run), complete_style=style)
    grid.add_row(name, bar, Text(figures))
    for i in list(run.state.running)[:SHOWN]:
        grid.add_row(*_step_row(run, i))
    if len(run.state.running) > SHOWN:
        grid.add_row(Text(f"  and {len(run.state.running) - SHOWN} more", "bright_black"))


def _finished(run: Run) -> int:
    return run.state.completed + run.state.skipped


def _step_row(run: Run, i: int) -> list[Any]:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    step = run.state.steps[i]
    attempt = f" (attempt {step.attempt})" if step.attempt > 1 else ""
    elapsed = seconds(max(0.0, (time.time_ns() - step.started_at) / 1e9))
    bar: Any = ""
    figures = elapsed
    if step.done is not None:
        figures = f"{amount(step.done)}  {elapsed}"
        if step.total:
            bar = ProgressBar(total=step.total, completed=min(step.done, step.total))
            figures = f"{amount(step.done)}/{amount(step.total)}  {elapsed}"
    if step.message:
        figures += f"  {clean(step.message)}"
    return [Text(f"  {clean(run.graph.name(i))}{attempt}"), bar, Text(figures, "bright_black")]


def text_bar(share: float, width: int = 30) -> str:
    """A bar of text for standard output; empty where nobody would see it as one."""
    if not is_terminal(sys.stdout) or os.environ.get("NO_COLOR"):
        return ""
    done = round(width * share)
    return f"{paint('━' * done, 'cyan')}{paint('━' * (width - done), 'bright_black')}  "
