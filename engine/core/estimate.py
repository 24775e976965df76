"""How long a graph of steps takes, from how long each of them takes: pure arithmetic.

Steps have names, durations are seconds, and the graph must be acyclic. All but the sorting is
O(V + E), the sorting O(V log V); nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from .graph import Graph, dependents, known, order

Seconds = Mapping[str, float]


class Overlap(NamedTuple):
    """What runs at the same time."""

    width: int
    """The most steps at once."""
    peaks: dict[str, float]
    """The most that is needed of each resource at once."""
    alone: dict[str, float]
    """Seconds that a step of the critical path runs while no other does."""


class Work:
    """Steps to be done in an order that their dependencies leave open.

    Args:
        graph: Each step with those it depends on.
    """

    def __init__(self, graph: Graph) -> None:
        self._edges = known(graph)
        self._followers = dependents(graph)
        self._order = order(graph)

    def on(self, workers: int, durations: Seconds, priorities: Mapping[str, int]) -> float:
        """The time from the first start to the last end on so many workers, as the engine starts
        steps: whenever a worker is free, the ready step of the highest priority, else the one that
        has waited longest.

        It is at most the critical path plus the total work divided by the workers, and so less than
        twice what the best schedule takes.

        Source: R. L. Graham, "Bounds for certain multiprocessing anomalies", Bell System Technical
        Journal 45 (1966).
        """
        missing = {name: len(before) for name, before in self._edges.items()}
        turn = count()
        ready = [
            (-priorities.get(name, 0), next(turn), name)
            for name, number in missing.items()
            if not number
        ]
        ready.sort()  # a heap
        running: list[tuple[float, int, str]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < workers:
                _, _, name = heappop(ready)
                heappush(running, (now + durations[name], next(turn), name))
            now = running[0][0]
            while running and running[0][0] == now:
                for follower in self._followers[heappop(running)[2]]:
                    missing[follower] -= 1
                    if not missing[follower]:
                        heappush(ready, (-priorities.get(follower, 0), next(turn), follower))
        return now

    def starts(self, durations: Seconds) -> dict[str, float]:
        """When each step starts if none ever waits for a worker."""
        ends: dict[str, float] = {}
        starts: dict[str, float] = {}
        for name in self._order:
            starts[name] = start = max(map(ends.__getitem__, self._edges[name]), default=0.0)
            ends[name] = start + durations[name]
        return starts

    def critical_path(self, durations: Seconds) -> list[str]:
        """The longest path: no number of workers can be faster.

        Source: J. E. Kelley and M. R. Walker, "Critical-path planning and scheduling", Proceedings
        of the Eastern Joint Computer Conference (1959).
        """
        ends = {name: start + durations[name] for name, start in self.starts(durations).items()}
        path: list[str] = []
        last: Iterable[str] = ends
        while last:
            path.append(max(last, key=ends.__getitem__))
            last = self._edges[path[-1]]
        return path[::-1]

    def overlap(
        self, durations: Seconds, needs: Mapping[str, Mapping[str, float]], path: Sequence[str]
    ) -> Overlap:
        """What runs at the same time when no step waits for a worker: a sweep over all starts and
        ends, where a step that ends makes room for one that starts then.

        Args:
            needs: How much of which resource a step needs.
            path: The critical path.
        """
        starts = self.starts(durations)
        moments = [(starts[name], 1, name) for name in starts]
        moments += [(starts[name] + durations[name], 0, name) for name in starts]
        moments.sort()
        running = width = place = 0
        used: dict[str, float] = {}
        peaks: dict[str, float] = {}
        alone = dict.fromkeys(path, 0.0)
        before = 0.0
        for moment, starting, name in moments:
            while place < len(path) - 1 and starts[path[place + 1]] <= before:
                place += 1
            if running == 1:
                alone[path[place]] += moment - before
            before = moment
            running += 1 if starting else -1
            width = max(width, running)
            for resource, amount in needs.get(name, {}).items():
                used[resource] = used.get(resource, 0.0) + (amount if starting else -amount)
                peaks[resource] = max(peaks.get(resource, 0.0), round(used[resource], 9))
        return Overlap(width, peaks, alone)
