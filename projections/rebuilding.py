"""Every projection of a run built anew from its events alone, and compared with what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import msgspec

from ..events.directory import RunRow, advance, concerns, stream_of
from ..events.envelope import Envelope, NewEvent, first_break
from ..events.errors import LogCorrupt, PipelineError
from ..events.sealed_store import as_stored
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


class _Stored(msgspec.Struct):
    """What a log holds of a run besides its events, at one moment."""

    version: int
    row: RunRow | None
    views: dict[str, list[dict[str, Any]] | str | None]
    """None where there is none; why it cannot be read."""


def rebuilt(store: Store, run_id: str) -> Iterator[Rebuilt]:
    """Build all projections of a run anew. What cannot be built is told, and does not raise; of a
    run that goes on, all is as it was at one moment.

    Raises:
        LogError: What is stored cannot be read.
    """
    stored = _stored(store, run_id)
    events = as_stored(store).read(stream_of(run_id))
    envelopes = list(takewhile(lambda e: e.version <= stored.version, events))
    broken = first_break(envelopes)
    yield Rebuilt("chain", f"{len(envelopes):,} events", problem=broken and broken[1])
    try:
        run = load_run(store, run_id, snapshots=False, until=stored.version)
    except PipelineError as error:
        yield Rebuilt("state", "cannot be folded", problem=str(error))
        return
    yield _state(run)
    yield _directory(stored.row, envelopes)
    yield _snapshot(store, run.stream)
    yield from _views(stored, run, envelopes)
    attempts = len(timeline(envelopes).attempts)
    yield Rebuilt("timeline", f"{attempts:,} attempts", stored=False)


def _stored(store: Store, run_id: str) -> _Stored:
    stream = stream_of(run_id)
    with store.inspect() as inspection:
        found = (row for row in inspection.rows() if isinstance(row, RunRow))
        row = next((row for row in found if row.run_id == run_id), None)
        version = inspection.version(stream)
        views: dict[str, list[dict[str, Any]] | str | None] = {}
        for name in ("runs", "steps", "failures"):
            try:
                views[name] = inspection.view(name, run_id)
            except LogCorrupt as error:  # an event of any run that is no JSON
                views[name] = str(error)
        return _Stored(version, row, views)


def _state(run: Run) -> Rebuilt:
    """It must survive a snapshot, or recovery would go on from another one."""
    state = run.state
    again = from_snapshot(run.run_id, run.graph.definition, take_snapshot(run))
    told = f"{run.status}, {state.completed:,} of {len(state.steps):,} steps completed"
    differs = "it is another one after a snapshot" if again.state != state else None
    return Rebuilt("state", told, stored=False, problem=differs)


def _directory(row: RunRow | None, envelopes: list[Envelope]) -> Rebuilt:
    made: RunRow | None = None
    for e in envelopes:
        if concerns(e.type):
            event = NewEvent(e.type, e.schema, e.payload, e.encoding)
            made = advance(made, e.stream, e.at, e.epoch, event)
    differing = [
        f"{name} is {getattr(row, name, None)!r}, by the events {getattr(made, name)!r}"
        for name in RunRow.__struct_fields__
        if getattr(row, name, None) != getattr(made, name)
    ]
    return Rebuilt("directory", str(made and made.status), problem="; ".join(differing) or None)


def _snapshot(store: Store, stream: str) -> Rebuilt:
    kept = store.load_snapshot(stream)
    if kept is None or kept.fold != FOLD:
        told = "there is none" if kept is None else f"of another fold ({kept.fold}), not used"
        return Rebuilt("snapshot", told, stored=False)
    fault = next(snapshot_faults(store, [stream]), None)
    told, problem = f"of version {kept.version}", fault.problem if fault else None
    return Rebuilt("snapshot", told, problem=problem)


def _views(stored: _Stored, run: Run, envelopes: list[Envelope]) -> Iterator[Rebuilt]:
    expected: dict[str, dict[Any, Any]] = {
        "runs": {run.run_id: str(run.status)},
        "steps": _steps(run),
        "failures": _failures(envelopes),
    }
    for name, rows in stored.views.items():
        if isinstance(rows, str):
            yield Rebuilt(f"view {name}", "cannot be read", problem=rows)
        elif rows is not None:
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
