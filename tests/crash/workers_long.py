"""The long form: ``python tests/crash/workers_long.py [--runs N] [--kills N] [--seed S]``.

Five workers share two queues and are killed at random; prints what was seen, and what it took.
"""
# ruff: noqa: E402 (a script that finds its neighbours first)

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import workers


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = workers.survive(
            Path(folder),
            runs=given.runs,
            workers=given.workers,
            kills=given.kills,
            seed=given.seed,
        )
    most = ", ".join(f"{number} of {name}" for name, number in sorted(seen.most.items()))
    print(
        f"seed {given.seed}: {given.runs} runs, {seen.kills} kills, {seen.workers} engines, "
        f"{seen.takeovers} takeovers, {seen.interrupted} attempts interrupted, none executed "
        f"after its completion, at most {most}; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
