"""Where steps can run: in a process that may crash, on one asyncio loop, in a thread.

``semantica-pipeline run tools/samples/pipelines/executors.py:pipeline``
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from semantica.pipeline import PipelineBuilder, RetryPolicy


def search(data: Any, context: Any, below: int) -> int:
    """Count primes: work for a process of its own, which goes on from its checkpoint."""
    found, number = context.checkpoint("so far") or (0, 2)
    while number < below:
        found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        number += 1
        if number % 1000 == 0:
            context.progress(number, below)
            context.checkpoint("so far", (found, number))
            if context.should_yield():
                context.hand_back()
    return found


def fragile(data: Any, context: Any) -> str:
    """Native code that crashes the first time takes its process along, and nothing else."""
    if context.attempt == 1:
        os.abort()
    return f"survived, in attempt {context.attempt}"


async def wait(data: Any, seconds: float) -> float:
    """Waiting holds no worker: thousands of such steps can wait at once."""
    await asyncio.sleep(seconds)
    return seconds


def pipeline() -> PipelineBuilder:
    """Three kinds of steps side by side, and one that collects what they found."""
    builder = (
        PipelineBuilder(name="executors")
        .add_step(
            "primes", "search", handler=search, executor="process", dependencies=[], below=50_000
        )
        .add_step(
            "fragile",
            "fragile",
            handler=fragile,
            executor="process",
            dependencies=[],
            retry=RetryPolicy(initial_delay=0.1),
        )
    )
    for number in range(20):
        builder.add_step(f"wait-{number}", "wait", handler=wait, dependencies=[], seconds=0.5)
    everything = ["primes", "fragile", *(f"wait-{number}" for number in range(20))]
    builder.add_step("collect", "collect", handler=collect, dependencies=everything)
    return builder


def collect(data: dict[str, Any]) -> dict[str, Any]:
    """A plain function, in a thread."""
    waits = [value for name, value in data.items() if name.startswith("wait-")]
    return {"primes": data["primes"], "fragile": data["fragile"], "waited": sum(waits)}
