"""A workload in a process of its own: ``python -m ...bench.ours NAME {"n": 1000}``.

It runs in an empty folder and prints what it measured as one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

Measured = dict[str, float]
"""Figures by name; those of time are microseconds."""


def main(workloads: Mapping[str, Callable[..., Measured]]) -> None:
    """Carry out what the command line names."""
    name, options = sys.argv[1:]
    print(json.dumps(workloads[name](**json.loads(options))), flush=True)


def start(module: str, name: str, **options: Any) -> subprocess.Popen[str]:
    """Another workload of this interpreter, in the same folder."""
    place = f"{__name__.rpartition('.')[0]}.{module}"
    command = [sys.executable, "-m", place, name, json.dumps(options)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
