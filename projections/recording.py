"""Recorded runs as files, which later code must still understand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..events.directory import stream_of
from ..events.envelope import Envelope, NewEvent, first_break
from ..events.errors import LogCorrupt
from ..events.memory import MemoryStore
from ..events.pipeline import PipelineSubmitted
from ..events.sealed_store import as_stored
from ..events.store import Batch, Store
from ..events.upcasters import to_event
from .catchup import load_run
from .run import Run


def record(store: Store, run_id: str, path: Path) -> None:
    """Write a run to a file of JSON Lines: first its summary, then an envelope a line.

    Raises:
        RunNotFound: No such run.
        FileExistsError: ``path`` exists; recordings are kept as they are.
    """
    store = as_stored(store)
    run = load_run(store, run_id, snapshots=False)
    head: dict[str, Any] = {"run": run_id, "summary": summary(run)}
    envelopes = list(store.read(run.stream))
    submitted = to_event(envelopes[0])
    if isinstance(submitted, PipelineSubmitted) and submitted.definition.artifact is not None:
        head["definition"] = store.artifacts.get(submitted.definition.artifact).decode()
    with path.open("x", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in (_json(head), *map(line_of, envelopes)))


def replay(path: Path) -> dict[str, Any]:
    """Fold a file of :func:`record` with the code of today.

    Returns:
        The summary of the run.

    Raises:
        AssertionError: It is not the one that was recorded; the message says what differs.
        LogCorrupt: The file is damaged, or is no recording.
        IllegalTransition, UnknownEvent: Today's code cannot fold what happened then.
    """
    store, run_id, expected = restored(path)
    run = load_run(store, run_id)
    differing = differing_from(expected, run)
    if differing:
        raise AssertionError(f"{path} folds to something else now:\n" + "\n".join(differing))
    return _plain_summary(run)


def differing_from(expected: dict[str, Any], run: Run) -> list[str]:
    """What a run comes to now that is not what was recorded."""
    found = _plain_summary(run)
    return [
        f"{key}: recorded {expected.get(key)!r}, now {found.get(key)!r}"
        for key in {**expected, **found}
        if expected.get(key) != found.get(key)
    ]


def _plain_summary(run: Run) -> dict[str, Any]:
    """As it stands in a file."""
    return dict(json.loads(_json(summary(run))))


def restored(path: Path) -> tuple[MemoryStore, str, dict[str, Any]]:
    """A log with the run in a file of :func:`record`, its id, and the summary that it had.

    Raises:
        LogCorrupt: The file is damaged, or is no recording.
        OSError: It cannot be read.
    """
    try:
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        head = json.loads(first)
        envelopes = list(map(envelope_of, rest))
        run_id, expected = head["run"], head["summary"]
    except (ValueError, KeyError, TypeError) as error:
        raise LogCorrupt(f"{path} is no recording of a run: {error!r}") from error
    broken = first_break(envelopes)
    if broken:
        raise LogCorrupt(f"{path}: {broken[1]}")
    store = MemoryStore()
    if "definition" in head:
        store.artifacts.put(head["definition"].encode())
    for e in envelopes:
        event = NewEvent(e.type, e.schema, e.payload, e.encoding)
        store.append([Batch(stream_of(run_id), e.version - 1, e.epoch, e.actor, e.at, [event])])
    return store, run_id, expected


def summary(run: Run) -> dict[str, Any]:
    """What a run has come to, in words that outlive the code that folds it."""
    state = run.state
    return {
        "status": str(run.status),
        "events": state.version,
        "completed": state.completed,
        "failed": len(state.failed),
        "skipped": state.skipped,
        "cancelled": state.cancelled,
        "retried": state.retried,
        "metrics": state.metrics,
        "cause": state.cause and str(state.cause),
        "steps": {
            run.graph.name(i): [str(step.status), step.attempt]
            for i, step in enumerate(state.steps)
        },
    }


def line_of(envelope: Envelope) -> str:
    """An envelope as a line of JSON: its payload the text as stored, its digest in hex."""
    fields = {name: getattr(envelope, name) for name in envelope.__struct_fields__}
    return _json(fields | {"payload": envelope.payload.decode(), "digest": envelope.digest.hex()})


def envelope_of(line: str) -> Envelope:
    """The inverse of :func:`line_of`. Raises ValueError, KeyError or TypeError."""
    fields = json.loads(line)
    fields |= {"payload": fields["payload"].encode(), "digest": bytes.fromhex(fields["digest"])}
    return Envelope(**fields)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
