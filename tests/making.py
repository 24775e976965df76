"""What many tests name."""

from __future__ import annotations

from collections.abc import Callable

from semantica.pipeline import ExecutionEngine

MakeEngine = Callable[..., ExecutionEngine]
"""Makes an engine on the test's log; takes the engine's options."""


def of_run(run_id: str) -> str:
    """The condition, in SQL, that an event of a SQLite log is of this run."""
    return f"stream = (SELECT id FROM streams WHERE name = 'run/{run_id}')"
