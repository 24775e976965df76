"""Time, as the engine sees it: injected, so that tests need not wait."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Both hands of a clock, in nanoseconds."""

    def now(self) -> int:
        """Since 1970, UTC; may jump. For what is recorded."""
        ...

    def monotonic(self) -> int:
        """Since some moment; never goes back. For timeouts."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> int:
        return time.monotonic_ns()
