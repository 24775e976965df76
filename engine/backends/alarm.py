"""Calls that are due at a time: one thread for all of them, which sleeps until the next one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from math import inf

from ..logger import logger

Fire = Callable[[], None]


class Alarm:
    """Calls functions when they are due, in its own thread, one after another.

    They should be quick; what they raise is logged.
    """

    def __init__(self) -> None:
        self._due: dict[object, tuple[float, Fire]] = {}
        self._changed = threading.Condition()
        self._wakes = inf
        threading.Thread(target=self._run, name="semantica-alarm", daemon=True).start()

    def after(self, seconds: float, fire: Fire) -> Fire:
        """Have ``fire`` called in so many seconds.

        Returns:
            What calls it off, unless it is too late; may be called by any thread, at any time.
        """
        key, due = object(), time.monotonic() + seconds
        with self._changed:
            self._due[key] = due, fire
            if due < self._wakes:
                self._changed.notify()

        def call_off() -> None:
            with self._changed:
                self._due.pop(key, None)

        return call_off

    def _run(self) -> None:
        while True:
            for fire in self._wait():
                try:
                    fire()
                except Exception:
                    logger().exception("what was due could not be done")
                del fire  # or it would be kept until the next one

    def _wait(self) -> list[Fire]:
        with self._changed:
            # There are few at a time, so all are looked at.
            self._wakes = min((due for due, _ in self._due.values()), default=inf)
            if (patience := self._wakes - time.monotonic()) > 0:
                self._changed.wait(min(patience, threading.TIMEOUT_MAX))
            self._wakes = -inf  # awake: nobody needs to notify
            now = time.monotonic()
            return [self._due.pop(key)[1] for key, (due, _) in [*self._due.items()] if due <= now]


_alarm: Alarm | None = None
_lock = threading.Lock()


def after(seconds: float, fire: Fire) -> Fire:
    """:meth:`Alarm.after` of the alarm that this process shares, started when first needed."""
    global _alarm
    with _lock:
        if _alarm is None:
            _alarm = Alarm()
        alarm = _alarm
    return alarm.after(seconds, fire)


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _alarm, _lock
    _alarm, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
