"""Calls: tasks that were given together, in the order in which they are to start.

Which task starts next is asked of one heap with an entry for each call, at the key of its first
waiting task. A call's key can only rise (its first task was taken, or cancelled), so a stale one
is corrected when it comes to the top: what is at the top then comes first among all tasks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace

from ..tasks import ParallelExecutionResult, Task

Key = tuple[int, int, int]


class Entry:
    """A task in a call, and how far it is."""

    def __init__(self, call: Call, index: int, task: Task) -> None:
        self.call = call
        self.index = index
        self.task = task
        self.key: Key = (-task.priority, call.serial, index)
        self.worker: str | None = None
        """None: it waits, or was cancelled before it started."""
        self.lent = False
        """Its worker is in the middle of the task that made the call."""
        self.since: float | None = None
        """When its handler began, on the clock of ``time.perf_counter``."""
        self.call_off: Callable[[], None] | None = None
        """Calls off its timeout."""
        self.ended = False
        self.nested: list[Call] = []
        """Calls that its handler is waiting for."""


class Call:
    """Tasks that were given together.

    Args:
        serial: Its place among all calls.
        in_process: Whether its tasks run in processes.
    """

    def __init__(self, serial: int, tasks: list[Task], in_process: bool) -> None:
        self.serial = serial
        self.in_process = in_process
        self.entries = {task.task_id: Entry(self, index, task) for index, task in enumerate(tasks)}
        self.results: list[ParallelExecutionResult | None] = [None] * len(tasks)
        self.done = threading.Event()
        self._waiting = deque(sorted(self.entries.values(), key=lambda entry: entry.key))
        self._left = len(tasks)
        if not tasks:
            self.done.set()

    def first(self) -> Entry | None:
        """The task that should start first; None: none waits."""
        while self._waiting and self._waiting[0].ended:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def end(self, entry: Entry, result: ParallelExecutionResult) -> None:
        """Keep a task's result, unless it has one."""
        if entry.ended:
            return
        entry.ended = True
        if entry.call_off is not None:
            entry.call_off()
        self.results[entry.index] = result
        self._left -= 1
        if not self._left:
            self.done.set()

    def take(self, entry: Entry, worker: str, *, lent: bool = False) -> None:
        """Its first task goes to a worker."""
        self._waiting.popleft()
        entry.worker, entry.lent = worker, lent


class Calls:
    """The calls under way."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._heap: list[tuple[Key, Call]] = []

    def add(self, call: Call) -> None:
        """A call begins."""
        self._calls[call.serial] = call
        first = call.first()
        if first is not None:
            heappush(self._heap, (first.key, call))

    def remove(self, call: Call) -> None:
        """A call has been answered."""
        self._calls.pop(call.serial, None)
        if len(self._heap) > 2 * len(self._calls) + 10:  # of calls that are over, for the most part
            waiting = [(one.first(), one) for one in self]
            self._heap = [(entry.key, one) for entry, one in waiting if entry is not None]
            heapify(self._heap)

    def __iter__(self) -> Iterator[Call]:
        return iter([*self._calls.values()])

    def first(self) -> Entry | None:
        """The task that should start first of all; None: none waits."""
        while self._heap:
            key, call = self._heap[0]
            entry = call.first()
            if entry is None:
                heappop(self._heap)
            elif entry.key != key:
                heapreplace(self._heap, (entry.key, call))
            else:
                return entry
        return None
