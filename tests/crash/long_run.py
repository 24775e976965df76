"""The long form: ``python tests/crash/long_run.py [--kills N] [--seed S]``.

Runs every shape, by the same run id and by recovery, with N kills each, and prints what it saw.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import workload
from killing import never_executed_after_completion, survive


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills in all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    seed, total = options.seed, 0
    while total < options.kills:
        for shape in workload.SHAPES:
            for mode in ("same", "recover"):
                with tempfile.TemporaryDirectory() as folder:
                    outcome = survive(Path(folder), shape, mode, 12, seed)
                never_executed_after_completion(outcome)
                total += outcome.kills
                repeated = len(outcome.executions) - outcome.steps
                print(
                    f"seed {seed}: {shape} by {mode}: {outcome.kills} kills, "
                    f"{len(outcome.history)} events, {repeated} attempts repeated, none lost",
                    flush=True,
                )
                seed += 1
    print(f"{total} kills survived")


if __name__ == "__main__":
    main()
