"""Claiming runs from queues: counted, chosen and recorded so that no two workers take the same run,
and no limit is exceeded.

A worker reads the version of the stream of claims, counts what goes on, chooses, and appends its
claims and a RunsAdmitted behind that version in one transaction. Whoever was faster has moved the
version: then nothing is recorded, and it counts again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from ..events.queueing import CLAIMS, RunsAdmitted
from ..events.resource import Ordering
from ..events.sealed_store import as_stored, new_events
from ..events.store import Batch, Store
from ..events.upcasters import to_new
from ..projections.backlog import Backlog, Entry
from ..projections.catchup import load_run
from ..projections.run import Run
from .core.decide import decide
from .core.queueing import Limits, Lines, Taken
from .encrypting import is_readable
from .requests import claim_by


class Claimed(NamedTuple):
    """A run that is the claimer's now. ``resumed``: it goes on after a pause, a stop or a failure,
    and what was halted in it does, too."""

    run: Run
    resumed: bool


class Claims:
    """The queues of a log, for one who claims from them.

    Args:
        store: The log.
        queues: Those that are served; empty: all, and runs that were in none, when their process
            has died.
        limits: What may go on at once, in the whole log.
        ordering: Who goes first.
        arriving: Gets the ids of runs before their claim is recorded, so that nobody in this
            process takes one for left behind; whoever takes the runs removes them.
    """

    def __init__(
        self,
        store: Store,
        queues: Collection[str],
        limits: Limits,
        ordering: Ordering,
        arriving: set[str] | None = None,
    ) -> None:
        self._arriving = set[str]() if arriving is None else arriving
        self.backlog = Backlog(store)
        self._store = store
        self._queues = frozenset(queues) or None
        self._limits = limits
        self._lines = Lines(ordering)

    def look(self) -> bool:
        """See what has happened; whether that is anything. Raises LogError."""
        changed = self.backlog.look()
        for run_id in changed:
            self._lines.discard(run_id)
            entry = self.backlog.entries.get(run_id)
            if entry is None or not entry.waits:
                continue
            row = entry.row
            self._lines.add(
                run_id,
                entry.queue or "",
                row.name,
                order=row.submitted_at,
                priority=row.priority,
                deadline=entry.deadline,
            )
        return bool(changed)

    def claim(
        self, owner: str, room: int, able: Callable[[Entry], bool], now: Callable[[], int]
    ) -> list[Claimed]:
        """Take up to ``room`` runs for an engine: those of engines that have died, then from the
        queues.

        Args:
            owner: The engine, which the log must know as living.
            able: Whether it can execute a run; asked of those that it would get.
            now: The time, ns.

        Raises:
            LogError: The log cannot be used; nothing was claimed.
        """
        while True:
            head = self._store.head(CLAIMS)
            version = head.version if head else 0
            self.look()
            at = now()
            entries = self._choose(room, lambda one: able(one) and self._can_read(one), at)
            if not entries:
                return []
            claimed, batches = [], list[Batch]()
            for entry in entries:
                run = load_run(self._store, entry.row.run_id)
                batch = _claim(self._store, run, entry, owner, at)
                if batch is not None:
                    batches.append(batch)
                    claimed.append(Claimed(run, entry.waits and run.state.epoch > 1))
            if not claimed:
                return []
            admitted = RunsAdmitted(tuple(one.run.run_id for one in claimed))
            batches.append(Batch(CLAIMS, version, 1, owner, at, [to_new(admitted)], unit=CLAIMS))
            self._arriving.update(admitted.runs)
            refused = True
            try:
                refused = any(self._store.append(batches))
            finally:
                if refused:
                    self._arriving.difference_update(admitted.runs)
            if not refused:
                return claimed

    def _can_read(self, entry: Entry) -> bool:
        """An encrypted run is for a worker that has its key."""
        head = as_stored(self._store).head(entry.row.stream)
        return head is None or is_readable(self._store, head.encoding)

    def _choose(self, room: int, able: Callable[[Entry], bool], now: int) -> list[Entry]:
        chosen: list[Entry] = []
        for entry in self._orphans(now):
            if len(chosen) < room and able(entry):
                chosen.append(entry)
        taken = Taken()
        for entry in self.backlog.entries.values():
            if entry.goes_on:
                taken.add(entry.queue, entry.row.name)
        passed: set[str] = set()
        while len(chosen) < room:
            run_id = self._lines.next(taken, self._limits, queues=self._queues, without=passed)
            if run_id is None:
                break
            passed.add(run_id)
            entry = self.backlog.entries[run_id]
            if able(entry):
                taken.add(entry.queue, entry.row.name)
                chosen.append(entry)
        return chosen

    def _orphans(self, now: int) -> Iterable[Entry]:
        """Runs that go on, but for nobody who lives, oldest first."""
        entries = [one for one in self.backlog.entries.values() if one.row.status.active]
        served = [one for one in entries if self._queues is None or one.queue in self._queues]
        owners = {one.row.owner for one in served}
        living = {one for one in owners if one is not None and self._store.alive(one, now)}
        return [one for one in served if one.row.owner not in living]

    def overdue(self, now: int) -> list[Entry]:
        """Runs in the queues that are served whose deadline has passed: no claim can help them."""
        return [
            entry
            for entry in self.backlog.entries.values()
            if entry.waits
            and (self._queues is None or entry.queue in self._queues)
            and entry.deadline is not None
            and entry.deadline <= now
        ]


def _claim(store: Store, run: Run, seen: Entry, owner: str, now: int) -> Batch | None:
    """The claim of a run, which is folded into it; None: something has happened to it since it was
    seen, such as that somebody else took it."""
    if (run.status, run.state.epoch) != (seen.row.status, seen.row.epoch):
        return None
    after, epoch = run.state.version, run.state.epoch + 1
    events = decide(run, claim_by(owner), now)
    for event in events:
        run.apply(event, version=run.state.version + 1, at=now, epoch=epoch)
    made = new_events(store, run.state.encoding, events)
    return Batch(run.stream, after, epoch, owner, now, made, unit=CLAIMS)
