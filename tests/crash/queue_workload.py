"""What the workers of these tests execute, and how it is submitted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep

PAUSE = 0.03  # seconds a step takes, so that kills find something in flight
STEPS = 3
QUEUES = ("a", "b")
NAMES = ("p", "q", "r")
LIMITS = {"pipeline": {"p": 2}, "queue": {"a": 2}}
"""What the workers are told."""


def work(step: PipelineStep, data: int, context: Context, trace: str, pause: float = PAUSE) -> int:
    """Leave a trace, take some time, and add up."""
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{context.run_id} {step.name} {context.attempt}\n".encode())
    os.close(descriptor)
    time.sleep(pause)  # the work itself: a kill finds it in flight
    return (data or 0) + 1


def pipeline(name: str, trace: Path, pause: float = PAUSE) -> Pipeline:
    """A chain."""
    config = {"trace": str(trace), "pause": pause}
    names = [f"s{i}" for i in range(STEPS)]
    return Pipeline(
        name,
        [
            PipelineStep(one, "work", config, before, handler=f"{__name__}:work")
            for one, before in zip(names, [[], *([name] for name in names)], strict=False)
        ],
    )


def submit(log: Path, trace: Path, runs: int) -> Sequence[str]:
    """Put runs into the queues."""
    with ExecutionEngine(log, durability="normal") as engine:
        return [
            engine.submit(
                pipeline(NAMES[i % len(NAMES)], trace), 0, queue=QUEUES[i % 2], priority=i % 3
            )
            for i in range(runs)
        ]
