"""``explain``: why a run or a step is where it is, for people and for machines."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from ...events.directory import RunRow
from ...events.errors import nearest
from ...events.lines import LogLine, Wanted
from ...events.store import Store
from ...projections.catchup import load_run
from ...projections.explanation import StepStory, Told, explain
from ...projections.run import Run
from ..finding import holder
from ..lines import line_json, show_line
from ..terminal import (
    COLOURS,
    BadInput,
    clean,
    command,
    heading,
    moment,
    paint,
    print_json,
    terminal_width,
)

MANY = 20
"""Steps, and events of one, that are told without being asked for."""
LAST_LINES = 5
"""Of a failed attempt."""


def show(store: Store, row: RunRow, step: str | None, *, everything: bool, as_json: bool) -> None:
    """Why a run is where it is, or ``step`` alone. Raises BadInput: there is no such step."""
    run = load_run(store, row.run_id)
    names = run.graph.index
    if step is not None and step not in names:
        hint = nearest(step, names) or f"; its steps: {', '.join(list(names)[:MANY])}"
        raise BadInput(f"run {row.run_id} ({row.name}) has no step {step!r}{hint}")
    found = explain(run, store.read(row.stream), time.time_ns(), store.run, step)
    lines = {story.name: _last_lines(store, run, story) for story in found.steps}
    if as_json:
        plain = msgspec.to_builtins(found)
        for story in plain["steps"]:
            story["log"] = list(map(line_json, lines[story["name"]]))
        print_json(plain)
        return
    status = paint(found.status, COLOURS.get(found.status))
    print(f"{heading(clean(found.name))}  {found.run_id}  {status}")
    _show_reasons(found.because)
    if row.status.active and holder(store, row) is None:
        go_on = command("recover", row.run_id, log=store.location)
        print(f"  {paint('nobody executes it', 'yellow')}: its process has ended; {go_on}")
    if step is None:
        _show_history(found.history, everything)
    shown = found.steps if everything else found.steps[:MANY]
    for story in shown:
        status = paint(story.status, COLOURS.get(story.status))
        print(f"\n{heading('step')} {clean(story.name)}  {status}")
        _show_reasons(story.because)
        _show_history(story.history, everything)
        if lines[story.name]:
            print("  and its last attempt said:")
        for line in lines[story.name]:
            show_line(line, False, "    ")
    if len(shown) < len(found.steps):
        print(f"\nand {len(found.steps) - len(shown):,} more steps of note (--all tells them)")


def _last_lines(store: Store, run: Run, story: StepStory) -> list[LogLine]:
    """What the newest attempt at a step said last, if it failed."""
    step = run.step(story.name)
    if step.error is None:
        return []
    wanted = Wanted(story.name, step.attempt)
    return store.lines.newest(run.run_id, LAST_LINES, wanted=wanted)


def _show_reasons(because: Sequence[str]) -> None:
    for reason in because:
        for number, line in enumerate(reason.splitlines() or [""]):
            print(clean(f"  {'' if number == 0 else '  '}{line}"))


def _show_history(history: Sequence[Told], everything: bool) -> None:
    """The beginning and the end, which say most."""
    chosen = list(history)
    left = 0 if everything else max(0, len(chosen) - MANY)
    width = terminal_width()
    for number, told in enumerate(chosen):
        if left and MANY // 2 <= number < MANY // 2 + left:
            if number == MANY // 2:
                print(f"    ... {left:,} more events (--all tells them)")
            continue
        at = f"{moment(told.at)}.{told.at // 10**6 % 1000:03d}"
        line = clean(f"    {at}  {' '.join(told.text.split())}")
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")
