"""Progress callbacks, called in a thread of their own: a slow or broken one harms no run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..projections.progress import Progress
from .logger import logger


class Notifier:
    """Calls ``callback`` with every progress, in order."""

    def __init__(self, callback: Callable[[Progress], Any]) -> None:
        self._callback = callback
        self._queue: SimpleQueue[Progress | Callable[[], None]] = SimpleQueue()
        self._last: Progress | None = None
        threading.Thread(target=self._work, name="semantica-progress", daemon=True).start()

    def publish(self, progress: Progress) -> None:
        """Pass a progress on, unless it says the same as the one before."""
        if self._last is None or _differ(progress, self._last):
            self._last = progress
            self._queue.put(progress)

    def close(self, then: Callable[[], None]) -> None:
        """Call ``then`` once everything has been delivered, and end."""
        self._queue.put(then)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if not isinstance(item, Progress):
                item()
                return
            try:
                self._callback(item)
            except BaseException:  # SystemExit too: whoever waits for the run must be told its end
                logger().exception("the progress callback raised; the run goes on", run=item.run_id)


def _differ(one: Progress, other: Progress) -> bool:
    return (one.completed_steps, one.status, one.running_steps, one.failed_steps) != (
        other.completed_steps,
        other.status,
        other.running_steps,
        other.failed_steps,
    )
