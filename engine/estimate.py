"""What a run of a pipeline will take, and what could be done about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ..events.errors import HandlerNotFound
from ..events.store import Store
from . import earlier
from .backends.workers import default_workers
from .binding import plan
from .core.estimate import Overlap, Work
from .core.graph import Graph
from .handlers import Handlers
from .model import Pipeline, PipelineStep

SHOWN = 5
"""Bottlenecks, and suggestions of a kind."""

SMALL = 0.05
"""Share of the critical path below which a step is no bottleneck."""

LARGE = 0.5
"""Share of the critical path from which on a step is worth splitting."""

MOST = 64
"""Workers that are suggested at the most: more threads seldom gain anything."""

WORTH = 0.95
"""What more workers must make of the estimate to be suggested."""

_INSTANT = 1e-6
"""Seconds for which a step that takes no time is taken to run."""


class Bottleneck(TypedDict):
    """A step of the critical path."""

    step: str
    seconds: float
    share: float
    """Of the critical path, 0 to 1."""
    alone: float
    """Seconds of it in which no other step can run."""


class Need(TypedDict):
    """What a run needs of a resource."""

    peak: float
    """The most at once, when no step waits for a worker."""
    largest: float
    """The most that one step needs."""
    step: str
    """That step."""


class Estimate(TypedDict):
    """What a run is expected to take. Times are seconds.

    A step of unknown duration counts as much as the average of the known ones; when nothing is
    known, all times are 0.
    """

    estimated_time: float
    """From the first start to the last end, on ``workers``."""
    critical_time: float
    """Of the critical path: what the run takes on any number of workers."""
    critical_path: list[str]
    """The longest path through the graph; by the number of steps when nothing is known."""
    total_work: float
    """The sum of all durations."""
    workers: int
    """Steps that run at once: the pipeline's parallelism, or less if the engine has fewer."""
    width: int
    """The most steps that could run at once."""
    durations: dict[str, float]
    basis: dict[str, earlier.Basis]
    """Where each duration is from: ``"run"``, ``"type"`` or ``"unknown"``."""
    bottlenecks: list[Bottleneck]
    """The largest steps of the critical path, largest first."""
    resources: dict[str, Need]
    suggestions: list[str]


def estimate(
    pipeline: Pipeline,
    graph: Graph,
    handlers: Handlers,
    *,
    log: str | os.PathLike[str] | Store | None,
    workers: int | None,
) -> Estimate:
    """What a run of a valid ``pipeline`` is expected to take.

    Args:
        graph: The names of its steps, each with those it depends on.
        handlers: Where their handlers are found.
        log: Where earlier runs are recorded.
        workers: Of the engine; None: as many as it has by default.

    Raises:
        LogError: The log cannot be read.
    """
    found = earlier.durations(pipeline, log)
    usual = sum(seconds for seconds, _ in found.values()) / len(found) if found else 0.0
    durations = {name: found[name][0] if name in found else usual for name in graph}
    lengths = durations if found else dict.fromkeys(graph, 1.0)
    spans = {name: max(length, _INSTANT) for name, length in lengths.items()}
    needs = {step.name: step.resources for step in pipeline.steps}
    work = Work(graph)
    path = work.critical_path(lengths)
    at_once = work.overlap(spans, needs, path)
    there = workers or default_workers()
    slots = min(there, pipeline.parallelism or there)
    priorities = {step.name: step.priority for step in pipeline.steps}
    result = Estimate(
        estimated_time=work.on(slots, durations, priorities),
        critical_time=sum(durations[name] for name in path),
        critical_path=path,
        total_work=sum(durations.values()),
        workers=slots,
        width=at_once.width,
        durations=durations,
        basis={name: found[name][1] if name in found else "unknown" for name in graph},
        bottlenecks=_bottlenecks(path, durations, at_once),
        resources=_resources(needs, at_once.peaks),
        suggestions=[],
    )
    result["suggestions"] += _unknown(result)
    target = min(result["width"], MOST)
    if target > slots:
        then = work.on(target, durations, priorities)
        result["suggestions"] += _parallelism(pipeline, result, there, target, then)
    result["suggestions"] += _large_steps(pipeline, result)
    result["suggestions"] += _needless_waits(pipeline, handlers)
    return result


def _bottlenecks(
    path: list[str], durations: Mapping[str, float], at_once: Overlap
) -> list[Bottleneck]:
    total = sum(durations[name] for name in path)
    if not total:
        return []
    largest = sorted(path, key=lambda name: -durations[name])[:SHOWN]
    return [
        Bottleneck(
            step=name,
            seconds=durations[name],
            share=durations[name] / total,
            alone=min(at_once.alone[name], durations[name]),
        )
        for name in largest
        if durations[name] >= SMALL * total
    ]


def _resources(
    needs: Mapping[str, Mapping[str, float]], peaks: Mapping[str, float]
) -> dict[str, Need]:
    largest: dict[str, tuple[float, str]] = {}
    for step, amounts in needs.items():
        for resource, amount in amounts.items():
            if resource not in largest or amount > largest[resource][0]:
                largest[resource] = amount, step
    return {
        resource: Need(peak=peaks[resource], largest=amount, step=step)
        for resource, (amount, step) in sorted(largest.items())
    }


# Suggestions


def _unknown(result: Estimate) -> Iterator[str]:
    unknown = [name for name, basis in result["basis"].items() if basis == "unknown"]
    if len(unknown) == len(result["basis"]):
        yield "run it once: nothing is known yet of how long its steps take"
    elif unknown:
        yield (
            f"run it once: {_listed(unknown)} never ran in this log, and count as much as the "
            "others do on average"
        )


def _parallelism(
    pipeline: Pipeline, result: Estimate, workers: int, target: int, then: float
) -> Iterator[str]:
    width, now = result["width"], result["estimated_time"]
    limits = [("the parallelism", pipeline.parallelism), ("max_workers of the engine", workers)]
    low = [(what, limit) for what, limit in limits if limit and limit < target]
    if then <= WORTH * now or not now:
        raised = " and ".join(f"{what} from {limit} to {target}" for what, limit in low)
        gain = f", and it would take {then:.3g} s rather than {now:.3g} s" if now else ""
        yield f"raise {raised}: {width} steps could run at once{gain}"


def _large_steps(pipeline: Pipeline, result: Estimate) -> Iterator[str]:
    if len(result["critical_path"]) < 2:
        return
    steps = {step.name: step for step in pipeline.steps}
    for one in result["bottlenecks"]:
        if one["share"] >= LARGE:
            name = one["step"]
            process = steps[name].executor == "process"
            mend = "" if process else ", or, if it computes, run it with executor='process'"
            yield (
                f"step {name!r} takes {one['share']:.0%} of the critical path: split it into steps "
                f"that can run at once{mend}"
            )


def _needless_waits(pipeline: Pipeline, handlers: Handlers) -> Iterator[str]:
    """Steps that wait for others and do not take their output."""
    idle = [step for step in pipeline.steps if step.dependencies and _ignores(step, handlers)]
    for step in idle[:SHOWN]:
        yield (
            f"step {step.name!r} waits for {_listed(step.dependencies)}, and its handler takes no "
            "data: unless the order matters, drop the dependency and it starts at once"
        )


def _ignores(step: PipelineStep, handlers: Handlers) -> bool:
    try:
        handler = handlers.find(step)
    except HandlerNotFound:
        return False
    if handler is None:
        return False
    shape = plan(handler)
    return shape.data_name is None and not shape.opaque


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + rest
