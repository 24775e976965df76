"""A mixed load for as long as you like: ``python tests/soak_long.py --minutes 10``.

Threads, processes, coroutines, maps, waits, retries, resources, cancels, rollbacks and crashed
workers, twelve runs at a time on one log. Prints what the process has of memory, file handles,
threads and processes, and fails when any of it goes on growing after the warm-up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from soak import measuring as s


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seconds = options.minutes * 60
    print(s.HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "soak.db"
        samples = s.soak(
            log, seconds, seconds / 40, lambda one: print(s.row(one), flush=True), options.seed
        )
        print(f"log {log.stat().st_size / 2**20:.0f} MiB, {samples[-1].runs} runs")
    found = s.growth(samples)
    print("\n".join(found) or "nothing grew after the warm-up")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
