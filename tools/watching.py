"""Watching runs that go on somewhere: a board on a terminal, lines or JSON anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

import msgspec

from ..events.directory import RunRow
from ..events.machines import PipelineStatus
from ..events.store import Store
from ..projections.status import report
from .board import board, counts, pace, runs_table
from .finding import holder
from .follow import Follower
from .live import REFRESH, PlainView, progress_line
from .terminal import clean, command, complain, is_terminal, print_json, seconds

GOING = [status for status in PipelineStatus if status.active or status is PipelineStatus.PENDING]
LISTED = 100
"""Running steps that a JSON object has."""


class Watch(Protocol):
    """Shows what is watched. A reader who has gone ends it: OSError."""

    def add(self, follower: Follower) -> None:
        """One more run is watched."""

    def update(self) -> None:
        """Show how the runs are doing now."""

    def close(self) -> None:
        """Leave the terminal as it was, with the last picture on it."""


def watch(store: Store, row: RunRow, *, as_json: bool) -> int:
    """Follow a run to its end; returns the exit status."""
    follower = Follower(store, row.run_id)
    view = _view(store, as_json, several=False)
    view.add(follower)
    lost = False
    try:
        while True:
            view.update()
            if _over(follower):
                break
            lost = lost or _tell_if_lost(store, row.run_id, isinstance(view, BoardView))
            time.sleep(REFRESH)
    finally:
        view.close()
    return 0 if follower.status is PipelineStatus.COMPLETED else 1


def watch_all(store: Store, *, as_json: bool) -> int:
    """Follow all runs that go on, also those that begin meanwhile, until none is left."""
    followers: dict[str, Follower] = {}
    view = _view(store, as_json, several=True)
    try:
        while True:
            for row in reversed(store.runs(statuses=GOING, roots=True)):
                if row.run_id not in followers:
                    followers[row.run_id] = Follower(store, row.run_id)
                    view.add(followers[row.run_id])
            view.update()
            if all(map(_over, followers.values())):
                break
            time.sleep(REFRESH)
    finally:
        view.close()
    if not followers and not as_json:
        print(f"no run goes on in {store.location}")
    return 0


def _over(follower: Follower) -> bool:
    status = follower.status
    return status is not None and (status.finished or status is PipelineStatus.STOPPED)


def _tell_if_lost(store: Store, run_id: str, shown: bool) -> bool:
    """Say once that nobody executes a run, where the board does not."""
    row = store.run(run_id)
    if shown or row is None or not row.status.active or holder(store, row) is not None:
        return False
    go_on = command("recover", run_id, log=store.location)
    complain("warning", f"nobody executes the run; go on with: {go_on}")
    return True


def _view(store: Store, as_json: bool, *, several: bool) -> Watch:
    if as_json:
        return JsonView()
    if is_terminal(sys.stdout):
        return BoardView(store, several=several)
    return LinesView(several=several)


class BoardView:
    """The board, drawn anew where it stands."""

    def __init__(self, store: Store, *, several: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._store, self._several = store, several
        self._followers: list[Follower] = []
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def add(self, follower: Follower) -> None:
        self._followers.append(follower)

    def update(self) -> None:
        for follower in self._followers:
            follower.catch_up()
        width, height = self._console.size
        if self._several:
            picture = runs_table(self._followers, height)
        else:
            picture = board(self._store, self._followers[0], width, height)
        self._live.update(picture, refresh=True)

    def close(self) -> None:
        self._live.stop()


class LinesView:
    """What ``run`` writes where there is no terminal, on standard output."""

    def __init__(self, *, several: bool) -> None:
        self._plain = PlainView([], sys.stdout)
        self._followers: list[Follower] = []
        self._several = several
        self._ended: set[str] = set()

    def add(self, follower: Follower) -> None:
        now = follower.progress()
        if now is not None:
            print(clean(f"run {now.run_id} ({now.name}): {progress_line(now)}"))
        self._followers.append(follower)
        self._plain.add(follower)

    def update(self) -> None:
        self._plain.tell()
        for follower in self._followers:
            now = follower.progress() if _over(follower) else None
            if now is not None and now.run_id not in self._ended:
                self._ended.add(now.run_id)
                done = f"{now.completed_steps}/{now.total_steps} steps"
                name = f"{now.run_id} ({now.name})" if self._several else now.name
                print(clean(f"{name} {now.status}: {done} in {seconds(now.elapsed)}"), flush=True)

    def close(self) -> None:
        """Nothing to leave."""


class JsonView:
    """An object for each change of a run's progress."""

    def __init__(self) -> None:
        self._followers: list[Follower] = []
        self._told: dict[str, Any] = {}

    def add(self, follower: Follower) -> None:
        self._followers.append(follower)

    def update(self) -> None:
        for follower in self._followers:
            follower.catch_up()
            if follower.run is None:
                continue
            state = follower.run.state
            changed = (state.version, state.status)
            if self._told.get(follower.run_id) != changed:
                self._told[follower.run_id] = changed
                print_json(as_object(follower))
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing to leave."""


def as_object(follower: Follower) -> dict[str, Any]:
    """A run's progress, with its states and the pace of its running steps, for machines."""
    run, now = follower.run, follower.progress()
    assert run is not None  # a run that is watched is recorded
    assert now is not None
    running: list[dict[str, Any]] = []
    for step in report(run, time.time_ns(), follower.store.run).steps if now.running_steps else ():
        if step.status == "running" and len(running) < LISTED:
            speed, left = pace(follower, step)
            facts = ("name", "attempt", "seconds", "done", "total", "message")
            told = {name: getattr(step, name) for name in facts}
            running.append({**told, "per_second": speed, "remaining": left})
    speed = now.completed_steps / now.elapsed if now.elapsed else None
    plain: dict[str, Any] = msgspec.to_builtins(now)
    return {**plain, "steps_per_second": speed, "states": counts(run), "running": running}
