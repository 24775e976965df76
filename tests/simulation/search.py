"""Look for a seed that breaks a promise: ``python tests/simulation/search.py --seconds 600``.

``--from N`` begins with seed N; ``--seed N`` lives through that one alone and shows its history.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from simulation.simulator import Simulation, simulate, stage


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.seed)
    faults: Counter[str] = Counter()
    broken: list[int] = []
    began, seed, events = time.process_time(), options.first, 0
    while (spent := time.process_time() - began) < options.seconds:
        try:
            seen = simulate(seed)
        except Exception as error:
            broken.append(seed)
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"seed {seed}: {type(error).__name__} {str(error)[:120]} ({where.name})")
        else:
            faults.update(seen.world.faults)
            events += seen.position
        seed += 1
    tried = seed - options.first
    print(f"{tried} seeds in {spent:.0f} s of CPU ({tried / spent:.0f} a second), {events} events")
    print("faults:", ", ".join(f"{n} {what}" for what, n in sorted(faults.items())))
    print(f"{len(broken)} seeds broke a promise: {broken[:20]}")
    return 1 if broken else 0


def show(seed: int) -> int:
    """One seed, with all that was recorded."""
    import random

    random.seed(seed)
    simulation = Simulation(seed)
    with stage():
        try:
            simulation.run()
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            for e in simulation.world.store.read_all():
                at = (e.at - 1_700_000_000 * 10**9) / 1e9
                told = e.payload.decode()[:100]
                print(
                    f"{at:9.2f} {e.stream:14} {e.version:3} e{e.epoch} {e.actor:12} {e.type} {told}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
