"""Timers: by the wall for what is recorded, by the monotonic clock for what runs."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from .clock import Clock

Fire = Callable[[], None]


class Timers:
    """Two heaps of due times. Timers are not cancelled: what they call checks if it is late."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = count()
        self._wall: list[tuple[int, int, Fire]] = []
        self._monotonic: list[tuple[int, int, Fire]] = []

    def at(self, due: int, fire: Fire) -> None:
        """Call ``fire`` once the wall clock shows ``due`` (ns)."""
        heappush(self._wall, (due, next(self._order), fire))

    def after(self, seconds: float, fire: Fire) -> None:
        """Call ``fire`` in so many seconds."""
        due = self._clock.monotonic() + int(seconds * 1e9)
        heappush(self._monotonic, (due, next(self._order), fire))

    def fire_due(self, now: int) -> None:
        """Call what is due, by the wall at ``now`` (ns): what it decides on, so that nothing is
        called that would still be too early there."""
        for heap, time in ((self._wall, now), (self._monotonic, self._clock.monotonic())):
            while heap and heap[0][0] <= time:
                heappop(heap)[2]()

    def next_in(self) -> float | None:
        """Seconds until the next timer; None when there is none."""
        waits = []
        if self._wall:
            waits.append(self._wall[0][0] - self._clock.now())
        if self._monotonic:
            waits.append(self._monotonic[0][0] - self._clock.monotonic())
        return max(0.0, min(waits) / 1e9) if waits else None
