"""Every store must pass every test of this folder; another one joins by a line in ``STORES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from semantica.pipeline.events.keys import MemoryKeys
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.sealed_store import sealing
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Store

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "encrypting": lambda folder: sealing(MemoryStore(), MemoryKeys),
    "sqlite": lambda folder: SqliteStore(folder / "pipeline.db", durability="off"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()
