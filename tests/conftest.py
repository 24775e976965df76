"""Engines for tests, and the checks that follow every test: invariants hold on the logs it left,
and the state after live running equals the state after replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from invariants import check_log
from making import MakeEngine

from semantica.pipeline import ExecutionEngine
from semantica.pipeline.engine.live import LiveRun
from semantica.pipeline.engine.loop import Loop
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run

settings.register_profile("untimed", deadline=None)  # speed is measured elsewhere
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command within this process configures the messages of the whole process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def live_state_equals_replayed_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whenever a loop lets a run go, its state is compared with the log's."""
    differing: list[str] = []
    forget = Loop.forget

    def compare(self: Loop, live: LiveRun) -> None:
        if live.recorded and live.recorded == live.run.state.version and not live.pending:
            replayed = load_run(self.store, live.run.run_id, snapshots=False, until=live.recorded)
            if replayed.state != live.run.state:
                differing.append(live.run.run_id)
        forget(self, live)

    monkeypatch.setattr(Loop, "forget", compare)
    yield
    assert not differing, f"live and replayed state differ: {differing}"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The path of a log, whose invariants are checked after the test."""
    path = tmp_path / "log" / "pipeline.db"
    yield path
    if path.exists():
        store = SqliteStore(path)
        check_log(store)
        store.close()


@pytest.fixture
def make_engine(log: Path) -> Iterator[MakeEngine]:
    """Makes engines on the test's log; closed, without waiting, after the test."""
    engines: list[ExecutionEngine] = []

    def make(**options: Any) -> ExecutionEngine:
        engine = ExecutionEngine(options.pop("log", log), **options)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close(wait=False)


@pytest.fixture
def engine(make_engine: MakeEngine) -> ExecutionEngine:
    """An engine with four workers."""
    return make_engine(max_workers=4)
