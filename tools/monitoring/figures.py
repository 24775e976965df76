"""What is told of a log and of a process, as figures: folds over the log, read when asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil

from ...engine.requests import LEASE
from ...engine.worker import Worker
from ...events.resource import pool_stream
from ...events.store import Store
from ...events.upcasters import to_event
from ...projections.backlog import Backlog
from ...projections.pool import FOLD, Pool, pool_from_bytes
from ...projections.totals import BOUNDS, Histogram, Totals
from .exposition import Family, Sample, histogram

_POOLS = pool_stream("")


class Figures:
    """The figures of a log, and of the process that tells them. Safe to use from several threads.

    Counters begin with 0 when it is made, but for the number of events.

    Args:
        store: The log.
        pool: The pool of this machine; others are told of once something happens in them.
        worker: The worker of this process, if it is one.
    """

    def __init__(self, store: Store, pool: str, worker: Worker | None = None) -> None:
        self._store = store
        self._worker = worker
        self._backlog = Backlog(store)
        self._totals = Totals(store.run)
        self._position = store.position()
        self._pools: dict[str, Pool] = {}
        self._follow(pool)
        self._lock = threading.Lock()

    def families(self) -> list[Family]:
        """All of them, now. Raises LogError."""
        with self._lock:
            self._catch_up()
            now = time.time_ns()
            return [
                *self._runs(now),
                *self._counts(),
                *self._engines(now),
                *self._resources(),
                *_process(self._worker),
            ]

    def ready(self) -> str | None:
        """Why this process is not ready to work; None: it is."""
        with self._lock:
            self._store.position()
            worker = self._worker
            if worker is None:
                return None
            if worker.stopping:
                return "it is stopping"
            if not self._store.alive(worker.id, time.time_ns()):
                return "it holds no lease"
            return None

    def _catch_up(self) -> None:
        self._backlog.look()
        touched = set()
        for envelope in self._store.read_all(self._position):
            self._position = envelope.position
            self._totals.tell(envelope)
            if envelope.stream.startswith(_POOLS):
                touched.add(envelope.stream.removeprefix(_POOLS))
        for name in touched:
            self._follow(name)

    def _follow(self, name: str) -> None:
        pool = self._pools.get(name)
        if pool is None:
            snapshot = self._store.load_snapshot(pool_stream(name))
            known = snapshot is not None and snapshot.fold == FOLD
            pool = pool_from_bytes(name, snapshot.data) if snapshot and known else Pool(name)
            self._pools[name] = pool
        for e in self._store.read(pool_stream(name), pool.state.version):
            pool.apply(to_event(e), version=e.version, at=e.at)

    # -- the log -----------------------------------------------------------------------------

    def _runs(self, now: int) -> Iterator[Family]:
        counts: Counter[tuple[str, str]] = Counter()
        oldest: dict[str, float] = {}
        for entry in self._backlog.entries.values():
            counts[str(entry.row.status), entry.queue or ""] += 1
            if entry.waits and entry.queue is not None:
                age = max(0.0, (now - entry.row.submitted_at) / 1e9)
                oldest[entry.queue] = max(age, oldest.get(entry.queue, 0.0))
        told = [Sample(n, {"status": s, "queue": q}) for (s, q), n in sorted(counts.items())]
        yield Family("runs", "gauge", "Unfinished runs, by status and queue.", told)
        told = [Sample(age, {"queue": queue}) for queue, age in sorted(oldest.items())]
        text = "Seconds since the submission of the run that has waited longest."
        yield Family("queue_oldest_seconds", "gauge", text, told)

    def _counts(self) -> Iterator[Family]:
        totals = self._totals
        events = Sample(float(self._store.position()))
        yield Family("events_total", "counter", "Events that the log has taken.", [events])
        yield _counter("run_ends_total", "Runs that ended, by status.", totals.ends, "status")
        yield _counter(
            "step_attempts_total", "Attempts that ended, by outcome.", totals.attempts, "outcome"
        )
        yield _counter(
            "step_failures_total",
            "Failed attempts, by category of their error.",
            totals.failures,
            "category",
        )
        retries = [Sample(n, {"pipeline": name}) for name, n in sorted(totals.retries.items())]
        yield Family("step_retries_total", "counter", "Retries that were scheduled.", retries)
        yield _histogram("step_seconds", "Durations of completed steps.", totals.durations)
        text = "Seconds from a run's submission to its first claim."
        yield _histogram("run_wait_seconds", text, totals.waits)

    def _engines(self, now: int) -> Iterator[Family]:
        members = sorted(self._store.members(), key=lambda one: one.id)
        alive = [member for member in members if self._store.alive(member.id, now)]
        labels = [{"engine": one.id, "host": one.host, "pid": str(one.pid)} for one in alive]
        ages = [max(0.0, LEASE - (one.expires - now) / 1e9) for one in alive]
        told = [Sample(age, label) for age, label in zip(ages, labels, strict=True)]
        text = "Seconds since an engine that lives has renewed its lease."
        yield Family("lease_age_seconds", "gauge", text, told)
        active = [one for one in self._backlog.entries.values() if one.row.status.active]
        living = {one.id for one in alive}
        lost = sum(one.row.owner not in living for one in active)
        text = "Runs that go on, but for nobody who lives."
        yield Family("lost_runs", "gauge", text, [Sample(lost)])

    def _resources(self) -> Iterator[Family]:
        held, sizes, waiting = [], [], []
        for name, pool in sorted(self._pools.items()):
            for key, resource in pool.state.resources.items():
                labels = {"pool": name, "resource": key, "type": str(resource.type)}
                held.append(Sample(resource.held, labels))
                sizes.append(Sample(resource.capacity, labels))
            waiting.append(Sample(len(pool.state.requests), {"pool": name}))
        yield Family("resource_held", "gauge", "What is allocated of a resource.", held)
        yield Family("resource_capacity", "gauge", "What there is of a resource.", sizes)
        yield Family("resource_requests", "gauge", "Steps that wait for resources.", waiting)


def _counter(name: str, text: str, counts: Counter[tuple[str, str]], label: str) -> Family:
    told = [Sample(n, {"pipeline": one, label: how}) for (one, how), n in sorted(counts.items())]
    return Family(name, "counter", text, told)


def _histogram(name: str, text: str, found: dict[str, Histogram]) -> Family:
    told: list[Sample] = []
    for pipeline, one in sorted(found.items()):
        told += histogram(one.counts, BOUNDS, one.sum, {"pipeline": pipeline})
    return Family(name, "histogram", text, told)


# The process

_SELF = psutil.Process()


def _process(worker: Worker | None) -> Iterator[Family]:
    """What the process takes, under the names that Prometheus' own clients give it."""
    with _SELF.oneshot():
        times, memory = _SELF.cpu_times(), _SELF.memory_info()
        facts = (
            ("cpu_seconds_total", "counter", "User and system time.", times.user + times.system),
            ("resident_memory_bytes", "gauge", "Resident memory.", memory.rss),
            ("start_time_seconds", "gauge", "Start, since 1970.", _SELF.create_time()),
            ("open_fds", "gauge", "Open file descriptors.", _SELF.num_fds()),
            ("threads", "gauge", "Threads.", _SELF.num_threads()),
        )
    for name, kind, text, value in facts:
        yield Family(f"process_{name}", kind, text, [Sample(value)])  # type: ignore[arg-type] # one of three
    if worker is not None:
        yield Family("worker_runs", "gauge", "Runs in this worker's hands.", [Sample(worker.held)])
        most = [Sample(worker.concurrency)]
        yield Family("worker_concurrency", "gauge", "Runs that it takes at once.", most)
        stopping = [Sample(worker.stopping)]
        yield Family("worker_stopping", "gauge", "Whether it takes no more.", stopping)
