"""Copies of a log that is in use: whole, and good to go on from."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract.runs import batch, completed, opening
from events_processes import start
from invariants import check_log
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    LogCorrupt,
    LogError,
    LogUnavailable,
    Pipeline,
    PipelineStep,
)
from semantica.pipeline.events.sqlite import BUSY_TIMEOUT, SqliteStore
from semantica.pipeline.events.sqlite_connection import (
    CHECK_EVERY,
    CHECKPOINT_BYTES,
    Connection,
    beside,
)
from semantica.pipeline.events.step import StepProgressed
from semantica.pipeline.events.store import Store


def large(data: int) -> str:
    return f"{data}" * 10_000


def length(data: str) -> int:
    return len(data)


def pipeline(number: int = 1) -> Pipeline:
    steps = [
        PipelineStep("large", "t", handler=large),
        PipelineStep("length", "t", handler=length, dependencies=["large"]),
    ]
    return Pipeline(f"p{number}", steps)


def check_copy(path: Path) -> int:
    """Open a copy as a log, check it, and read all that completed runs have recorded."""
    store = SqliteStore(path)
    check_log(store)
    assert store.members() == []
    store.close()
    with ExecutionEngine(path) as engine:
        for run in engine.runs(status="completed"):
            result = engine.attach(run.run_id).result(10)
            assert result.output == 10_000
            for envelope in engine.history(run.run_id):
                for digest in named(envelope.payload):
                    assert engine._open().store.artifacts.get(digest)
        return len(engine.runs())


def named(payload: bytes) -> list[str]:
    return [part[:64].decode() for part in payload.split(b'"artifact":"')[1:]]


def test_a_copy_is_a_log(engine: ExecutionEngine, tmp_path: Path) -> None:
    result = engine.execute_pipeline(pipeline(), 1)
    made = engine.backup(tmp_path / "copies" / "copy.db")
    assert (made.runs, made.events, made.artifacts) == (1, len(engine.history("p1")), 1)
    with ExecutionEngine(made.path) as copy:
        assert copy.history("p1") == engine.history("p1")
        assert copy.attach(result.run_id).result(10).output == 10_000
    assert check_copy(Path(made.path)) == 1
    left = {path.name.partition(".db")[2] for path in Path(made.path).parent.iterdir()}
    assert left <= {"", "-lock", ".artifacts", ".engines"}


def test_a_run_that_is_asked_for_is_in_the_copy(engine: ExecutionEngine, tmp_path: Path) -> None:
    future = engine.execute_pipeline_async(pipeline(), 1)
    assert engine.backup(tmp_path / "copy.db").runs == 1
    future.result(10)


def test_a_run_goes_on_from_the_copy(engine: ExecutionEngine, tmp_path: Path) -> None:
    entered, go = threading.Event(), threading.Event()
    executed: list[str] = []

    def second(data: int, context: Context) -> int:
        entered.set()
        assert go.wait(20)
        return data + 1

    def first(data: Any) -> int:
        executed.append("first")
        return 1

    steps = [
        PipelineStep("first", "t", handler=first),
        PipelineStep("second", "t", handler=second, dependencies=["first"]),
    ]
    future = engine.execute_pipeline_async(Pipeline("p", steps))
    assert entered.wait(10)
    made = engine.backup(tmp_path / "copy.db")
    go.set()
    assert future.result(10).output == 2
    with ExecutionEngine(made.path) as copy:
        (recovered,) = copy.recover(pipeline=Pipeline("p", steps))
        assert recovered.run_id == future.run_id and recovered.result(10).output == 2
        assert "StepInterrupted" in [e.type for e in copy.history("p")]
    assert executed == ["first"]
    assert check_log_of(made.path)


def check_log_of(path: str) -> bool:
    store = SqliteStore(path)
    check_log(store)
    store.close()
    return True


def test_copies_made_while_engines_and_processes_append(
    log: Path, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(max_workers=4)
    writers = [
        start(
            """
            store = SqliteStore(path)
            print("ready", flush=True)
            number = 0
            while not os.path.exists(sys.argv[2]):
                number += 1
                assert store.append([opening(f"{os.getpid()}-{number}")]) == [None]
            print(number)
            """,
            log,
            tmp_path / "enough",
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    stop = threading.Event()

    def execute() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            assert engine.execute_pipeline(pipeline(number), number % 10).success
        return number

    runs = []
    with ThreadPoolExecutor(1) as pool:
        executed = pool.submit(execute)
        try:
            for number in range(8):
                runs.append(engine.backup(tmp_path / f"copy-{number}.db").runs)
        finally:
            stop.set()
            (tmp_path / "enough").touch()
    counts = [int(writer.communicate(timeout=30)[0]) for writer in writers]
    assert executed.result() > 1 and min(counts) > 1
    assert sorted(runs) == runs and len(set(runs)) > 1, "the copies were made on the way"
    for number, expected in enumerate(runs):
        assert check_copy(tmp_path / f"copy-{number}.db") == expected


def test_what_begins_and_ends_while_the_copy_is_made(
    engine: ExecutionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run before the snapshot and one after it, once the copy is under way."""
    snapshot = Connection.snapshot

    @contextmanager
    def between(self: Connection) -> Iterator[sqlite3.Connection]:
        engine.execute_pipeline(pipeline(1), 1)
        with snapshot(self) as connection:
            yield connection
        engine.execute_pipeline(pipeline(2), 2)

    monkeypatch.setattr(Connection, "snapshot", between)
    made = engine.backup(tmp_path / "copy.db")
    assert made.runs == 1 and check_copy(Path(made.path)) == 1
    assert made.artifacts == 2, "also what is named only later"


def test_commits_do_not_wait_for_a_long_read(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", durability="off")
    store.append([opening("r")])
    text = "x" * 2**18
    with store._connection.snapshot() as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM events").fetchone()
        begun = time.monotonic()
        for version in range(3, 3 + 2 * CHECK_EVERY):
            assert store.append([batch("r", version, StepProgressed("a", 1, 0.0, None, text))]) == [
                None
            ]
        assert beside(store.path, "-wal").stat().st_size > CHECKPOINT_BYTES, "a checkpoint was due"
        assert time.monotonic() - begun < BUSY_TIMEOUT
    store.close()


def test_what_is_there_is_not_replaced(engine: ExecutionEngine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(LogError, match="mine exists; name a new file"):
        engine.backup(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(LogUnavailable, match=r"cannot write the backup .*: \w"):
        engine.backup(tmp_path / "mine" / "copy.db")


def test_a_log_in_memory_cannot_be_copied(tmp_path: Path) -> None:
    with (
        ExecutionEngine(":memory:") as engine,
        pytest.raises(LogError, match="a log in memory cannot be backed up"),
    ):
        engine.backup(tmp_path / "copy.db")


@pytest.fixture
def damaged(tmp_path: Path) -> Store:
    store = SqliteStore(tmp_path / "damaged.db")
    store.append([opening("r"), batch("r", 3, completed("a"))])
    store.artifacts.put(b"x" * 5000)
    return store


def test_a_broken_chain_is_not_copied(damaged: SqliteStore, tmp_path: Path) -> None:
    connection = sqlite3.connect(damaged.path)
    connection.execute("UPDATE events SET actor = 'mallory' WHERE version = 2")
    connection.commit()
    connection.close()
    with pytest.raises(LogCorrupt, match="run/r: the digest of version 2"):
        damaged.backup(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*")), "nothing is left"
    damaged.close()


def test_a_damaged_artifact_is_not_copied(damaged: SqliteStore, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("damaged.db.artifacts/*/*")
    path.write_bytes(b"y" * 5000)
    with pytest.raises(LogCorrupt, match="damaged"):
        damaged.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    damaged.close()
