"""A long history: what an engine records of a fan, without the time that workers take."""

from __future__ import annotations

import time

import msgspec

from ...engine.core import commands as c
from ...engine.core.decide import decide, settle
from ...engine.failure import Answers
from ...engine.model import define
from ...engine.requests import claim_by
from ...engine.submission import submitted
from ...events.codec import Value
from ...events.sqlite import SqliteStore
from ...events.store import Batch
from ...events.upcasters import Event, to_new
from ...projections.catchup import save_snapshot, snapshot_due
from ...projections.run import Run
from . import child
from .child import Measured
from .ours import LOG, fanned

TURN = 8
"""Events that are one commit of an engine with four workers; here many of them are."""
COMMITTED = 4096
"""Events in a commit."""
_OUTPUT = Value(inline=msgspec.Raw(b"2"))


class _Recorder:
    """Folds events, and appends them many at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.store = SqliteStore(LOG, durability="off")
        self._events: list[Event] = []

    def record(self, events: list[Event]) -> None:
        for event in events:
            version = self.run.state.version + 1
            self.run.apply(event, version=version, at=time.time_ns(), epoch=1)
        self._events += events
        if len(self._events) >= COMMITTED:
            self.commit()

    def commit(self) -> None:
        after = self.run.state.version - len(self._events)
        new = [to_new(event) for event in self._events]
        batch = Batch(self.run.stream, after, 1, "engine-0190a1b2c3d4", time.time_ns(), new)
        if self.store.append([batch]) != [None]:
            raise RuntimeError("the history could not be appended")
        self._events.clear()
        if snapshot_due(self.run):
            save_snapshot(self.store, self.run)


def make(n: int) -> Measured:
    """A fan of ``n`` steps, up to its end."""
    definition = define(fanned(n))
    recorder = _Recorder(Run("history", definition))
    run = recorder.run
    event = submitted(
        definition,
        1,
        recorder.store.artifacts,
        engine="engine",
        priority=0,
        on_failure="stop",
        deadline=None,
        parallelism=None,
        retry=None,
        answers=Answers({}, {}, ()),
        allow_pickle=True,
        origin=None,
        warnings=[],
    )
    recorder.record([event])
    recorder.record(decide(run, claim_by("engine"), 0))
    while run.state.unfinished:
        started = list[int]()
        while len(started) < TURN // 2 and (i := run.next_ready()) is not None:
            recorder.record(decide(run, c.Start(i, f"worker-{len(started) + 1}"), 0))
            started.append(i)
        for i in started:
            recorder.record(decide(run, c.Complete(i, 1, _OUTPUT, 3.6e-05, 3.6e-05), 0))
    recorder.record(settle(run))
    recorder.commit()
    recorder.store.close()
    return {"events": run.state.version}


if __name__ == "__main__":
    child.main({"make": make})
