"""A history whose contents nobody can read is still one: at every event it folds to the same."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.pipeline import PipelineErased
from semantica.pipeline.events.redaction import redacted
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.run import Run


def seen(run: Run) -> object:
    """What may be seen of a state."""
    state = run.state
    steps = [
        (one.status, one.attempt, one.retries, one.version, one.reason, one.done, one.child)
        for one in state.steps
    ]
    counts = (state.completed, state.skipped, state.cancelled, state.retried, state.order)
    times = (state.submitted_at, state.started_at, state.ended_at, state.deadline, state.undo_at)
    motion = (state.ready, state.running, state.retrying, state.waiting, state.suspended)
    waits = [sorted(map(sorted, state.awaiting.values())), sorted(map(len, state.signals.values()))]
    return state.status, state.epoch, steps, counts, times, motion, waits, state.undo, state.failed


def folds_the_same(definition: PipelineDefinition, history: Iterable[Envelope]) -> None:
    """Fold both, side by side, and then erase the one without contents."""
    open_ = Run("r", definition)
    closed: Run | None = None
    for e in history:
        event = to_event(e)
        body = definition if closed is None else None
        shown = redacted(event, "name of {}".format, f"r@{e.version}", body)
        if closed is None:
            skeleton = msgspec.json.decode(shown.definition.inline, type=PipelineDefinition)
            closed = Run("r", skeleton)
        for run, one in ((open_, event), (closed, shown)):
            run.apply(one, version=e.version, at=e.at, epoch=e.epoch)
        assert seen(closed) == seen(open_)
    assert closed is not None
    erased = PipelineErased("key", str(closed.status))
    closed.apply(erased, version=e.version + 1, at=e.at, epoch=e.epoch)
    assert closed.status is PipelineStatus.ERASED
