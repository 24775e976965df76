"""Every projection of a run built anew from its events alone, and compared with what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..events.directory import RunRow, advance, concerns
from ..events.envelope import Envelope, NewEvent, first_break
from ..events.errors import PipelineError
from ..events.store import Store
from ..events.upcasters import to_event
from .catchup import from_snapshot, load_run, take_snapshot
from .consistency import snapshot_faults
from .run import FOLD, Run
from .timeline import timeline

FAILURES = (
    "StepFailed",
    "StepTimedOut",
    "StepCompensationFailed",
    "StepCompensationRetryScheduled",
)
"""Events that the view ``failures`` shows."""


class Rebuilt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A projection that was built anew.

    Args:
        what: Its name.
        told: What it comes to.
        stored: Whether there is something stored that it was compared with.
        problem: How that differs, or why it could not be built.
    """

    what: str
    told: str
    stored: bool = True
    problem: str | None = None


def rebuilt(store: Store, row: RunRow) -> Iterator[Rebuilt]:
    """Build all projections of a run anew. What cannot be built is told, and does not raise."""
    envelopes = list(store.read(row.stream))
    broken = first_break(envelopes)
    yield Rebuilt("chain", f"{len(envelopes):,} events", problem=broken and broken[1])
    try:
        run = load_run(store, row.run_id, snapshots=False)
    except PipelineError as error:
        yield Rebuilt("state", "cannot be folded", problem=str(error))
        return
    yield _state(run)
    yield _directory(row, envelopes)
    yield _snapshot(store, row)
    yield from _views(store, row, run, envelopes)
    attempts = len(timeline(envelopes).attempts)
    yield Rebuilt("timeline", f"{attempts:,} attempts", stored=False)


def _state(run: Run) -> Rebuilt:
    """It must survive a snapshot, or recovery would go on from another one."""
    state = run.state
    again = from_snapshot(run.run_id, run.graph.definition, take_snapshot(run))
    told = f"{run.status}, {state.completed:,} of {len(state.steps):,} steps completed"
    differs = "it is another one after a snapshot" if again.state != state else None
    return Rebuilt("state", told, stored=False, problem=differs)


def _directory(row: RunRow, envelopes: list[Envelope]) -> Rebuilt:
    made: RunRow | None = None
    for e in envelopes:
        if concerns(e.type):
            event = NewEvent(e.type, e.schema, e.payload, e.encoding)
            made = advance(made, e.stream, e.at, e.epoch, event)
    differing = [
        f"{name} is {getattr(row, name)!r}, by the events {getattr(made, name)!r}"
        for name in row.__struct_fields__
        if getattr(row, name) != getattr(made, name)
    ]
    return Rebuilt("directory", str(made and made.status), problem="; ".join(differing) or None)


def _snapshot(store: Store, row: RunRow) -> Rebuilt:
    kept = store.load_snapshot(row.stream)
    if kept is None or kept.fold != FOLD:
        told = "there is none" if kept is None else f"of another fold ({kept.fold}), not used"
        return Rebuilt("snapshot", told, stored=False)
    fault = next(snapshot_faults(store, [row.stream]), None)
    return Rebuilt(
        "snapshot", f"of version {kept.version}", problem=fault.problem if fault else None
    )


def _views(store: Store, row: RunRow, run: Run, envelopes: list[Envelope]) -> Iterator[Rebuilt]:
    with store.inspect() as inspection:
        views = ("runs", "steps", "failures")
        try:
            found = {name: inspection.view(name, row.run_id) for name in views}
        except PipelineError as error:
            yield Rebuilt("views", "cannot be read", problem=str(error))
            return
    expected: dict[str, dict[Any, Any]] = {
        "runs": {row.run_id: str(run.status)},
        "steps": _steps(run),
        "failures": _failures(envelopes),
    }
    for name, rows in found.items():
        if rows is not None:
            told = f"{len(expected[name]):,} rows"
            yield Rebuilt(f"view {name}", told, problem=_differing(expected[name], name, rows))


def _steps(run: Run) -> dict[str, tuple[str, int | None]]:
    """Of steps that something has happened to."""
    return {
        run.graph.name(i): (str(step.status), step.attempt or None)
        for i, step in enumerate(run.state.steps)
        if step.attempt
    }


def _failures(envelopes: list[Envelope]) -> dict[int, tuple[str, str]]:
    told = (e for e in envelopes if e.type in FAILURES)
    return {e.version: (event.step, event.error.message) for e in told for event in [to_event(e)]}


def _differing(expected: dict[Any, Any], name: str, rows: list[dict[str, Any]]) -> str | None:
    if name == "runs":
        shown = {row["run_id"]: row["status"] for row in rows}
    elif name == "steps":
        # Steps that never began have a row only if an event of their own says so.
        shown = {row["step"]: (row["status"], row["attempt"]) for row in rows if row["attempt"]}
    else:
        shown = {row["version"]: (row["step"], row["message"]) for row in rows}
    differing = [
        f"{key}: {shown.get(key)!r}, by the events {expected.get(key)!r}"
        for key in {**expected, **shown}
        if shown.get(key) != expected.get(key)
    ]
    return "; ".join(differing[:3]) + ("; ..." if len(differing) > 3 else "") or None
