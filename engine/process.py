"""Figures of this process."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> float:
    """Peak resident memory of this process so far, in MiB (getrusage(2): KiB, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


importing_main = False
"""Whether this is a worker process that is importing the main script of another one."""
