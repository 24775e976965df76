"""Worlds full of trouble, each from one seed: no promise is broken, and every run ends.

``python tests/simulation/search.py`` looks further; with ``--seed`` it shows one world.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest
from simulation.simulator import simulate

from semantica.pipeline.engine import writing
from semantica.pipeline.engine.loop import Loop
from semantica.pipeline.engine.timers import Timers
from semantica.pipeline.events.memory import MemoryStore

SEEDS = 1200
"""As many as take some 20 seconds."""
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_world_breaks_a_promise(chunk: int) -> None:
    faults: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    first = 1 + chunk * SEEDS // CHUNKS
    for seed in range(first, first + SEEDS // CHUNKS):
        seen = simulate(seed)
        faults.update(seen.world.faults)
        ends.update(str(one.run.status) for one in seen.chronicles.values())
    assert len(faults) == 11, f"too little went wrong: {faults}"
    assert ends.keys() >= {"completed", "failed", "cancelled", "rolled_back"}


def test_a_seed_decides_everything() -> None:
    def digests(seed: int) -> list[bytes]:
        return [envelope.digest for envelope in simulate(seed).world.store.read_all()]

    assert digests(7) == digests(7) != digests(8)


def _fires_early(self: Timers, now: int) -> None:
    FIRE_DUE(self, now + 5_000_000)


def _forgets(self: MemoryStore, *args: Any, taken: Any = (), **more: Any) -> Any:
    return APPEND(self, *args, **more)


FIRE_DUE, APPEND = Timers.fire_due, MemoryStore.append


@pytest.mark.parametrize(
    ("where", "name", "fault"),
    [
        (writing, "_is_recorded", lambda store, batch: False),
        (Loop, "notice_losses", lambda self, owner: None),
        (Timers, "fire_due", _fires_early),
        (MemoryStore, "append", _forgets),
    ],
    ids=["lost answers", "missed takeovers", "early timers", "commands taken twice"],
)
def test_the_simulation_finds_faults(where: object, name: str, fault: object) -> None:
    """Such as it has found."""
    with mock.patch.object(where, name, fault), pytest.raises(Exception) as found:
        for seed in range(1, 500):
            simulate(seed)
    assert "search.py --seed" in found.value.__notes__[0]
