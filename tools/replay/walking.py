"""``replay --step``: a run's history event by event, with what each one changed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...events.directory import RunRow
from ...events.envelope import Envelope
from ...events.machines import StepStatus
from ...events.store import Store
from ...events.upcasters import to_event
from ...projections.catchup import load_run
from ...projections.run import Run
from ..board import counts
from ..show import event_json, show_event
from ..terminal import COLOURS, clean, is_terminal, paint, print_json, terminal_width

NAMED = 8
"""Steps of one change that are named; more are counted."""
MOST_DIGITS = 12
"""Of a version that is typed."""
HELP = "Enter: next, b: back, g: go to a version, e: to the end, q: leave"


class Walk:
    """A run that is folded event by event."""

    def __init__(self, store: Store, row: RunRow, after: int = 0) -> None:
        self._store, self._row = store, row
        self.run: Run = load_run(store, row.run_id, snapshots=False, until=max(1, after))
        self._events = store.read(row.stream, after)
        self._fresh = after == 0

    def forward(self) -> tuple[Envelope, list[str]] | None:
        """Fold the next event; it, and what it changed. None at the end."""
        e = next(self._events, None)
        if e is None:
            return None
        if self._fresh:  # the fold begins with it
            self._fresh = False
            return e, ["new -> pending", *_ready(self.run, range(len(self.run.state.steps)))]
        event = to_event(e)
        status, steps = self.run.state.status, [step.status for step in self.run.state.steps]
        self.run.apply(event, version=e.version, at=e.at, epoch=e.epoch)
        return e, list(_changes(self.run, event, status, steps))


def _changes(run: Run, event: Any, status: str, steps: list[StepStatus]) -> Iterator[str]:
    state, graph = run.state, run.graph
    if state.status != status:
        yield f"{status} -> {state.status}"
    name = getattr(event, "step", None)
    own = graph.index.get(name) if isinstance(name, str) else None
    concerned = range(len(steps)) if own is None or state.status != status else [own]
    moved = Counter[tuple[str, str]]()
    named: dict[tuple[str, str], list[str]] = {}
    for i in concerned:
        move = (str(steps[i]), str(state.steps[i].status))
        if move[0] != move[1]:
            moved[move] += 1
            named.setdefault(move, []).append(graph.name(i))
    for move, names in named.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{', '.join(names[:NAMED])}{more}: {move[0]} -> {move[1]}"
    if own is not None and state.steps[own].status is not steps[own]:
        yield from _ready(run, graph.dependents[own])


def _ready(run: Run, indices: Any) -> Iterator[str]:
    """Steps among these that wait for no other step any more."""
    steps = run.state.steps
    names = [
        run.graph.name(i)
        for i in indices
        if not steps[i].remaining and steps[i].status is StepStatus.PENDING
    ]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"may start: {', '.join(names[:NAMED])}{more}"


def walk(store: Store, row: RunRow, *, as_json: bool) -> None:
    """Go through a run's history: by keys on a terminal, else all of it."""
    if as_json or not (is_terminal(sys.stdout) and sys.stdin.isatty()):
        here = Walk(store, row)
        while stage := here.forward():
            e, changes = stage
            if as_json:
                print_json({**event_json(e), "changes": changes})
            else:
                _show(e, changes)
        return
    _by_keys(store, row)


def _show(e: Envelope, changes: list[str]) -> None:
    show_event(e, terminal_width(), as_json=False)
    for change in changes:
        print(clean(f"         {change}"))


def _by_keys(store: Store, row: RunRow) -> None:
    print(paint(HELP, "bright_black"))
    here, version, key = Walk(store, row), 0, "\n"
    with _keys() as read:
        while key not in ("q", "\x04", ""):
            if key == "b":
                here = Walk(store, row, max(0, version - 2))
            elif key == "g":
                here = Walk(store, row, _asked(read, version) - 1)
            if key in ("\r", "\n", " ", "n", "b", "g", "e"):
                version = _go(here, version, to_the_end=key == "e")
            key = read()


def _go(here: Walk, version: int, *, to_the_end: bool) -> int:
    """Show the next event, or all that are left; returns the version of the last one."""
    while stage := here.forward():
        version = stage[0].version
        _show(*stage)
        if not to_the_end:
            print(_counts(here.run))
            return version
    print(paint("the end: b goes back, q leaves", "bright_black"))
    return version


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Keys one by one, as they are pressed, also those that were before they are asked for."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSANOW)
    try:
        yield lambda: os.read(terminal, 1).decode(errors="replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _asked(read: Callable[[], str], version: int) -> int:
    """The version that somebody types; Enter alone: the present one."""
    sys.stdout.write(f"version [{version}]: ")
    typed = ""
    while True:
        sys.stdout.flush()
        key = read()
        if key in ("\r", "\n", "", "\x04"):
            print()
            return max(1, int(typed or version))
        if key in "\x7f\b" and typed:
            typed = typed[:-1]
            sys.stdout.write("\b \b")
        elif key.isascii() and key.isdigit() and len(typed) < MOST_DIGITS:
            typed += key
            sys.stdout.write(key)


def _counts(run: Run) -> str:
    told = ", ".join(f"{number} {status}" for status, number in counts(run).items())
    return paint(f"         {run.status}: ", COLOURS.get(run.status)) + told
