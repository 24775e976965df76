"""Following a run while it goes on: a fold over its events as they are recorded.

The view reads the log like anybody else, so it shows runs of this process and of others alike and
costs the engine nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..events.errors import LogUnavailable
from ..events.machines import PipelineStatus
from ..events.step import StepProgressed
from ..events.store import Store
from ..events.upcasters import Event, to_event
from ..projections.catchup import load_run
from ..projections.progress import Progress, expected_durations, progress
from ..projections.run import Run

LARGE = 2000
"""Steps of a run from which on a better estimate is not worth its cost."""


class Follower:
    """A run of the log, kept up to date.

    Args:
        store: The log; its run may not be recorded yet.
        run_id: The run.
        new: All that happens to it is news; otherwise what has happened by now is not.
    """

    def __init__(self, store: Store, run_id: str, *, new: bool = False) -> None:
        self.run_id = run_id
        self.store = store
        self.expected: dict[str, float] | None = None
        self.run: Run | None = None
        """Its state; None before it is recorded."""
        self.progressed_at: dict[str, int] = {}
        """When steps last said how far they are (ns), as far as it was seen."""
        if not new and store.run(run_id) is not None:
            self._begin(None)

    def _begin(self, until: int | None) -> None:
        self.run = load_run(self.store, self.run_id, until=until)
        if len(self.run.state.steps) <= LARGE:
            self.expected = durations_before(self.store, self.run)

    def news(self) -> Iterator[Event]:
        """What has been recorded since the last call, in order; the state moves along with it."""
        try:
            if self.run is None:
                if self.store.run(self.run_id) is None:
                    return
                self._begin(until=1)
            assert self.run is not None
            for envelope in self.store.read(self.run.stream, self.run.state.version):
                event = to_event(envelope)
                version, at, epoch = envelope.version, envelope.at, envelope.epoch
                self.run.apply(event, version=version, at=at, epoch=epoch)
                if isinstance(event, StepProgressed):
                    self.progressed_at[event.step] = at
                yield event
        except LogUnavailable:
            return  # the view lags until the log can be read again

    def catch_up(self) -> None:
        """Bring the state up to date, whatever has happened."""
        for _ in self.news():
            pass

    @property
    def status(self) -> PipelineStatus | None:
        """The run's status; None before it is recorded."""
        return None if self.run is None else self.run.status

    def progress(self) -> Progress | None:
        """How far it is; None before it is recorded."""
        if self.run is None:
            return None
        return progress(self.run, time.time_ns(), self.expected)


def durations_before(store: Store, run: Run) -> dict[str, float] | None:
    """What the steps took in the newest completed run of the same name, in seconds."""
    completed = [PipelineStatus.COMPLETED]
    for row in store.runs(name=run.state.name, statuses=completed, limit=1):
        if row.run_id != run.run_id:
            return expected_durations(load_run(store, row.run_id))
    return None
