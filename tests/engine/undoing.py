"""Steps that leave a line in a file, and what undoes them, also for processes of their own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    RetryPolicy,
)


def write(file: str | Path, line: str) -> None:
    """One line, at once."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def lines(file: Path) -> list[str]:
    """What was written."""
    return file.read_text().splitlines() if file.exists() else []


def do(data: Any, step: PipelineStep, file: str) -> dict[str, Any]:
    """Write the step's name; gives something to undo it with."""
    write(file, step.name)
    return {"file": file, "name": step.name, "pair": (1, 2)}


def undo(output: dict[str, Any]) -> None:
    """Write the name that the step gave."""
    assert output["pair"] == (1, 2), "as it was, not as JSON has it"
    write(output["file"], f"undo {output['name']}")


async def undo_async(output: dict[str, Any]) -> None:
    """The same, in a coroutine."""
    undo(output)


def undo_slowly(output: dict[str, Any], context: Context) -> None:
    """Begin, and take its time, unless told otherwise."""
    write(output["file"], f"begin {output['name']} {context.attempt}")
    hurry = Path(output["file"]).with_name("hurry")
    while not hurry.exists():
        time.sleep(0.005)
    undo(output)


def boom(data: Any) -> None:
    raise ValueError("boom")


def steps(file: Path, graph: dict[str, list[str]], **undone_by: Any) -> list[PipelineStep]:
    """Steps that write; ``undone_by`` names what undoes them, by step; others are undone by
    ``undo``. The last one fails."""
    made = [
        PipelineStep(
            name,
            "do",
            {"file": str(file)},
            before,
            handler=do,
            compensate=undone_by.get(name, undo),
        )
        for name, before in graph.items()
    ]
    made[-1].handler = boom
    made[-1].config = {}
    return made


def saga(file: Path, **undone_by: Any) -> Pipeline:
    """a, b, c, and a last step that fails."""
    graph = {"a": [], "b": ["a"], "c": ["b"], "fails": ["c"]}
    return Pipeline("saga", steps(file, graph, **undone_by))


def slow_saga(file: Path) -> Pipeline:
    """A saga that hangs in undoing b, until there is a file ``hurry`` beside ``file``."""
    return saga(file, b=undo_slowly)


def begin(log: str, file: str) -> None:
    """Run it, and wait to be killed."""
    engine = ExecutionEngine(log, default_max_retries=0)
    engine.execute_pipeline(slow_saga(Path(file)), run_id="saga", on_failure="rollback")


def recover(log: str) -> None:
    """Go on with it, and wait to be killed."""
    engine = ExecutionEngine(log, default_max_retries=0)
    print(len(engine.recover()), flush=True)
    sys.stdin.read()


FAST = RetryPolicy(max_retries=2, initial_delay=0)
