"""A pool whose decisions are taken one at a time, by hand."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

from semantica.pipeline.engine import stock
from semantica.pipeline.engine.pool import Draft, SharedPool
from semantica.pipeline.events import resource as r
from semantica.pipeline.events.memory import MemoryStore

SECOND = 10**9
KINDS = {"c": r.ResourceType.CPU, "g": r.ResourceType.GPU, "m": r.ResourceType.MEMORY}


class Table:
    """A pool with a clock that is set by hand. The kind of a resource is its first letter."""

    def __init__(self, ordering: str = "priority", fit: str = "first_fit", **sizes: float) -> None:
        self.now = 1_000 * SECOND
        self.pool = SharedPool(MemoryStore(), "p", self, threading.Event())  # type: ignore[arg-type]
        self.numbers = count(1)
        self.do(lambda d: d.record(r.PoolConfigured(r.Ordering(ordering), r.Fit(fit))))
        for name, size in sizes.items():
            self.register(name, size)

    def do(self, decide: Any) -> Any:
        clock = self.pool._clock = Clock(self.now)  # type: ignore[assignment]
        assert clock
        return self.pool.transact("me", decide)

    def register(self, name: str, size: float, *indices: int) -> None:
        self.do(lambda d: stock.register(d, name, KINDS[name[0]], size, indices or None))

    def reserve(self, name: str, kept: float, holder: str) -> None:
        self.do(lambda d: stock.reserve(d, name, f"r{next(self.numbers)}", kept, holder))

    def ask(self, pipeline: str = "job", key: str | None = None, **fields: Any) -> str:
        amounts = {k: fields.pop(k) for k in list(fields) if k[0] in KINDS or k == "gpu"}
        key = key or f"a{next(self.numbers)}"
        event = r.AllocationRequested(key, "me", pipeline, amounts, **fields)
        self.do(lambda d: d.record(event))
        return key

    def serve(self, most: int = 100, only: str | None = None) -> list[str]:
        """Grant what can be; in the order of being served."""

        def decide(draft: Draft) -> list[str]:
            served: list[str] = []
            for key, grant in draft.survey():
                if only in (None, key) and len(served) < most:
                    draft.record(r.AllocationGranted(key, grant.amounts, grant.gpus))
                    served.append(key)
            return served

        return list(self.do(decide))

    def release(self, key: str) -> None:
        self.do(lambda d: d.record(r.AllocationReleased(key)))

    def held(self, key: str) -> tuple[dict[str, float], tuple[int, ...]]:
        held = self.pool.state.held[key]
        return held.grants, held.gpus


class Clock:
    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def monotonic(self) -> int:
        return self._now
