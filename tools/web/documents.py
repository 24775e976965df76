"""What the page is told, as plain data. Times are milliseconds since 1970, durations seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ...events.codec import Value, text_of
from ...events.directory import RunRow
from ...events.envelope import Envelope
from ...events.errors import PipelineError
from ...events.lines import LogLine, said
from ...events.machines import StepStatus
from ...events.redaction import hidden_at
from ...events.sealing import visible
from ...events.store import Store
from ...projections.metrics import metrics
from ...projections.progress import progress
from ...projections.run import Run
from ...projections.status import StepReport, report
from ...projections.timeline import Attempt
from ..board import SHARES
from ..drawing.layout import layered
from .bundles import bundles

STATES = tuple(StepStatus)
ATTENTION = 150
"""Steps of a run of which more is told than their state."""
PREVIEW = 2000
"""Most characters of a value that are shown."""
LARGEST = 2**20
"""Bytes of a value up to which its beginning is read at all."""
MEASURED = frozenset(
    {
        *("total_time", "memory_used", "step_durations"),
        *("steps_executed", "steps_failed", "steps_skipped", "steps_retried"),
    }
)
"""Metrics of the engine; the others are counters of the steps."""

Document = dict[str, Any]


def ms(at: int) -> float | None:
    """A time; None for never."""
    return at / 1e6 if at else None


def row_of(row: RunRow, *, lost: bool, done: tuple[int, int, int] | None) -> Document:
    """A line of the list of runs; ``done``: steps completed, in all and failed, where known."""
    return {
        "id": row.run_id,
        "name": row.name,
        "status": row.status,
        "submitted": ms(row.submitted_at),
        "changed": ms(row.changed_at),
        "parent": row.parent,
        "lost": lost,
        "done": done,
    }


def state_of(
    run: Run,
    now: int,
    runs: Callable[[str], RunRow | None],
    expected: Mapping[str, float] | None = None,
) -> Document:
    """A run at a moment (ns); a letter tells the state of each step."""
    told, state = report(run, now, runs), run.state
    measured = metrics(run, now)
    letters = {status: chr(97 + i) for i, status in enumerate(STATES)}
    return {
        "id": run.run_id,
        "version": state.version,
        "name": told.name,
        "status": told.status,
        "drained": told.drained,
        "queue": told.queue,
        "epoch": state.epoch,
        "owner": state.owner,
        "parent": told.parent,
        "encoding": told.encoding,
        "error": told.error,
        "traceback": state.cause.traceback if state.cause else None,
        "on_failure": state.on_failure,
        "priority": state.priority,
        "warnings": state.warnings,
        "submitted": ms(state.submitted_at),
        "started": ms(state.started_at),
        "ended": ms(state.ended_at),
        "deadline": ms(state.deadline or 0),
        "progress": progress(run, now, expected),
        "counts": Counter(step.status for step in state.steps),
        "states": "".join(letters[step.status] for step in told.steps),
        "seconds": [round(step.seconds, 4) for step in told.steps],
        "attempts": {i: step.attempt for i, step in enumerate(told.steps) if step.attempt > 1},
        "attention": _attention(told.steps),
        "counters": {k: v for k, v in measured.items() if k not in MEASURED},
        "figures": {k: v for k, v in measured.items() if k in MEASURED and k != "step_durations"},
        "awaits": [name for name, steps in state.awaiting.items() if steps],
        "signals": {name: len(values) for name, values in state.signals.items() if values},
    }


def _attention(steps: tuple[StepReport, ...]) -> list[Document]:
    """The steps worth a look, in the order of the definition."""
    chosen: set[int] = set()
    by_status: dict[StepStatus, list[int]] = {}
    for i, step in enumerate(steps):
        by_status.setdefault(step.status, []).append(i)
    for status, share in SHARES:
        chosen.update(islice(by_status.get(status, ()), max(1, int(ATTENTION * share))))
    return [{"i": i, **_remarks(steps[i])} for i in sorted(chosen)]


def _remarks(step: StepReport) -> Document:
    names = ("waits_for", "error", "done", "total", "message", "run_id")
    told = {name: getattr(step, name) for name in names}
    return {name: value for name, value in told.items() if value is not None}


def graph_of(run: Run) -> Document:
    """The steps of a run, and where their boxes stand: in columns (x) and rows (y), 1 apart."""
    graph = run.graph
    boxes = bundles(graph)
    names = [str(number) for number in range(len(boxes))]
    box_of = [0] * len(graph)
    for number, members in enumerate(boxes):
        for i in members:
            box_of[i] = number
    between: Counter[tuple[str, str]] = Counter(
        (names[box_of[j]], names[box_of[i]])
        for i, before in enumerate(graph.dependencies)
        for j in before
        if box_of[i] != box_of[j]
    )
    found = layered(names, between)
    return {
        "steps": [step.name for step in graph.definition.steps],
        "types": [step.type for step in graph.definition.steps],
        "pipelines": [i for i, step in enumerate(graph.definition.steps) if step.pipeline],
        "boxes": boxes,
        "places": [found.places[name] for name in names],
        "edges": found.edges,
        "ends": [[int(a), int(b)] for a, b in between],
        "columns": found.layers,
        "rows": found.rows,
    }


def bar_of(place: int, attempt: Attempt, index: int, grants: Mapping[str, float]) -> list[Any]:
    """An attempt as a bar: number, step, attempt, from, until, outcome, worker, kind, error, what
    it was granted."""
    kind = "fallback" if attempt.fallback else "undoes" if attempt.undoes else ""
    return [
        *(place, index, attempt.attempt, ms(attempt.start), ms(attempt.end)),
        *(attempt.outcome, attempt.worker, kind, attempt.error, grants or None),
    ]


def event_of(envelope: Envelope, store: Store) -> Document:
    """A recorded event; large values by the beginning of their text."""
    payload = visible(envelope)
    return {
        "version": envelope.version,
        "at": ms(envelope.at),
        "type": envelope.type,
        "step": payload.pop("step", None),
        "actor": envelope.actor,
        "epoch": envelope.epoch,
        "digest": envelope.digest.hex(),
        "payload": payload,
    }


def line_of(line: LogLine) -> Document:
    """What a handler has said."""
    try:
        fields = said(line)
    except PipelineError as error:
        fields = {"event": str(error)}
    return {
        "id": line.id,
        "at": ms(line.at),
        "level": line.level,
        "step": line.step,
        "attempt": line.attempt,
        "item": line.item,
        "event": str(fields.pop("event", "")),
        "fields": fields,
    }


def preview(value: Value | None, store: Store) -> Document | None:
    """A value by its size and the beginning of its JSON text; it is not made into an object."""
    if value is None:
        return None
    if hidden_at(value) is not None:
        return {"size": 0, "artifact": None, "error": "it is encrypted, and its key is not here"}
    size = value.size if value.artifact else len(value.inline)
    told: Document = {"size": size, "artifact": value.artifact}
    if size > LARGEST:
        return told
    try:
        text = text_of(value, store.artifacts).decode(errors="replace")
    except PipelineError as error:
        return {**told, "error": str(error)}
    return {**told, "text": text[:PREVIEW], "cut": len(text) > PREVIEW}
