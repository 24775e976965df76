"""A process that dies at a chosen boundary: right before or right after an append is committed.

``python boundary.py LOG SHAPE TRACE AT``: runs, or recovers, the pipeline SHAPE in LOG; AT is
``before N`` or ``after N`` (the N-th append of this process, from 1), or ``never``. Prints the
result and the number of appends. The fault is in this process alone: the product knows nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    RetryPolicy,
)
from semantica.pipeline.events.sqlite import SqliteStore

RUN_ID = "boundary"
HERE = "boundary"
SOON = RetryPolicy(max_retries=3, initial_delay=0.0)


class Dying(SqliteStore):
    """A log whose process is killed at an append."""

    when, at = "never", 0
    appends = 0

    def append(self, *args: Any, **more: Any) -> Any:
        Dying.appends += 1
        if (self.when, self.at) == ("before", Dying.appends):
            os.kill(os.getpid(), signal.SIGKILL)
        answers = super().append(*args, **more)
        if (self.when, self.at) == ("after", Dying.appends):
            os.kill(os.getpid(), signal.SIGKILL)
        return answers


def work(step: PipelineStep, data: Any, context: Context) -> int:
    """Leave a trace, and add up."""
    _trace("do", step.name, context.attempt)
    return 1 + (sum(data.values()) if isinstance(data, dict) else data or 0)


def moody(step: PipelineStep, data: Any, context: Context) -> int:
    """Fails unless an earlier attempt has said that it will."""
    _trace("do", step.name, context.attempt)
    tried = context.checkpoint("tried") or 0
    if tried < 2:
        context.checkpoint("tried", tried + 1)
        raise ConnectionError("not yet")
    return tried + (data or 0)


def broken(step: PipelineStep, data: Any, context: Context) -> int:
    _trace("do", step.name, context.attempt)
    raise ValueError("never")


def odd(data: int) -> bool:
    return data % 2 == 1


def sleepy(step: PipelineStep, data: Any, context: Context) -> int:
    context.sleep(0.01)
    got: int = context.wait_for("go")
    _trace("do", step.name, context.attempt)
    return got + data


def many(step: PipelineStep, data: Any, context: Context) -> int:
    return sum(context.map(_double, range(6), key=str, workers=1)) + data


def _double(n: int) -> int:
    _trace("item", str(n), 0)
    return 2 * n


def undo(output: int, step: PipelineStep, context: Context) -> None:
    _trace("undo", step.name, context.attempt)


def instead(step: Any, error: BaseException, data: Any, context: Context) -> int:
    _trace("do", step.name, context.attempt)
    return 100 + (data or 0)


def _trace(*words: object) -> None:
    descriptor = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def step(name: str, *before: str, handler: Any = "work", kind: str = "t", **more: Any) -> Any:
    return PipelineStep(name, kind, {}, list(before), handler=f"{HERE}:{handler}", **more)


def within(name: str, *steps: Any, after: str = "") -> Any:
    """A step that is a pipeline."""
    pipeline = Pipeline(f"within {name}", list(steps))
    before = [after] if after else []
    return PipelineStep(name, "pipeline", {}, before, pipeline=pipeline)


SHAPES: dict[str, tuple[list[PipelineStep], dict[str, Any]]] = {
    "chain": ([step("a"), step("b", "a"), step("c", "b")], {}),
    "diamond": ([step("a"), step("l", "a"), step("r", "a"), step("z", "l", "r")], {}),
    "retry": ([step("a"), step("m", "a", handler="moody", retry=SOON), step("z", "m")], {}),
    "fallback": ([step("a"), step("f", "a", handler="broken", kind="f"), step("z", "f")], {}),
    "condition": (
        [step("a"), step("y", "a", when=f"{HERE}:odd"), step("b", "a"), step("n", "b",
         when=f"{HERE}:odd"), step("z", "y", "n")],
        {},
    ),
    "waits": ([step("a"), step("s", "a", handler="sleepy"), step("z", "s")], {}),
    "map": ([step("a"), step("m", "a", handler="many"), step("z", "m")], {}),
    "rollback": (
        [step("a", compensate=f"{HERE}:undo"), step("b", "a", compensate=f"{HERE}:undo"),
         step("x", "b", handler="broken")],
        {"on_failure": "rollback"},
    ),
    "within": ([within("n", step("b"))], {}),
    "nested": (
        [step("a"),
         within("n", step("b"),
                within("m", step("c"), step("d", "c", handler="moody", retry=SOON), after="b"),
                step("e", "m"), after="a"),
         step("z", "n")],
        {},
    ),
    "nested rollback": (
        [step("a", compensate=f"{HERE}:undo"),
         within("n", step("b", compensate=f"{HERE}:undo"),
                within("m", step("c", compensate=f"{HERE}:undo"), after="b"), after="a"),
         step("x", "n", handler="broken")],
        {"on_failure": "rollback"},
    ),
    "resources": (
        [step("a", resources={"slots": 2}), step("l", "a", resources={"slots": 2}),
         step("r", "a", resources={"slots": 2}), step("z", "l", "r")],
        {},
    ),
}  # fmt: skip


def main() -> None:
    """See the module."""
    log, shape, _, when = sys.argv[1:5]
    Dying.when, _, number = when.partition(" ")
    Dying.at = int(number or 0)
    steps, options = SHAPES[shape]
    with ExecutionEngine(Dying(log), max_workers=4) as engine:
        if shape == "resources":
            engine.resource_scheduler.register_resource("slots", "custom", 2)
        engine.failure_handler.register_fallback("f", instead)
        pipeline = Pipeline(shape, steps)
        future = engine.execute_pipeline_async(pipeline, 0, run_id=RUN_ID, **options)
        if shape == "waits" and not _signalled(engine):
            engine.signal(RUN_ID, "go", 10)
        result = future.result(30)
        if shape.endswith("rollback") and result.status == "rolled_back":
            output: Any = "rolled back"
        else:
            output = result.raise_for_status().output
    print(json.dumps({"output": output, "appends": Dying.appends}))


def _signalled(engine: ExecutionEngine) -> bool:
    return any(e.type == "SignalReceived" for e in engine.history(RUN_ID))


if __name__ == "__main__":
    sys.modules[HERE] = sys.modules["__main__"]
    main()
