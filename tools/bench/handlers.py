"""Handlers of the benchmark's steps, where other processes find them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from ...engine.context import Context

FIRST = Path("first")
"""Holds when the first step of a recovered run began."""


def grow(data: int) -> int:
    """What every step does: as good as nothing."""
    return data + 1


def same(item: int) -> int:
    """What is done to every item."""
    return item


def nap(data: Any) -> None:
    """A step of ten milliseconds."""
    time.sleep(0.01)


def mapped(context: Context, count: int) -> int:
    """One step of many items."""
    return len(context.map(same, range(count)))


def die_once(data: int, context: Context) -> int:
    """Ends its process in the first attempt; in the second it says when it began."""
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    FIRST.write_text(repr(time.time()))
    return data + 1
