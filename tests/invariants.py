"""What must hold of every log that a test leaves behind (DESIGN: invariants)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from semantica.pipeline.events.envelope import Envelope, first_break
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.store import Store
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.catchup import load_run

ENDS_ATTEMPT = {
    "StepCompleted",
    "StepFailed",
    "StepTimedOut",
    "StepYielded",
    "StepSuspended",
    "StepInterrupted",
    "StepCancelled",
    "StepSkipped",
    "StepCompensated",
    "StepCompensationFailed",
    "StepCompensationRetryScheduled",
}
ENDS_RUN = {
    "PipelineCompleted",
    "PipelineFailed",
    "PipelineCancelled",
    "PipelineRolledBack",
    "PipelineRollbackFailed",
}


def check_log(store: Store) -> None:
    """Check every run of a log, and that what is derived can be derived again."""
    rows = store.runs()
    for row in rows:
        check_history(list(store.read(row.stream)))
        replayed = load_run(store, row.run_id, snapshots=False)
        assert load_run(store, row.run_id).state == replayed.state, "snapshot plus tail differs"
        assert replayed.status == row.status, "the directory differs from the events"
        if row.status.finished:
            assert not replayed.state.running, "a finished run has steps in flight"
    store.rebuild()
    assert store.runs() == rows, "the rebuilt directory differs"


def check_history(envelopes: list[Envelope]) -> None:
    """Check one stream, event by event."""
    assert first_break(envelopes) is None
    epoch = 0
    attempts: dict[str, int] = defaultdict(int)
    open_attempts: dict[str, int] = {}
    completed: dict[str, None] = {}
    nested: set[str] = set()
    rolls_back = False
    for envelope in envelopes:
        assert envelope.epoch >= epoch, "an epoch fell"
        epoch = envelope.epoch
        event: Any = to_event(envelope)
        rolls_back = rolls_back or envelope.type == "PipelineRollbackStarted"
        if envelope.type in ("StepStarted", "StepCompensationStarted"):
            undoes = envelope.type == "StepCompensationStarted"
            assert undoes == rolls_back, "a rollback undoes, and nothing else does"
            done = event.step in completed
            # Of a step that is a pipeline something may have been done before it failed.
            part = undoes and event.step in nested
            assert part or done == undoes, f"step {event.step} is completed: {done}"
            assert event.step not in open_attempts, f"two attempts of {event.step} at once"
            assert event.attempt == attempts[event.step] + 1, "attempts must count up"
            attempts[event.step] = open_attempts[event.step] = event.attempt
        elif envelope.type in ENDS_ATTEMPT and (event.step in open_attempts or event.attempt):
            assert open_attempts.pop(event.step, None) == event.attempt, "an attempt ended twice"
            if envelope.type == "StepSuspended" and event.run is not None:
                nested.add(event.step)
            if envelope.type == "StepCompleted":
                completed[event.step] = None
            elif envelope.type == "StepCompensated" and event.step in completed:
                while completed.popitem()[0] != event.step:
                    pass  # steps after it that have nothing to undo
        elif envelope.type in ENDS_RUN:
            assert not open_attempts, "the run ended with attempts in flight"


def finished(status: str) -> bool:
    """Whether a status is one of an ended run."""
    return PipelineStatus(status).finished
