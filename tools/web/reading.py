"""The log as the page sees it. Nothing here takes a lock of the log or writes to it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import msgspec

from ...engine.encrypting import is_readable
from ...engine.requests import beginning_of
from ...events.directory import RunRow
from ...events.lines import Wanted
from ...events.machines import PipelineStatus
from ...events.resource import pool_stream
from ...events.store import Store
from ...events.upcasters import to_event
from ...projections.difference import difference
from ...projections.pool import FOLD, Pool, pool_from_bytes
from ..finding import find, holder
from ..follow import Follower
from ..replay.moments import latest, narrowed
from ..terminal import BadInput
from .documents import (
    Document,
    bar_of,
    event_of,
    graph_of,
    line_of,
    ms,
    preview,
    row_of,
    state_of,
)
from .past import Past, step_of

OPEN = 12
"""Runs that are kept at hand."""
OBSERVED = 200
"""Runs that go on of which it is observed whether somebody executes them."""
FOLLOWED = 24
"""Runs of the list, the newest of those that go on, whose progress is told at once."""
_ACTIVE = [status for status in PipelineStatus if status.active]

T = TypeVar("T")


class Recent(OrderedDict[str, T]):
    """What was asked for last, at most so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._lock = threading.Lock()

    def get_or(self, key: str, make: Callable[[], T]) -> T:
        """What is kept under ``key``, made if need be."""
        with self._lock:
            if key not in self:
                self[key] = make()
                while len(self) > self._most:
                    self.popitem(last=False)
            self.move_to_end(key)
            return self[key]


class Followed:
    """A run's newest state, once somebody has asked for it, and who may look at it now."""

    def __init__(self) -> None:
        self.follower: Follower | None = None
        self.lock = threading.Lock()


class Reading:
    """Answers the page's questions. Safe to use from several threads.

    Every method raises RunNotFound where there is no such run, and LogError where the log cannot
    be read.
    """

    def __init__(self, store: Store, machine: str) -> None:
        self.store = store
        self._machine = machine
        self._followers: Recent[Followed] = Recent(OPEN + FOLLOWED)
        self._pasts: Recent[Past] = Recent(OPEN)
        self._pool = Pool(machine)
        self._pool_lock = threading.Lock()

    # -- runs --------------------------------------------------------------------------------

    def row(self, run_id: str) -> RunRow:
        """The directory's row of a run, by its id alone."""
        return self.store.run(run_id) or find(self.store, run_id)

    def rows(self) -> list[Document]:
        """All runs, newest first; how far they are is told by :meth:`going`, since that takes
        longer."""
        return [self.line(row, progress=False) for row in self.store.runs()]

    def going(self) -> list[RunRow]:
        """The runs that go on, the newest ones."""
        return self.store.runs(statuses=_ACTIVE, limit=OBSERVED)

    def line(self, row: RunRow, *, progress: bool = True) -> Document:
        """A run as a line of the list; how far it is of one that goes on."""
        lost = row.status.active and holder(self.store, row) is None
        done = self._done(row.run_id) if progress and row.status.active else None
        return row_of(row, lost=lost, done=done)

    def losses(self) -> dict[str, bool]:
        """Of the runs that go on, the newest ones, whether nobody executes them."""
        return {row.run_id: holder(self.store, row) is None for row in self.going()}

    def _done(self, run_id: str) -> tuple[int, int, int] | None:
        with self._follower(run_id) as follower:
            follower.catch_up()
            if follower.run is None:
                return None
            state = follower.run.state
            return state.completed + state.skipped, len(state.steps), len(state.failed)

    @contextmanager
    def _follower(self, run_id: str) -> Iterator[Follower]:
        """A run's newest state, until the end of the block."""
        followed = self._followers.get_or(self._known_as(run_id), Followed)
        with followed.lock:  # not that of all runs: to fold a large one takes a while
            if followed.follower is None:
                followed.follower = Follower(self.store, run_id)
            yield followed.follower

    def past(self, run_id: str) -> Past:
        """A run's history, up to now."""
        self.row(run_id)
        past = self._pasts.get_or(self._known_as(run_id), lambda: Past(self.store, run_id))
        past.catch_up()
        return past

    def _known_as(self, run_id: str) -> str:
        """By what it is kept; what is in memory of a run that was erased since is not shown."""
        row = self.store.run(run_id)
        if row is None or row.status is not PipelineStatus.ERASED:
            return run_id
        readable = is_readable(self.store, beginning_of(self.store, row.stream).encoding)
        return f"{run_id}, erased, {readable}"

    # -- a run -------------------------------------------------------------------------------

    def state(self, run_id: str, version: int | None) -> Document:
        """A run after so many events, at the time of the last one; None: now."""
        row = self.row(run_id)
        if version is None:
            return self._now(row)
        past = self.past(run_id)
        with past.at(version) as run:
            version = run.state.version
            at = past.time(version)
            event = {"at": ms(at), "type": past.type(version), "step": past.step(version)}
            told = state_of(run, at, self.store.run)
        return {**told, "at": ms(at), "event": event, "live": False, "lost": False, "process": None}

    def _now(self, row: RunRow) -> Document:
        member = holder(self.store, row)
        with self._follower(row.run_id) as following:
            following.catch_up()
            run = following.run
            assert run is not None  # it has a row
            now = run.state.ended_at or time.time_ns()
            told = state_of(run, now, self.store.run, following.expected)
            last = run.told[-1][1] if run.told else None
        head = None if last is None else {"type": type(last).__name__, "step": step_of(last)}
        return {
            **told,
            "at": ms(now),
            "event": head and {"at": ms(now), **head},
            "live": True,
            "lost": row.status.active and member is None,
            "process": None if member is None else {"host": member.host, "pid": member.pid},
        }

    def graph(self, run_id: str) -> Document:
        """The steps of a run and the places of their boxes; it never changes."""
        self.row(run_id)
        with self._follower(run_id) as follower:
            assert follower.run is not None  # it has a row
            return graph_of(follower.run)

    def timeline(self, run_id: str, after: int) -> Document:
        """The attempts that have begun or ended after a version, and what a slider marks."""
        past = self.past(run_id)
        with past.at(past.version) as run:
            index = run.graph.index
        bars = [bar_of(n, one, index[one.step], grants) for n, one, grants in past.attempts(after)]
        return {
            "version": past.version,
            "first": ms(past.time(1)),
            "last": ms(past.time(past.version)),
            "marks": past.marks(),
            "bars": bars,
        }

    def events(self, run_id: str, upto: int, first: int, count: int, text: str) -> Document:
        """A part of a run's events up to a version (0: all) of whose type or step each word of
        ``text`` is a part, the newest first; how many there are, and some."""
        past = self.past(run_id)
        words = text.casefold().split()

        def fits(kind: str, step: str) -> bool:
            both = f"{kind} {step}".casefold()
            return all(word in both for word in words)

        versions = past.versions(upto or past.version, fits if words else None)
        end = max(0, len(versions) - first)
        chosen = past.envelopes(versions[max(0, end - count) : end])
        told = [event_of(one, self.store) for one in reversed(chosen)]
        return {"version": past.version, "count": len(versions), "first": first, "events": told}

    def lines(
        self,
        run_id: str,
        version: int | None,
        wanted: Wanted,
        count: int,
        *,
        before: int | None,
        after: int | None,
    ) -> Document:
        """What the handlers of a run had said by the time of a version (None: now): the last
        ``count`` lines, or of those with an id lower than ``before``; or the first ones of those
        with a higher id than ``after``. And whether there are more."""
        self.row(run_id)
        if version is not None:
            past = self.past(run_id)
            until = past.time(max(1, min(version, past.version)))
            wanted = msgspec.structs.replace(wanted, until=until)
        store = self.store.lines
        if after is not None:
            found = list(islice(store.read(run_id, after, wanted), count + 1))
            told = found[:count]
        else:
            found = store.newest(run_id, count + 1, before, wanted)
            told = found[-count:] if count else []
        return {"lines": list(map(line_of, told)), "more": len(found) > count}

    def moment(self, run_id: str, version: int) -> Document:
        """When an event was recorded, and what it is."""
        past = self.past(run_id)
        version = max(1, min(version, past.version))
        return {
            "version": version,
            "at": ms(past.time(version)),
            "type": past.type(version),
            "step": past.step(version),
        }

    def moment_at(self, run_id: str, at: float) -> Document:
        """The last event at or before a time (ms)."""
        return self.moment(run_id, self.past(run_id).version_at(int(at * 1e6)))

    def step(self, run_id: str, index: int, version: int | None) -> Document:
        """All that is known of a step at a moment: its definition, errors, and output."""
        past = self.past(run_id)
        with past.at(version or past.version) as run:
            if not 0 <= index < len(run.graph):
                raise BadInput(f"run {run_id} has no step number {index}")
            graph, state = run.graph, run.state.steps[index]
            definition = graph.definition.steps[index]
            completed, error, child = state.version, state.error, state.child
            before = [graph.name(i) for i in graph.dependencies[index]]
            after = [graph.name(i) for i in graph.dependents[index]]
        plain: Document = msgspec.to_builtins(definition)
        plain.pop("pipeline", None)
        output: Any = None
        if completed:
            event = to_event(past.envelopes([completed])[0])
            output = preview(event.output, self.store)
        return {
            "index": index,
            "definition": plain,
            "before": before,
            "after": after,
            "run_id": child,
            "error": None if error is None else {**msgspec.to_builtins(error), "text": str(error)},
            "output": output,
        }

    def compare(self, a: str, b: str, versions: tuple[int | None, int | None]) -> Document:
        """How two runs, or two moments, differ, and where they first did."""
        moments = [latest(self.store, self.row(run_id)) for run_id in (a, b)]
        for i, version in enumerate(versions):
            if version is not None:
                moments[i] = narrowed(self.store, moments[i].row, str(version))
        found = difference(*(moment.account(self.store) for moment in moments))
        return {
            "same": found.same,
            "first": found.first,
            "run": list(map(str, found.run)),
            "steps": [
                {"step": one.step, "changes": list(map(str, one.changes)), "seconds": one.seconds}
                for one in found.steps
            ],
        }

    def resources(self) -> Document:
        """What this machine has, what of it is taken, and who waits for more."""
        with self._pool_lock:
            self._follow_pool()
            state = self._pool.state
            return {
                "machine": self._machine,
                "resources": [
                    {"id": name, "type": one.type, "capacity": one.capacity, "held": one.held}
                    for name, one in state.resources.items()
                ],
                "held": [
                    {"run": one.request.run, "step": one.request.step, "grants": one.grants}
                    for one in state.held.values()
                ],
                "waiting": [
                    {"run": one.run, "step": one.step, "amounts": one.amounts, "at": ms(one.at)}
                    for one in state.requests.values()
                ],
            }

    def _follow_pool(self) -> None:
        stream = pool_stream(self._machine)
        if not self._pool.state.version:
            snapshot = self.store.load_snapshot(stream)
            if snapshot is not None and snapshot.fold == FOLD:
                self._pool = pool_from_bytes(self._machine, snapshot.data)
        for envelope in self.store.read(stream, self._pool.state.version):
            event: Any = to_event(envelope)
            self._pool.apply(event, version=envelope.version, at=envelope.at)
