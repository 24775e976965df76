"""How soon an owner does what another process asks of it: within 200 ms."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from making import MakeEngine
from test_owners import FAR, says, start

from semantica.pipeline import ExecutionEngine
from semantica.pipeline.events.sqlite import SqliteStore

PROMISED = 0.2
"""Seconds, from the command's record to the owner's event; median of some rounds."""
ROUNDS = 3
ANSWERS = {
    "signal": "SignalReceived",
    "pause": "PipelinePauseRequested",
    "resume": "PipelineResumed",
    "stop": "PipelineStopRequested",
    "cancel": "PipelineCancelRequested",
}


class Sent:
    """When each command was recorded: kept by the database itself, however soon it is taken."""

    def __init__(self, log: Path) -> None:
        SqliteStore(log).close()
        self._connection = sqlite3.connect(log, timeout=FAR, isolation_level=None)
        self._connection.executescript(
            """
            CREATE TABLE sent (id INTEGER PRIMARY KEY, at INTEGER);
            CREATE TRIGGER sending AFTER INSERT ON inbox
            BEGIN INSERT INTO sent VALUES (new.id, new.at); END;
            """
        )

    def last(self) -> int:
        (at,) = self._connection.execute("SELECT at FROM sent ORDER BY id DESC").fetchone()
        return int(at)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def sent(log: Path) -> Iterator[Sent]:
    made = Sent(log)
    yield made
    made.close()


def by_engine(engine: ExecutionEngine, log: Path, command: str, run_id: str) -> None:
    ask: Callable[..., bool] = {
        "signal": engine.signal,
        "pause": engine.pause_pipeline,
        "resume": engine.resume_pipeline,
        "stop": engine.stop_pipeline,
        "cancel": engine.cancel_pipeline,
    }[command]
    assert ask(run_id, *(["go"] if command == "signal" else []))


def by_command_line(engine: ExecutionEngine, log: Path, command: str, run_id: str) -> None:
    more = ["go"] if command == "signal" else []
    done = subprocess.run(
        [sys.executable, "-m", "semantica.pipeline", command, run_id, *more,
         "--log", str(log)],
        capture_output=True, text=True, timeout=FAR, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ask", [by_engine, by_command_line])
def test_an_owner_does_at_once_what_another_process_asks(
    log: Path,
    make_engine: MakeEngine,
    sent: Sent,
    processes: list[subprocess.Popen[str]],
    ask: Callable[[ExecutionEngine, Path, str, str], None],
) -> None:
    owner = start("obey", log, "run", 2 * ROUNDS)
    processes.append(owner)
    says(owner, "begins")
    engine = make_engine()
    took: dict[str, list[float]] = {command: [] for command in ANSWERS}
    for i in range(ROUNDS):
        for run_id, commands in (
            (f"run{2 * i}", ("signal", "pause", "resume", "stop")),
            (f"run{2 * i + 1}", ("cancel",)),
        ):
            for command in commands:
                ask(engine, log, command, run_id)
                answered = until(engine, run_id, ANSWERS[command])
                took[command].append((answered - sent.last()) / 1e9)
                if command == "pause":
                    until(engine, run_id, "PipelinePaused")
    print({command: [round(one, 3) for one in seconds] for command, seconds in took.items()})
    for command, seconds in took.items():
        assert min(seconds) >= 0
        assert statistics.median(seconds) < PROMISED, f"{command} took {seconds}"


def until(engine: ExecutionEngine, run_id: str, event: str) -> int:
    """When an event was recorded."""
    end = time.monotonic() + FAR
    while time.monotonic() < end:
        for envelope in engine.history(run_id):
            if envelope.type == event:
                return envelope.at
        time.sleep(0.005)
    raise AssertionError(f"no {event} of {run_id}")
