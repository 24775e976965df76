"""A mixed load for a soak: every kind of step and of ending, one run after the other."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep, RetryPolicy
from semantica.pipeline.engine.result import PipelineFuture

HERE = "soak.load"
SOON = RetryPolicy(max_retries=2, initial_delay=0.01)


def quick(data: Any, context: Context) -> int:
    context.metric("steps")
    return 1


def bulky(data: Any) -> str:
    """An output that is kept as an artifact."""
    return os.urandom(10_000).hex()


def moody(data: Any, context: Context) -> int:
    if context.attempt < 3:
        raise ConnectionError("not yet")
    return context.attempt


def broken(data: Any) -> int:
    raise ValueError("never")


def sleepy(data: Any, context: Context) -> Any:
    context.sleep(0.02)
    return context.wait_for("go")


def many(data: Any, context: Context) -> int:
    return sum(context.map(len, ["a", "bc", "def"] * 5, key=None, workers=2))


async def waiting(data: Any) -> int:
    await asyncio.sleep(0.02)
    return 1


def elsewhere(data: Any, context: Context) -> int:
    """In a process: with a checkpoint."""
    context.checkpoint("pid", os.getpid())
    return 1


def dying(data: Any, context: Context) -> int:
    """Takes its process along, the first time."""
    if context.attempt == 1:
        os._exit(3)
    return 1


def endless(data: Any, context: Context) -> None:
    while True:
        context.raise_if_cancelled()
        time.sleep(0.005)


def undo(output: Any) -> None:
    """Nothing to undo."""


def step(name: str, handler: str, *before: str, **more: Any) -> PipelineStep:
    return PipelineStep(name, "t", {}, list(before), handler=f"{HERE}:{handler}", **more)


def pipelines() -> dict[str, tuple[Pipeline, str]]:
    """By name, with the status that its run ends in."""
    fan = [step(f"m{i}", "quick", "a", resources={"slots": 1}) for i in range(8)]
    made: dict[str, tuple[list[PipelineStep], str]] = {
        "threads": ([step("a", "quick"), *fan, step("z", "quick", *(m.name for m in fan))],
                    "completed"),
        "artifacts": ([step("a", "bulky"), step("b", "quick", "a")], "completed"),
        "retries": ([step("a", "moody", retry=SOON), step("b", "quick", "a")], "completed"),
        "waits": ([step("a", "sleepy")], "completed"),
        "map": ([step("a", "many")], "completed"),
        "async": ([step(f"a{i}", "waiting") for i in range(10)], "completed"),
        "process": ([step("a", "elsewhere", executor="process")], "completed"),
        "death": ([step("a", "dying", executor="process", retry=SOON)], "completed"),
        "cancel": ([step("a", "endless")], "cancelled"),
        "rollback": ([step("a", "quick", compensate=f"{HERE}:undo"), step("b", "broken", "a")],
                     "rolled_back"),
        "failure": ([step("a", "quick"), step("b", "broken", "a")], "failed"),
    }  # fmt: skip
    return {name: (Pipeline(name, steps), ending) for name, (steps, ending) in made.items()}


RARE = {"process": 0.3, "death": 0.1}
"""How much rarer these are than the others: they cost processes."""


def drawn(seed: int) -> Iterator[tuple[str, Pipeline, str]]:
    """Runs without end."""
    chance = random.Random(seed)
    made = pipelines()
    weights = [RARE.get(name, 1.0) for name in made]
    for name in itertools.chain(made, itertools.repeat("")):  # each of them once, to begin with
        chosen = name or chance.choices(list(made), weights)[0]
        yield chosen, *made[chosen]


def begin(engine: ExecutionEngine, name: str, pipeline: Pipeline) -> PipelineFuture:
    """Begin a run, and do to it what people do."""
    options = {"on_failure": "rollback"} if name == "rollback" else {}
    future = engine.execute_pipeline_async(pipeline, 0, **options)
    if name == "waits":
        assert engine.signal(future.run_id, "go", 5)
    elif name == "cancel":
        assert engine.cancel_pipeline(future.run_id)
    return future


def check(future: PipelineFuture, ending: str) -> None:
    """Its run has ended as it should have. Raises AssertionError."""
    result = future.result(60)
    assert result.status == ending, f"{result.run_id} is {result.status}: {result.errors}"
