"""What is recorded, system call by system call, to find out what a cut of the power would leave.

``python power_workload.py LOG DURABILITY FAULT``: executes a pipeline with artifacts, checkpoints,
a map, a retry and resources, closes the log, opens it again, and executes another. After every
append that was acknowledged it writes ``ack N``: so many events are promised from then on. FAULT
breaks the product on purpose: ``artifacts`` does not sync them, ``folders`` no folder, ``none``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep, RetryPolicy
from semantica.pipeline.events import artifacts, sqlite_connection
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections import catchup


class Telling(SqliteStore):
    """A log that says what it has acknowledged."""

    acknowledged = 0

    def append(self, batches: Any, **more: Any) -> Any:
        answers = super().append(batches, **more)
        pairs = zip(batches, answers, strict=True)
        Telling.acknowledged += sum(len(batch.events) for batch, no in pairs if no is None)
        os.write(1, f"ack {Telling.acknowledged}\n".encode())
        return answers


def bulky(data: Any, number: int) -> str:
    return str(number) * 9_000


def careful(data: Any, context: Context) -> int:
    context.checkpoint("half", "x" * 5_000)
    if context.attempt == 1:
        raise ConnectionError("once more")
    return len(context.checkpoint("half"))


def many(data: Any, context: Context) -> int:
    return sum(context.map(len, ["a", "bb", "ccc"] * 4, workers=2))


def _pipeline(first: int) -> Pipeline:
    again = RetryPolicy(max_retries=1, initial_delay=0.0)
    return Pipeline(
        "power",
        [
            PipelineStep("a", "t", {"number": first}, handler=bulky),
            PipelineStep("b", "t", {"number": first + 1}, ["a"], handler=bulky),
            PipelineStep("c", "t", {}, ["a"], handler=careful, retry=again),
            PipelineStep("m", "t", {}, ["b"], handler=many, resources={"slots": 1}),
            PipelineStep("z", "t", {"number": first}, ["c", "m"], handler=bulky),
        ],
    )


def main() -> None:
    """See the module."""
    log, durability, fault = sys.argv[1:4]
    # Small, so that a short recording has many of them: carried over, begun anew, snapshots.
    sqlite_connection.CHECKPOINT_BYTES, sqlite_connection.CHECK_EVERY = 100_000, 4
    catchup.SNAPSHOT_EVENTS = 10
    if fault != "none":
        sync = artifacts.sync_path
        artifacts.sync_path = lambda path: None if path.is_dir() else sync(path)
    for life in range(2):
        store = Telling(log, durability=durability)
        if fault == "artifacts":
            store.artifacts._sync = False
        with ExecutionEngine(store, max_workers=3) as engine:
            engine.resource_scheduler.register_resource("slots", "custom", 2)
            engine.execute_pipeline(_pipeline(10 * life)).raise_for_status()


if __name__ == "__main__":
    assert Path(sys.argv[1]).is_absolute()
    main()
