"""Every moment of a run: its state after any of its events, without folding all of them again.

The run is folded once, from its first event. On the way its state is kept every so often, packed;
another moment is at most a few thousand events away from one of these. Where it is asked for
moments one after the other, as a slider does, it goes on from the last one.
"""

from __future__ import annotations

import threading
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from ...events import step as s
from ...events.envelope import Envelope
from ...events.store import Store
from ...events.upcasters import Event, to_event
from ...projections.catchup import load_run, restore, take_snapshot
from ...projections.run import Run
from ...projections.timeline import Attempt, TimelineFold

NEAR = 500
"""Fewest events between two states that are kept."""
BYTES = 512
"""Bytes of a state for which one more event lies between two: all together they take no more than
so many bytes an event, before they are packed."""
MARKS = 400
"""Most events that a slider marks."""
MARKED = {
    "StepFailed": "failed",
    "StepTimedOut": "failed",
    "PipelineFailed": "failed",
    "PipelineRollbackFailed": "failed",
    "StepInterrupted": "retrying",
    "StepRetryScheduled": "retrying",
    "PipelineClaimed": "running",
    "PipelineResumed": "running",
    "PipelineQueued": "pending",
    "PipelinePaused": "paused",
    "PipelineStopped": "paused",
    "PipelineCancelled": "cancelled",
    "PipelineRolledBack": "compensated",
    "PipelineCompleted": "completed",
    "PipelineErased": "cancelled",
    "SignalReceived": "suspended",
}
"""Types of events that a slider marks, with the state whose colour they have."""


class Past:
    """A run's history, up to the last call of :meth:`catch_up`. Safe to use from several threads.

    Raises:
        RunNotFound: There is no such run.
        LogCorrupt, IllegalTransition, UnknownEvent: Its history cannot be folded.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run = load_run(store, run_id, snapshots=False, until=0)
        self._other = Run(run_id, self._run.graph.definition)
        self._kept: list[tuple[int, bytes]] = [(0, zlib.compress(take_snapshot(self._run), 1))]
        self._size = 0
        self._times = array("q")
        self._types: list[str] = []
        self._steps: list[str] = []
        self._fold = TimelineFold()
        self._places: dict[int, int] = {}
        self._changes: list[tuple[int, int]] = []
        self._grants: dict[int, dict[str, float]] = {}
        self._lock = threading.RLock()

    def catch_up(self) -> None:
        """Fold what has been recorded since."""
        with self._lock:
            for envelope in self._store.read(self._run.stream, self._run.state.version):
                self._apply(envelope)

    def _apply(self, envelope: Envelope) -> None:
        event, version, at = to_event(envelope), envelope.version, envelope.at
        self._run.apply(event, version=version, at=at, epoch=envelope.epoch)
        # A clock that was set back must not bring the order of moments into disorder.
        self._times.append(max(at, self._times[-1]) if self._times else at)
        self._types.append(envelope.type)
        self._steps.append(step_of(event))
        attempt = self._fold.apply(event, at)
        if attempt is not None:
            attempts = self._fold.told.attempts
            place = self._places.setdefault(id(attempt), len(attempts) - 1)
            self._changes.append((version, place))
            if isinstance(event, s.StepStarted) and event.grants:
                self._grants[place] = event.grants
        if version - self._kept[-1][0] >= max(NEAR, self._size // BYTES):
            data = take_snapshot(self._run)
            self._size = len(data)
            self._kept.append((version, zlib.compress(data, 1)))

    @property
    def version(self) -> int:
        """Events so far."""
        return self._run.state.version

    def time(self, version: int) -> int:
        """When (ns) an event was recorded; of version 0: the first one."""
        return self._times[max(0, version - 1)]

    def version_at(self, at: int) -> int:
        """The last event at or before a time (ns); the first one, if there is none."""
        return max(1, bisect_right(self._times, at))

    def type(self, version: int) -> str:
        """The type of an event."""
        return self._types[version - 1]

    def step(self, version: int) -> str:
        """The step that an event is about; empty: the run."""
        return self._steps[version - 1]

    @contextmanager
    def at(self, version: int) -> Iterator[Run]:
        """The run after so many events (1 at least), until the end of the block."""
        with self._lock:
            run, version = self._other, max(1, min(version, self.version))
            kept, packed = self._kept[bisect_right(self._kept, version, key=lambda k: k[0]) - 1]
            if not kept <= run.state.version <= version:
                restore(run, zlib.decompress(packed))
            for envelope in islice(
                self._store.read(run.stream, run.state.version), version - run.state.version
            ):
                event = to_event(envelope)
                run.apply(event, version=envelope.version, at=envelope.at, epoch=envelope.epoch)
            yield run

    def attempts(self, after: int) -> Iterator[tuple[int, Attempt, dict[str, float]]]:
        """The attempts that have begun or ended after a version, by their number, with what
        resources they were granted."""
        with self._lock:
            first = bisect_right(self._changes, after, key=lambda change: change[0])
            for place in dict.fromkeys(place for _, place in self._changes[first:]):
                yield place, self._fold.told.attempts[place], self._grants.get(place, {})

    def marks(self) -> list[tuple[int, str]]:
        """Events worth a mark on a slider, with a state whose colour tells their kind; of too many
        those that are rare."""
        found = [(i + 1, MARKED[kind]) for i, kind in enumerate(self._types) if kind in MARKED]
        if len(found) <= MARKS:
            return found
        by_colour: dict[str, list[tuple[int, str]]] = {}
        for mark in found:
            by_colour.setdefault(mark[1], []).append(mark)
        share = MARKS // len(by_colour)
        thinned = [
            mark
            for marks in by_colour.values()
            for mark in marks[:: -(-len(marks) // share) if len(marks) > share else 1]
        ]
        return sorted(thinned)

    def versions(self, upto: int, fits: Callable[[str, str], bool] | None) -> range | list[int]:
        """The events up to a version whose type and step fit."""
        if fits is None:
            return range(1, upto + 1)
        both = zip(self._types[:upto], self._steps[:upto], strict=True)
        return [i for i, (kind, step) in enumerate(both, 1) if fits(kind, step)]

    def envelopes(self, versions: range | list[int]) -> list[Envelope]:
        """Events by their versions, which rise."""
        found: list[Envelope] = []
        while versions:
            # Those that lie close to one another are read together.
            end = bisect_left(versions, versions[0] + NEAR)
            wanted = set(versions[:end])
            span = versions[end - 1] - versions[0] + 1
            read = islice(self._store.read(self._run.stream, versions[0] - 1), span)
            found += [envelope for envelope in read if envelope.version in wanted]
            versions = versions[end:]
        return found


def step_of(event: Event) -> str:
    """The step that an event is about; empty: the run."""
    return getattr(event, "step", None) or ""
