"""Makes the history of a pool, with every event of pools, and that of a run that is late:
``python tests/histories/record_pool.py schema-1``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from histories.record import HERE, line, summary  # which finds what tests share
from story import Story

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import resource as r
from semantica.pipeline.events import step as s
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import PoolEvent, to_event, to_new
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.projections.pool import Pool

SECOND = 10**9


def pool_events() -> list[PoolEvent]:
    """One after the other, a second apart."""
    cpu, gpu = r.ResourceType.CPU, r.ResourceType.GPU
    step = {"run": "r", "step": "Zerlegen ½", "step_type": "parse"}
    return [
        r.PoolConfigured(r.Ordering.FAIR_SHARE, r.Fit.BEST),
        r.ResourceRegistered("cpu", cpu, 8.0, soft=True),
        r.ResourceRegistered("cpu", cpu, 4.0),
        r.ResourceRegistered("gpus", gpu, 3.0, indices=(0, 1, 4)),
        r.ResourceRegistered("licence", r.ResourceType.CUSTOM, 1.0),
        r.ResourceReserved("cpu", "kept", 1.0, "critical"),
        r.ResourceReserved("gpus", "given up", 1.0, "critical"),
        r.RateLimited("parse", 2, 10.0),
        r.RateLimited("lifted", 2),
        r.AllocationRequested("a1", "e1", "job", {"cpu": 1.5, "gpu": 2.0}, 5, 10**18, **step),
        r.AllocationGranted("a1", {"cpu": 1.5, "gpus": 2.0}, (0, 4)),
        r.AllocationRequested("a2", "e2", "critical", {"cpu": 0.5}),
        r.AllocationGranted("a2", {"cpu": 0.5}),
        r.AllocationRequested("a3", "e1", "job", {"gpu": 0.25}),
        r.AllocationGranted("a3", {"gpus": 0.25}, (1,)),
        r.AllocationRequested("a4", "e2", "late", {"cpu": 4.0}),
        r.AllocationRequested("a5", "e2", "late", {"licence": 1.0}),
        r.AllocationRequested("a6", "e3", "late", {"cpu": 1.0}),
        r.ResourceResized("cpu", 3.0),
        r.AllocationDenied("a4", "4 cpu are wanted, and there are 3"),
        r.AllocationWithdrawn("a5"),
        r.AllocationWithdrawn("a6", "owner_lost"),
        r.ResourceRemoved("licence"),
        r.ResourceUnreserved("gpus", "given up"),
        r.RateLimited("lifted", 0),
        # It loses a device that is held, which comes back idle.
        r.ResourceRegistered("gpus", gpu, 2.0, indices=(0, 1)),
        r.AllocationReleased("a1"),
        r.AllocationReleased("a2", "owner_lost"),
        r.ResourceRegistered("gpus", gpu, 3.0, indices=(0, 1, 4)),
        r.AllocationRequested("a7", "e1", "job", {"cpu": 2.0}, **step),
    ]


def tell_pool() -> MemoryStore:
    """A log with these events."""
    store = MemoryStore()
    for version, event in enumerate(pool_events()):
        at = (1_000_000 + version) * SECOND
        store.append([Batch(r.pool_stream("here"), version, 1, "e1", at, [to_new(event)])])
    return store


def replayed(envelopes: Iterable[Envelope]) -> Pool:
    """The pool that a history leads to."""
    pool = Pool("here")
    for envelope in envelopes:
        event: Any = to_event(envelope)
        pool.apply(event, version=envelope.version, at=envelope.at)
    return pool


def pool_summary(pool: Pool) -> dict[str, object]:
    """What a history must fold to, in words that outlive the fold."""
    state = pool.state
    return {
        "version": state.version,
        "ordering": state.ordering,
        "fit": state.fit,
        "resources": {
            name: [one.type, one.capacity, one.held, list(one.indices), sorted(one.devices.items())]
            for name, one in state.resources.items()
        },
        "reserved": {
            key: [one.resource, one.amount, one.holder, one.held]
            for key, one in state.reservations.items()
        },
        "limits": {
            kind: [one.limit, one.interval, one.starts[-one.limit :]]
            for kind, one in state.limits.items()
        },
        "waiting": [*state.requests],
        "held": {key: [one.grants, list(one.gpus)] for key, one in state.held.items()},
        "granted": state.granted,
    }


def tell_late() -> Story:
    """A run whose deadline passes with a step in flight, and that is resumed."""
    late = Story({"a": [], "b": ["a"]}, deadline=1_000_060 * SECOND).claim().start("a").after(61)
    late.tell(p.PipelineDeadlineExceeded(), s.StepCancelled("a", 1, "cooperative"))
    cause = ErrorInfo("semantica.pipeline.DeadlineExceeded", "too late", category="timeout")
    late.tell(p.PipelineFailed("", cause, 0)).after(60).claim("engine-2")
    late.tell(p.PipelineResumed()).start("a").complete("a").start("b").complete("b")
    return late.tell(p.PipelineCompleted((late.run.step("b").version,)))


def write(name: str, envelopes: Iterable[Envelope], told: dict[str, object]) -> None:
    """Write the files; there must be none of these names."""
    with (HERE / f"{name}.jsonl").open("x") as file:
        file.writelines(line(envelope) + "\n" for envelope in envelopes)
    with (HERE / f"{name}.json").open("x") as file:
        json.dump(told, file, indent=1, ensure_ascii=False)
        file.write("\n")


def main(prefix: str) -> None:
    """See the module."""
    recorded = list(tell_pool().read(r.pool_stream("here")))
    write(f"{prefix}-pool", recorded, pool_summary(replayed(recorded)))
    late = tell_late()
    write(f"{prefix}-late", late.store.read("run/r"), summary(late.run))


if __name__ == "__main__":
    main(*sys.argv[1:])
