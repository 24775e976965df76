"""``replay``: projections built anew from the events, and the state of any moment."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from ...events.directory import RunRow
from ...events.store import Store
from ...projections.catchup import load_run
from ...projections.rebuilding import Rebuilt, rebuilt
from ...projections.recording import differing_from
from ...projections.status import Report, report
from ..show import show_report
from ..terminal import clean, heading, moment, paint, print_json, print_table
from .moments import Moment, narrowed, row_at


def rebuild(store: Store, row: RunRow, summary: dict[str, Any] | None, *, as_json: bool) -> int:
    """Build all projections of a run anew and compare; the exit status, 1 if something differs.

    Args:
        summary: What the run had come to when it was recorded to a file, if it was.
    """
    found = list(rebuilt(store, row.run_id))
    if summary is not None:
        differing = differing_from(summary, load_run(store, row.run_id))
        told = f"{summary.get('status')}, {summary.get('events')} events"
        found.append(Rebuilt("recording", told, problem="; ".join(differing) or None))
    differs = any(one.problem for one in found)
    if as_json:
        names = {"run_id": row.run_id, "name": row.name}
        print_json({**names, "same": not differs, "projections": found})
        return int(differs)
    print(f"{heading(clean(row.name))}  {row.run_id}")
    lines = [
        (one.what, one.told, one.problem or ("the same" if one.stored else "built anew"))
        for one in found
    ]
    print_table(("projection", "from the events", "what is stored"), lines)
    verdict = paint("differs", "red") if differs else paint("the same", "green")
    print(f"replayed: {verdict}")
    return int(differs)


def show_then(store: Store, row: RunRow, when: str, *, everything: bool, as_json: bool) -> None:
    """The state of a run after a version, or at a time."""
    then = narrowed(store, row, when)
    told = report_at(store, then)
    if as_json:
        print_json({"version": then.version, "at": then.at, **msgspec.to_builtins(told)})
        return
    print(f"as of version {then.version}, {moment(then.at)}")
    show_report(told, everything)


def report_at(store: Store, then: Moment) -> Report:
    """What ``status`` would have said then, of the runs of its steps, too."""
    return report(then.run(store), then.at, partial(row_at, store, at=then.at))
