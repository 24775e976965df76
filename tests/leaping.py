"""A clock for engines under test, which leaps over the delays of retries."""

from __future__ import annotations

import time
from contextlib import suppress

from semantica.pipeline import ExecutionResult, PipelineFuture

LEAP = 120.0
"""Seconds, more than any delay of a policy."""


class LeapingClock:
    """The machine's clock, plus the leaps."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        return time.time_ns() + self.ahead

    def monotonic(self) -> int:
        return time.monotonic_ns() + self.ahead

    def leap(self, seconds: float = LEAP) -> None:
        self.ahead += int(seconds * 1e9)

    def result(self, future: PipelineFuture) -> ExecutionResult:
        """How the run ends, leaping whenever nothing ends for a moment: it may wait for a retry."""
        for _ in range(200):
            with suppress(TimeoutError):
                return future.result(0.1)
            self.leap()
        raise AssertionError(f"run {future.run_id} does not end")
