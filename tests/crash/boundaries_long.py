"""The long form: ``python tests/crash/boundaries_long.py [SHAPE...]``, all shapes by default."""
# ruff: noqa: E402 (a script that finds its neighbours first)

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from boundaries import cross
from boundary import SHAPES


def main() -> None:
    """See the module."""
    total = 0
    for shape in sys.argv[1:] or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            seen = cross(Path(folder), shape)
        total += seen.crashes
        print(
            f"{shape}: {seen.appends} appends, {seen.crashes} crashes, "
            f"{seen.repeated} executions repeated, output {seen.output!r} every time",
            flush=True,
        )
    print(f"{total} crashes survived")


if __name__ == "__main__":
    main()
