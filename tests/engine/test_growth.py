"""Long runs: what snapshots write, and what is read after a crash, grow with the events, no faster.
Times and memory of a million events: tests/growth_long.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from semantica.pipeline import Context, Pipeline, PipelineStep
from semantica.pipeline.events.store import Batch, Snapshot
from semantica.pipeline.projections import catchup
from semantica.pipeline.testing import SimulatedCrash, SimulatedEngine

EVERY = 50
"""Fewest events between snapshots, here."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "SNAPSHOT_EVENTS", EVERY)
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 20)


def grow(data: object) -> int:
    return 1


def fan(width: int) -> Pipeline:
    middle = [PipelineStep(f"m{i}", "t", handler=grow, dependencies=["a"]) for i in range(width)]
    return Pipeline("fan", [PipelineStep("a", "t", handler=grow), *middle])


def items(count: int) -> Pipeline:
    def each(context: Context) -> int:
        return len(context.map(lambda item: item, range(count), workers=1))

    return Pipeline("items", [PipelineStep("all", "t", handler=each)])


@pytest.mark.parametrize("shape", [fan, items])
def test_snapshots_and_recovery_cost_in_proportion_to_the_events(
    shape: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (500, 2000):
        with SimulatedEngine() as engine:
            store = engine._open().store
            log = store._log
            kept: list[Snapshot] = []
            save = log.save_snapshot

            def note(stream: str, snapshot: Snapshot, save=save, kept=kept) -> None:  # type: ignore[no-untyped-def]
                kept.append(snapshot)
                save(stream, snapshot)

            monkeypatch.setattr(log, "save_snapshot", note)
            batches: list[Batch] = []
            append = log.append

            def commit(made, append=append, batches=batches, **more):  # type: ignore[no-untyped-def]
                batches.extend(made)
                return append(made, **more)

            monkeypatch.setattr(log, "append", commit)
            assert callable(shape)
            engine.crash_after("StepItemCompleted" if shape is items else "StepCompleted", size - 9)
            with pytest.raises(SimulatedCrash):
                engine.execute_pipeline(shape(size), run_id="long")
            head = log.head("run/long")
            assert head is not None
            events, newest = head.version, kept[-1]
            between = max(EVERY, len(newest.data) // catchup.SNAPSHOT_BYTES)
            turn = max(len(batch.events) for batch in batches)  # none is taken within a commit
            assert sum(len(one.data) for one in kept[:-1]) <= catchup.SNAPSHOT_BYTES * events
            assert counted(log, monkeypatch) <= between + turn + 1
            assert catchup.load_run(log, "long").state.version == events


def counted(log, monkeypatch: pytest.MonkeyPatch) -> int:  # type: ignore[no-untyped-def]
    """Events that are read to know the state of the run."""
    read, count = log.read, 0

    def reading(stream: str, after: int = 0) -> Iterator[object]:
        nonlocal count
        for envelope in read(stream, after):
            count += 1
            yield envelope

    with monkeypatch.context() as patched:
        patched.setattr(log, "read", reading)
        catchup.load_run(log, "long")
    return count
