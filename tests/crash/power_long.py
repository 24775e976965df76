"""Cut the power tens of thousands of times: ``python tests/crash/power_long.py --rounds 5``.

For each durability, at every recorded operation, with none, half, nearly all and all of what was
not synced, ``--rounds`` times, each with another draw of the sectors and names that are left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import power


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for durability in ("full", "normal", "off"):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            recording = power.make(Path(folder), durability)
            seen = power.survives(recording, durability, seed=options.seed, rounds=options.rounds)
        cuts, spent = sum(seen.values()), time.monotonic() - begun
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.items()))
        print(
            f"{durability}: {len(recording.operations)} operations, {cuts} cuts in {spent:.0f} s: "
            f"{told}; all that was promised was there",
            flush=True,
        )


if __name__ == "__main__":
    main()
