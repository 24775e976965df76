"""Attempts that end at the same time share a commit."""

from __future__ import annotations

import threading
import time

import pytest

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine.clock import SystemClock
from semantica.pipeline.engine.gathering import MAX_SECONDS, PASS_BY, Gathering
from semantica.pipeline.engine.mailbox import Mailbox, Message
from semantica.pipeline.events.memory import MemoryStore

PATIENCE = 30.0
"""Far more than anything here takes."""


def nothing() -> None:
    """A message."""


def test_a_box_is_filled_with_what_comes_in_time() -> None:
    box, messages = Mailbox(), [nothing]
    threading.Timer(0.02, lambda: [box.post(nothing) for _ in range(3)]).start()
    assert box.fill(messages, wanted=3, patience=PATIENCE)
    assert len(messages) == 3
    assert box.sleep(PATIENCE)
    assert box.take() == [nothing], "what comes later is for the next turn"


def test_a_box_is_waited_for_no_longer_than_that() -> None:
    box, messages = Mailbox(), [nothing]
    begun = time.monotonic()
    assert not box.fill(messages, wanted=2, patience=0.01)
    assert messages == [nothing]
    assert time.monotonic() - begun < PATIENCE / 2


def test_a_closed_box_ends_when_what_was_there_has_been_taken() -> None:
    box = Mailbox()
    assert box.post(nothing, ring=False)
    box.close()
    assert box.sleep(PATIENCE), "somebody has to take it"
    assert box.post(nothing), "and what comes meanwhile"
    assert box.take() == [nothing, nothing]
    assert not box.sleep(PATIENCE)
    assert not box.post(nothing)


class Asked(Mailbox):
    """A box that nothing comes into in time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def fill(self, messages: list[Message], wanted: int, patience: float) -> bool:
        self.waits.append(patience)
        return False


class Clock(SystemClock):
    """A clock that is set by hand."""

    time = 0

    def monotonic(self) -> int:
        return self.time


@pytest.mark.parametrize(("commit", "wait"), [(0.002, 0.002), (60.0, MAX_SECONDS)])
def test_who_waits_in_vain_passes_by_for_a_while(commit: float, wait: float) -> None:
    box, clock = Asked(), Clock()
    gathering = Gathering(box, clock)
    gathering.in_flight = 4
    with gathering.commit():
        clock.time += int(commit * 1e9)
    for _ in range(2 * (PASS_BY + 1)):
        gathering.gather([nothing])
    assert box.waits == [wait, wait]
    gathering.gather([nothing] * 4)
    assert len(box.waits) == 2, "all that are in flight have come"


def test_the_events_of_attempts_that_end_together_are_one_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four workers begin together, and take the same time."""
    monkeypatch.setattr("semantica.pipeline.engine.gathering.MAX_SECONDS", PATIENCE)
    commits = list[int]()

    class Slow(MemoryStore):
        """Its commits take as long as anybody is waited for."""

        def append(self, batches, **options):  # type: ignore[no-untyped-def]
            commits.append(sum(len(batch.events) for batch in batches))
            time.sleep(0.05)
            return super().append(batches, **options)

    steps = [
        PipelineStep(f"s{i}", "t", handler=lambda data: time.sleep(0.01), dependencies=[])
        for i in range(40)
    ]
    with ExecutionEngine(Slow(), max_workers=4) as engine:
        engine.execute_pipeline(Pipeline("together", steps)).raise_for_status()
        assert engine._open().loop.gathering.in_flight == 0
    assert commits.count(8) > 4, f"four ends and four starts, nine times at best: {commits}"
