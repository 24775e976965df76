"""How runs, steps, events and results are shown, to people and to machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..engine.encrypting import is_readable
from ..engine.result import ExecutionResult
from ..engine.steps.corpus import KINDS, Corpus
from ..engine.steps.knowledge.graph import KnowledgeGraph
from ..events.directory import RunRow
from ..events.envelope import Envelope
from ..events.errors import PipelineError
from ..events.machines import PipelineStatus, StepStatus
from ..events.plain_reader import ENCRYPTED
from ..events.redaction import HIDDEN_TEXT
from ..events.sealing import visible
from ..events.store import Member, Store
from ..projections.catchup import load_run
from ..projections.progress import Progress, progress
from ..projections.status import Report, StepReport, report
from .erasing import encryption
from .finding import holder
from .follow import LARGE, durations_before
from .live import text_bar
from .terminal import (
    COLOURS,
    BadInput,
    amount,
    clean,
    command,
    complain,
    heading,
    moment,
    paint,
    print_json,
    print_table,
    seconds,
    terminal_width,
)

MANY = 100
"""Steps that ``status`` lists unless all are asked for."""
SHORT = 200
"""Most characters of an output in a summary."""
NOT_COUNTERS = frozenset(
    (
        *("total_time", "memory_used", "step_durations"),
        *("steps_executed", "steps_failed", "steps_skipped", "steps_retried"),
    )
)
"""Metrics that the engine measures; the others are counters of the steps."""
_URGENCY = (
    StepStatus.FAILED,
    StepStatus.COMPENSATION_FAILED,
    StepStatus.RUNNING,
    StepStatus.COMPENSATING,
    StepStatus.RETRYING,
    StepStatus.SUSPENDED,
    StepStatus.WAITING,
)

_FOR_GOOD = (PipelineStatus.CANCELLED, PipelineStatus.ROLLED_BACK, PipelineStatus.ERASED)
"""Ends after which nothing can go on."""


# Runs


def show_runs(store: Store, rows: Sequence[RunRow], as_json: bool) -> None:
    """A table of runs, or a JSON array."""
    if as_json:
        print_json([_run_json(row, holder(store, row)) for row in rows])
        return
    if not rows:
        print(f"no such runs in {store.location}")
        return
    width = terminal_width()
    brief = width is not None and width < 100
    lines, lost = [], False
    for row in rows:
        status = "queued" if row.status is PipelineStatus.PENDING else str(row.status)
        if row.status.active and holder(store, row) is None:
            status, lost = "lost" if brief else f"{status}, lost", True
        took = seconds((row.changed_at - row.submitted_at) / 1e9) if row.status.finished else ""
        submitted = moment(row.submitted_at, brief=brief)
        name = row.name if row.parent is None else f"{row.name}, within {row.parent}"
        lines.append((row.run_id, status, submitted, took, name))
    print_table(("run", "status", "submitted", "took", "pipeline"), lines, right=(3,), status=1)
    if lost:
        print(f"lost: the process has ended; go on with: {command('recover', log=store.location)}")


def _run_json(row: RunRow, member: Member | None) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return {**plain, "executed_by": _member_json(member)}


def _member_json(member: Member | None) -> dict[str, Any] | None:
    return None if member is None else {"host": member.host, "pid": member.pid, "id": member.id}


# The status of a run


def show_status(store: Store, row: RunRow, *, everything: bool, as_json: bool) -> None:
    """A run and its steps."""
    run, now = load_run(store, row.run_id), time.time_ns()
    told, member = report(run, now, store.run), holder(store, row)
    expected = durations_before(store, run) if len(told.steps) <= LARGE else None
    told = msgspec.structs.replace(told, progress=progress(run, now, expected))
    if as_json:
        plain = {**msgspec.to_builtins(told), "readable": is_readable(store, told.encoding)}
        print_json({**plain, "executed_by": _member_json(member)})
        return
    show_report(told, everything, _where(store, row, told, member))
    print(encryption(store, told), end="")
    if told.status in (PipelineStatus.PAUSED, PipelineStatus.STOPPED, PipelineStatus.FAILED):
        print(f"go on with: {command('resume', _to_resume(told), log=store.location)}")


def show_report(told: Report, everything: bool, where: str = "") -> None:
    """A run and its steps, for people; ``where``: who executes it."""
    around = f", a step of run {told.parent}" if told.parent else ""
    print(f"{heading(clean(told.name))}  {told.run_id}{around}")
    print(f"{paint(told.status, COLOURS.get(told.status))}{where}")
    print(f"{text_bar(told.progress.percentage / 100)}{_figures(told.progress)}")
    _show_steps(told.steps, everything)
    if told.error:
        print(f"{paint('error:', 'red')} {clean(told.error)}")


def _to_resume(told: Report) -> str:
    """A run that is a step of another one goes on with that one, unless it is paused alone."""
    paused = told.status is PipelineStatus.PAUSED
    return told.run_id if told.parent is None or paused else told.parent


def _where(store: Store, row: RunRow, told: Report, member: Member | None) -> str:
    if member is not None:
        return f", executed by process {member.pid} on {member.host}"
    if row.status is PipelineStatus.PENDING:
        from .queueing import place  # few runs are asked for while they wait

        return place(store, row)
    if row.status.active:
        go_on = command("recover", told.parent or told.run_id, log=store.location)
        return f", but nobody executes it; go on with: {go_on}"
    return ""


def _figures(now: Progress) -> str:
    text = f"{now.completed_steps}/{now.total_steps} steps, {now.percentage:.0f} %"
    if now.failed_steps:
        text += f", {now.failed_steps} failed"
    text += f", {seconds(now.elapsed)}"
    if now.estimated_remaining and now.status == "running":
        text += f", about {seconds(now.estimated_remaining)} left"
    return text


def _show_steps(steps: Sequence[StepReport], everything: bool) -> None:
    chosen = list(steps)
    if len(steps) > MANY and not everything:
        first = [step for step in steps if step.status in _URGENCY][:MANY]
        rest = [step for step in steps if step.status not in _URGENCY][: MANY - len(first)]
        names = {step.name for step in (*first, *rest)}
        chosen = [step for step in steps if step.name in names]
    rows = [
        (
            step.name,
            step.status,
            str(step.attempt or ""),
            seconds(step.seconds) if step.attempt else "",
            _remark(step),
        )
        for step in chosen
    ]
    headers = ("step", "state", "attempt", "time", "")
    print_table(headers, rows, right=(2, 3), status=1)
    if len(chosen) < len(steps):
        print(f"and {len(steps) - len(chosen)} more steps (--all lists them)")


def _remark(step: StepReport) -> str:
    """What a step waits for, how far it is, or why it failed."""
    parts = []
    if step.waits_for:
        parts.append(f"waits for {step.waits_for}")
    elif step.run_id:
        parts.append(f"run {step.run_id}")
    if step.error and step.status is not StepStatus.COMPLETED:
        parts.append(step.error)
    if step.done is not None and step.status is StepStatus.RUNNING:
        parts.append(amount(step.done) + (f"/{amount(step.total)}" if step.total else ""))
    if step.message and step.status is StepStatus.RUNNING:
        parts.append(step.message)
    return "; ".join(parts)


# Events


def show_event(envelope: Envelope, width: int | None, as_json: bool) -> None:
    """An event as a line.

    Args:
        width: Columns of the terminal; None where lines may be long.
    """
    if as_json:
        print_json(event_json(envelope))
        return
    payload = visible(envelope)
    wide = width is None or width >= 120
    at = moment(envelope.at)[0 if wide else 11 :] + f".{envelope.at // 10**6 % 1000:03d}"
    step = clean(str(payload.pop("step", "")))
    actor = f"  {clean(envelope.actor):<16}" if wide else ""
    line = f"{envelope.version:>5}  {at}  {envelope.type:<22}  {step:<14}{actor}  "
    text = line + clean(_short(payload))
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    print(paint(text, _EVENT_COLOURS.get(envelope.type)).rstrip())


def event_json(envelope: Envelope) -> dict[str, Any]:
    """The whole event, for machines."""
    plain = msgspec.structs.asdict(envelope)
    payload, digest = msgspec.json.decode(envelope.payload), envelope.digest.hex()
    return {**plain, "payload": payload, "digest": digest}


_EVENT_COLOURS = {
    "StepFailed": "red",
    "StepTimedOut": "red",
    "PipelineFailed": "red",
    "PipelineCancelled": "red",
    "StepInterrupted": "yellow",
    "StepRetryScheduled": "yellow",
    "StepFallbackScheduled": "yellow",
    "StepSuspended": "magenta",
    "SignalReceived": "magenta",
    "PipelineRollbackStarted": "yellow",
    "PipelineRolledBack": "red",
    "PipelineRollbackFailed": "red",
    "StepCompensationFailed": "red",
    "StepCompensationRetryScheduled": "yellow",
    "PipelineCompleted": "green",
    "PipelineErased": "red",
}


def _short(payload: dict[str, Any]) -> str:
    """``key=value`` for what is worth a look; large values by their size."""
    parts = []
    for key, value in payload.items():
        if key == "identity":  # a digest, which tells nobody anything
            continue
        if isinstance(value, dict) and "message" in value and "type" in value:
            value = f"{value['type']}: {value['message']}"
        elif isinstance(value, dict) and "artifact" in value:
            value = f"<{value.get('size', 0):,} bytes>"
        elif isinstance(value, dict) and set(value) == {"inline"}:
            value = value["inline"]
        if isinstance(value, dict) and value.get("!") == ENCRYPTED:
            value = HIDDEN_TEXT
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{key}={text if len(text) <= 60 else text[:59] + '…'}")
    return " ".join(parts)


# Results


def show_result(store: Store, result: ExecutionResult, as_json: bool) -> None:
    """How a run ended: on the first line, in figures, and what there is to say about it."""
    if as_json:
        names = ("run_id", "success", "errors", "warnings", "metrics")
        plain = {name: getattr(result, name) for name in names}
        print_json({**plain, "status": str(result.status), "pipeline": result.metadata["pipeline"]})
        return
    metrics = result.metrics
    total = len(load_run(store, result.run_id).state.steps)
    done = f"{metrics['steps_executed'] - metrics['steps_failed']}/{total} steps"
    for what in ("failed", "skipped", "retried"):
        if metrics[f"steps_{what}"]:
            done += f", {metrics[f'steps_{what}']} {what}"
    name = clean(str(result.metadata["pipeline"]))
    status = paint(str(result.status), COLOURS.get(result.status))
    print(f"{name} {status}: {done} in {seconds(metrics['total_time'])}")
    facts = {"run": result.run_id}
    facts |= {clean(k): amount(v) for k, v in metrics.items() if k not in NOT_COUNTERS}
    output = short_output(result) if result.success else ""
    if output:
        facts["output"] = output
    for key, value in facts.items():
        print(f"  {key:<{max(map(len, facts))}}  {value}")
    sys.stdout.flush()
    for warning in result.warnings:
        complain("warning", warning)
    for error in result.errors:
        complain("error", error)
    if not result.success and result.status not in _FOR_GOOD:
        go_on = command("resume", result.run_id, log=store.location)
        if store.location != ":memory:":
            print(f"  go on with: {go_on}")


def short_output(result: ExecutionResult) -> str:
    """The output in a line; empty when there is none."""
    try:
        output = result.output
    except PipelineError as error:
        return f"(cannot be read here: {clean(str(error))})"
    if output is None:
        return ""
    if isinstance(output, (Corpus, KnowledgeGraph)):
        return ", ".join(f"{count:,} {name}" for name, count in output.counts.items()) or "empty"
    text = clean(_brief().repr(output))
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def _brief() -> Any:
    """A ``repr`` that looks only at the beginning of large values, in their own order."""
    import reprlib
    from itertools import islice

    class Brief(reprlib.Repr):
        def repr_dict(self, items: dict[Any, Any], level: int) -> str:
            if level <= 0:
                return "{...}"
            inner = [
                f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
                for key, value in islice(items.items(), self.maxdict)
            ]
            return f"{{{', '.join(inner)}{', ...' if len(items) > self.maxdict else ''}}}"

    brief = Brief()
    brief.maxstring = brief.maxother = SHORT
    brief.maxdict = brief.maxlist = 8
    return brief


def write_output(result: ExecutionResult, file: str) -> None:
    """Write a run's output: JSON where it has a form in it, else what ``repr`` gives.

    A corpus becomes an object with the lists of its records, a graph one with nodes and edges.

    Raises:
        BadInput: The file cannot be written.
        PipelineError: The output cannot be read.
    """
    output = result.output
    if isinstance(output, Corpus):
        output = {name: list(output.collection(name)) for name in KINDS if name in output.counts}
    elif isinstance(output, KnowledgeGraph):
        output = {"nodes": output.nodes, "edges": output.edges}
    try:
        text = msgspec.json.format(msgspec.json.encode(output), indent=2).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = repr(output)
    try:
        Path(file).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadInput(f"cannot write the output to {file}: {error.strerror}") from error


def show_control(store: Store, row: RunRow, done: bool, as_json: bool) -> None:
    """What became of a control command."""
    running = len(load_run(store, row.run_id).state.running)
    if as_json:
        names = {"run_id": row.run_id, "name": row.name, "status": row.status}
        print_json({**names, "in_flight": running, "answered": done})
        return
    text = f"run {row.run_id} ({clean(row.name)}) is {row.status}"
    if not done:
        text += ": asked, but the process that executes it has not answered yet"
    elif running:
        text += f": {running} {'step' if running == 1 else 'steps'} in flight"
    print(text)
    if row.status in (PipelineStatus.PAUSED, PipelineStatus.STOPPED):
        print(f"go on with: {command('resume', row.run_id, log=store.location)}")


def show_handed(row: RunRow, member: Member, as_json: bool) -> None:
    """A command has gone to the process that executes the run."""
    if as_json:
        where = _member_json(member)
        print_json({"run_id": row.run_id, "name": row.name, "executed_by": where})
        return
    print(f"run {row.run_id} ({clean(row.name)}) goes on in process {member.pid} on {member.host}")
