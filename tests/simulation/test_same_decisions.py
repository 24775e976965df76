"""Decisions taken anew: on whatever has happened, the same code decides the same."""

from __future__ import annotations

from simulation.simulator import simulate

from semantica.pipeline.engine.core.reconsidering import Recorded, reconsider
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.catchup import load_run

SEEDS = range(9000, 9050)
"""As many as take some two seconds."""


def test_the_same_code_decides_the_same_whatever_went_wrong() -> None:
    """Crashes, takeovers, retries, timeouts, signals, rollbacks, nested runs, resources."""
    kinds: set[str] = set()
    for seed in SEEDS:
        store = simulate(seed).world.store
        for row in store.runs():
            events = store.read(row.stream)
            history = [Recorded(e.version, e.at, e.epoch, to_event(e)) for e in events]
            kinds |= {type(one.event).__name__ for one in history}
            same = load_run(store, row.run_id).graph.definition
            found = reconsider(row.run_id, same, same, history)
            assert found is None, f"seed {seed}, run {row.run_id}: {found}"
    assert kinds >= {
        "StepRetryScheduled", "StepInterrupted", "StepTimedOut", "StepFallbackScheduled",
        "StepSuspended", "StepWoken", "StepQueued", "StepCompensated", "PipelineResumed",
        "PipelineCancelRequested", "StepCancelled", "StepSkipped", "SignalReceived",
    }  # fmt: skip
