"""Small runs, and the batches that record them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from semantica.pipeline.events.artifacts import Artifacts, MemoryArtifacts
from semantica.pipeline.events.codec import NONE, Value
from semantica.pipeline.events.definition import PipelineDefinition, StepDefinition
from semantica.pipeline.events.pipeline import PipelineClaimed, PipelineSubmitted
from semantica.pipeline.events.step import StepCompleted, StepProgressed, StepStarted
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import Event, to_new

SECOND = 1_000_000_000


def define(
    steps: Mapping[str, Sequence[str]], *, name: str = "job", **options: Mapping[str, Any]
) -> PipelineDefinition:
    """A pipeline of ``{step: dependencies}``; ``options`` are further fields, by step."""
    return PipelineDefinition(
        name,
        tuple(
            StepDefinition(step, "test", tuple(dependencies), **options.get(step, {}))
            for step, dependencies in steps.items()
        ),
    )


def submission(
    definition: PipelineDefinition, artifacts: Artifacts | None = None, **fields: Any
) -> PipelineSubmitted:
    """The first event of a run of ``definition``."""
    body = msgspec.json.encode(definition)
    return PipelineSubmitted(
        name=definition.name,
        definition=Value.of_text(body, artifacts or MemoryArtifacts()),
        identity="identity",
        data=fields.pop("data", NONE),
        engine=fields.pop("engine", "engine-1"),
        **fields,
    )


def claim(owner: str = "engine-1") -> PipelineClaimed:
    return PipelineClaimed(owner, "host", 4711, "1.0")


def value(text: str) -> Value:
    """A recorded string."""
    return Value(inline=msgspec.Raw(msgspec.json.encode(text)))


def started(step: str, attempt: int = 1) -> StepStarted:
    return StepStarted(step, attempt, "worker-1")


def completed(step: str, attempt: int = 1) -> StepCompleted:
    return StepCompleted(step, attempt, value(f"{step} {attempt}"), 0.5)


def batch(
    run_id: str, after: int, *events: Event, epoch: int = 1, actor: str = "tester", at: int = SECOND
) -> Batch:
    return Batch(f"run/{run_id}", after, epoch, actor, at, [to_new(event) for event in events])


def opening(run_id: str, *, at: int = SECOND, name: str = "job", **fields: Any) -> Batch:
    """A run of one step ``a``: submitted and claimed by its engine, its step started."""
    first = submission(define({"a": []}, name=name), **fields)
    return batch(run_id, 0, first, claim(first.engine), started("a"), at=at)


def progressed(n: int) -> list[Event]:
    return [StepProgressed("a", 1, float(i)) for i in range(n)]
