"""What the machine allows: the same bytes and the same durability without an engine.

One commit a step: StepCompleted of a step and StepStarted of the next, in the table and the index
of a log. Workers: ``ThreadPoolExecutor``. Reading: ``sqlite3`` and msgspec.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import msgspec

from ...events.codec import Value
from ...events.envelope import NewEvent
from ...events.sqlite_connection import make_tables
from ...events.sqlite_rows import ENVELOPE, HISTORY
from ...events.step import StepCompleted, StepStarted
from ...events.upcasters import to_new
from . import child
from .child import Measured, start
from .handlers import grow

BUSY_TIMEOUT = 60.0
"""Seconds that a writer waits for the others."""
EVENTS = [
    to_new(StepCompleted("s512", 1, Value(inline=msgspec.Raw(b"513")), 3.6e-05, 3.6e-05)),
    to_new(StepStarted("s513", 1, "worker-1", (1027,))),
]
"""What is recorded of a step: its end, and the start of the next one."""


class Log:
    """The table of events and its index, in a file of this folder."""

    def __init__(self, durability: str, stream: str = "") -> None:
        self.stream = f"run/{stream or uuid4()}"
        self.number = self.version = 0
        self._connection = sqlite3.connect("floor.db", BUSY_TIMEOUT, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {durability}")

    def make(self) -> None:
        """Make the tables."""
        make_tables(self._connection)

    def begin(self) -> None:
        """Make the stream."""
        made = self._connection.execute("INSERT INTO streams (name) VALUES (?)", (self.stream,))
        self.number = made.lastrowid or 0

    def commit(self) -> None:
        """A step's two events."""
        rows = [self._row(event) for event in EVENTS]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO events (stream, version, type, schema, at, actor, epoch, encoding, "
            "payload, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._connection.execute("COMMIT")

    def _row(self, event: NewEvent) -> tuple[object, ...]:
        self.version += 1
        actor, at, text = "0190a1b2c3d4", time.time_ns(), event.payload.decode()
        return (self.number, self.version, event.type, 1, at, actor, 1, "json", text, bytes(32))

    def close(self) -> None:
        """Carry the WAL over."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()


def commits(n: int, durability: str) -> Measured:
    """One commit a step."""
    log = Log(durability)
    log.make()
    log.begin()
    for _ in range(20):
        log.commit()
    empty = Path("floor.db").stat().st_size
    begun = time.perf_counter()
    for _ in range(n):
        log.commit()
    took = time.perf_counter() - begun
    log.close()
    return {"us": took / n * 1e6, "bytes": (Path("floor.db").stat().st_size - empty) / n}


def round_trips(n: int, durability: str) -> Measured:
    """A round trip to a worker and one commit a step."""
    log = Log(durability)
    log.make()
    log.begin()
    with ThreadPoolExecutor(4) as pool:
        for i in range(20):
            pool.submit(grow, i).result()
        begun = time.perf_counter()
        for i in range(n):
            pool.submit(grow, i).result()
            log.commit()
        return {"us": (time.perf_counter() - begun) / n * 1e6}


def read(path: str) -> Measured:
    """All events of a log: rows, and payloads decoded into the types of their events."""
    decoders: dict[str, Callable[[bytes], object]] = {
        "StepCompleted": msgspec.json.Decoder(StepCompleted).decode,
        "StepStarted": msgspec.json.Decoder(StepStarted).decode,
    }
    other = msgspec.json.Decoder(dict[str, object]).decode
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    begun, n = time.perf_counter(), 0
    query = f"SELECT {ENVELOPE} FROM {HISTORY} ORDER BY events.stream, version"
    for row in connection.execute(query):
        decoders.get(row[3], other)(row[9])
        n += 1
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def appends(writers: int, each: int) -> Measured:
    """Processes that commit side by side."""
    Log("FULL").make()
    return race("floor", writers, each)


def race(module: str, writers: int, each: int) -> Measured:
    """Start writers, let them go at once, and wait for the last of them."""
    others = [start(module, "_append", each=each, number=i) for i in range(writers)]
    while sum(1 for _ in Path().glob("ready-*")) < writers:
        time.sleep(0.01)
    begun = time.perf_counter()
    for one in others:
        assert one.stdin is not None  # as start() makes it
        one.stdin.close()
    failed = [one for one in others if one.wait()]
    if failed:
        raise RuntimeError(f"{len(failed)} of {writers} writers failed")
    return {"us": (time.perf_counter() - begun) / (writers * each) * 1e6}


def wait_for_go(number: int) -> None:
    """Say that this writer is there, and wait for all the others."""
    Path(f"ready-{number}").touch()
    sys.stdin.read()


def _append(each: int, number: int) -> Measured:
    log = Log("FULL", str(number))
    log.begin()
    wait_for_go(number)
    for _ in range(each):
        log.commit()
    return {}


def nothing() -> Measured:
    """A process that does nothing."""
    return {}


if __name__ == "__main__":
    child.main(
        {one.__name__: one for one in (commits, round_trips, read, appends, _append, nothing)}
    )
