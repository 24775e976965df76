"""Forty steps that take their time, to kill and to recover; and two more for whoever says yes.

Run it, kill its process with ``kill -9``, and have another one go on where it was::

    semantica-pipeline run tools/samples/pipelines/slow.py:pipeline
    semantica-pipeline recover

``asking`` comes to a step that waits for a signal::

    semantica-pipeline run tools/samples/pipelines/slow.py:asking
    semantica-pipeline signal asking approve true
"""

from __future__ import annotations

import time
from typing import Any

from semantica.pipeline import Context, Pipeline, PipelineBuilder

WIDTH = 38
"""Steps between the first and the last one."""
SECONDS = 0.25


def start(data: Any, context: Context) -> list[int]:
    """Numbers to work on, one for each of the steps that follow."""
    return list(range(WIDTH))


def work(data: list[int], context: Context, number: int, seconds: float = SECONDS) -> int:
    """Square a number, slowly, in ten parts."""
    for part in range(10):
        context.raise_if_cancelled()
        context.progress(part, 10)
        time.sleep(seconds / 10)
    context.metric("numbers_squared")
    return data[number] ** 2


def collect(data: dict[str, int]) -> int:
    """The sum of all squares."""
    return sum(data.values())


def build(seconds: float = SECONDS) -> Pipeline:
    """A step, a broad fan-out, and a step that gathers."""
    builder = PipelineBuilder(name="slow").add_step("start", "start", handler=start)
    names = [f"work-{number:02d}" for number in range(WIDTH)]
    for number, name in enumerate(names):
        builder.add_step(
            name, "work", handler=work, dependencies=["start"], number=number, seconds=seconds
        )
    return builder.add_step("collect", "collect", handler=collect, dependencies=names).build()


def ask(data: int, context: Context) -> dict[str, Any]:
    """Wait for somebody's answer, without a worker."""
    return {"sum": data, "approved": context.wait_for("approve")}


pipeline = build()
asking = (
    PipelineBuilder()
    .add_step("slow", pipeline=build())
    .add_step("ask", "ask", handler=ask)
    .build("asking")
)
