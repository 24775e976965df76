"""Python in a process of its own, for what a test must not do to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

TESTS = Path(__file__).parents[1]
PRELUDE = f"""
import json, os, sys, time
sys.path.insert(0, {str(TESTS)!r})
from contract.runs import batch, claim, completed, opening, progressed
from semantica.pipeline.events.envelope import first_break
from semantica.pipeline.events.errors import *
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Member
path = sys.argv[1]
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs ``code``, with the first argument as ``path``."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: object) -> str:
    """What ``code`` prints; it must end well."""
    process = start(code, *arguments)
    try:
        output, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, errors
    return output.strip()
