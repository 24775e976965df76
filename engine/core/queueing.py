"""Which queued runs go on next: limits, then fairness between queues, then the one order.

Pure. A queue is a set of lines, one for each pipeline, each in the order in which its runs are
served. Whose queue has the fewest runs going on is served next; among equals the ordering decides,
as it does for the steps of an engine and the requests of a pool (:mod:`.ordering`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from ...events.resource import Ordering
from .ordering import Rank, rank


class Limits(NamedTuple):
    """Most runs that may go on at once, by the name of their pipeline and by their queue."""

    pipelines: Mapping[str, int] = {}
    queues: Mapping[str, int] = {}


class Taken:
    """How many runs go on: of each queue, and of each pipeline, queued or not."""

    def __init__(self) -> None:
        self.queues: Counter[str] = Counter()
        self.pipelines: Counter[str] = Counter()

    def add(self, queue: str | None, pipeline: str) -> None:
        """One more."""
        self.pipelines[pipeline] += 1
        if queue is not None:
            self.queues[queue] += 1

    def admits(self, limits: Limits, queue: str, pipeline: str) -> bool:
        """Whether the limits leave room for one more."""
        of_queue, of_pipeline = limits.queues.get(queue), limits.pipelines.get(pipeline)
        return (of_queue is None or self.queues[queue] < of_queue) and (
            of_pipeline is None or self.pipelines[pipeline] < of_pipeline
        )


Line = list[tuple[Rank, str]]


class Lines:
    """The runs that wait.

    Args:
        ordering: Who goes first.
    """

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering
        self._lines: dict[tuple[str, str], Line] = {}
        self._places: dict[str, tuple[tuple[str, str], tuple[Rank, str]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(
        self,
        run: str,
        queue: str,
        pipeline: str,
        *,
        order: int,
        priority: int,
        deadline: int | None,
    ) -> None:
        """A run waits; ``order`` is its place among equals."""
        place = rank(self._ordering, order=order, priority=priority, deadline=deadline, share=0)
        entry = (place, run)
        insort(self._lines.setdefault((queue, pipeline), []), entry)
        self._places[run] = (queue, pipeline), entry

    def discard(self, run: str) -> None:
        """It waits no longer, if it did."""
        if run not in self._places:
            return
        key, entry = self._places.pop(run)
        line = self._lines[key]
        del line[bisect_left(line, entry)]
        if not line:
            del self._lines[key]

    def next(
        self,
        taken: Taken,
        limits: Limits,
        *,
        queues: Container[str] | None,
        without: Container[str],
    ) -> str | None:
        """The run that goes on next, if one may.

        Args:
            taken: What goes on.
            limits: What may.
            queues: Those that are served; None: all.
            without: Runs to pass by.
        """
        best: tuple[tuple[float, Rank, str], str] | None = None
        for (queue, pipeline), line in self._lines.items():
            served = queues is None or queue in queues
            if not served or not taken.admits(limits, queue, pipeline):
                continue
            head = _first(line, without)
            if head is None:
                continue
            place, run = head
            if self._ordering is Ordering.FAIR_SHARE:
                place = (float(taken.pipelines[pipeline]), place[1])
            key = (float(taken.queues[queue]), place, run)
            if best is None or key < best[0]:
                best = key, run
        return best[1] if best else None


def _first(line: Iterable[tuple[Rank, str]], without: Container[str]) -> tuple[Rank, str] | None:
    return next((entry for entry in line if entry[1] not in without), None)
