"""Pipelines and resources, drawn from a seed."""

from __future__ import annotations

from random import Random
from typing import Any

from simulation.world import SECOND, World

from semantica.pipeline.engine import stock
from semantica.pipeline.engine.failure import FailureHandler
from semantica.pipeline.engine.pool import Draft
from semantica.pipeline.engine.requests import Submission
from semantica.pipeline.engine.submission import _types, submitted
from semantica.pipeline.events import resource as r
from semantica.pipeline.events.definition import PipelineDefinition, RetryPolicy, StepDefinition

HERE = "simulation.workers"
CAPACITY = {"slots": 2.0, "room": 3.0}
RATE = 2, 10.0
"""Starts of steps of the type ``limited``, in so many seconds."""


def policy(chance: Random) -> RetryPolicy:
    return RetryPolicy(
        max_retries=chance.randint(0, 3),
        initial_delay=chance.choice([0.0, 0.5, 20.0]),
        jitter=chance.choice([0.0, 0.5, 1.0]),
        max_elapsed=chance.choice([None, None, 90.0]),
    )


def step(chance: Random, i: int, depth: int) -> StepDefinition:
    def sometimes(share: float, value: Any) -> Any:
        return value if chance.random() < share else None

    before = chance.sample(range(i), min(i, chance.choice([0, 1, 1, 1, 2, 3])))
    waits = [
        chance.choice(["sleep 0", "sleep 5", "sleep 40", "go", "go 30", "stop 10"])
        for _ in range(chance.choice([0, 0, 0, 0, 1, 2]))
    ]
    if depth < 3 and chance.random() < 0.12:
        nested = pipeline(chance, f"within s{i}", chance.randint(1, 3), depth + 1)
        return StepDefinition(
            name=f"s{i}",
            type=chance.choice(["plain", "sturdy"]),
            dependencies=tuple(f"s{j}" for j in before),
            pipeline=nested,
            when=sometimes(0.1, f"{HERE}:condition"),
            compensate=sometimes(0.2, f"{HERE}:undo"),
            timeout=sometimes(0.2, chance.choice([5.0, 30.0])),
            retry=sometimes(0.5, policy(chance)),
        )
    wanted = {n: chance.choice([1.0, 1.0, 1.5, 2.0]) for n in CAPACITY if chance.random() < 0.2}
    return StepDefinition(
        name=f"s{i}",
        type=chance.choice(["plain", "plain", "limited", "sturdy"]),
        dependencies=tuple(f"s{j}" for j in before),
        config={"waits": waits},
        handler=f"{HERE}:handler",
        when=sometimes(0.15, f"{HERE}:condition"),
        compensate=sometimes(0.4, f"{HERE}:undo"),
        priority=chance.randint(0, 2),
        timeout=sometimes(0.3, chance.choice([0.5, 5.0, 30.0])),
        heartbeat_timeout=sometimes(0.1, 4.0),
        retry=sometimes(0.5, policy(chance)),
        at_most_once=chance.random() < 0.12,
        resources=wanted,
    )


def pipeline(chance: Random, name: str, size: int, depth: int = 0) -> PipelineDefinition:
    steps = [step(chance, i, depth) for i in range(size)]
    chance.shuffle(steps)
    return PipelineDefinition(name, tuple(steps))


def submission(
    world: World, run_id: str, engine: str, definition: PipelineDefinition
) -> Submission:
    """A run that somebody asks for."""
    chance = world.chance
    answers = FailureHandler().answers()
    event = submitted(
        definition,
        run_id,
        world.store.artifacts,
        engine=engine,
        priority=chance.randint(0, 1),
        on_failure=chance.choice(["stop", "continue", "rollback"]),
        deadline=chance.choice([None, None, world.wall + chance.randint(5, 200) * SECOND]),
        parallelism=chance.choice([None, None, 1, 2]),
        retry=policy(chance) if chance.random() < 0.3 else None,
        answers=answers._replace(policies={}, fallbacks={}),
        allow_pickle=False,
        origin=None,
        warnings=[],
    )
    if "sturdy" in _types(definition):
        from msgspec.structs import replace

        event = replace(event, fallbacks={"sturdy": f"{HERE}:fallback"})
    return Submission(
        run_id=run_id,
        given=chance.random() < 0.7,
        event=event,
        definition=definition,
        handlers={},
        answers=answers,
        actor=f"user of {engine}",
    )


def supply(draft: Draft) -> None:
    """Register what there is."""
    for name, size in CAPACITY.items():
        stock.register(draft, name, r.ResourceType.CUSTOM, size)
    draft.record(r.RateLimited("limited", *RATE))
