"""The file of a log: what it may be, who may use it, and what is said when it cannot be."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.runs import batch, completed, opening, progressed

from semantica.pipeline.events import sqlite_connection, sqlite_file
from semantica.pipeline.events.envelope import first_break
from semantica.pipeline.events.errors import (
    LogCorrupt,
    LogError,
    LogTooNew,
    LogUnavailable,
    NotALog,
)
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.sqlite_schema import migrate
from semantica.pipeline.tools.schema import script


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "pipeline.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path, busy_timeout=0.1)
    yield made
    made.close()


def filled(path: Path, events: int = 600) -> None:
    """A closed log of one run."""
    store = SqliteStore(path, durability="off")
    store.append([opening("r"), batch("r", 3, *progressed(events))])
    store.close()


def test_a_log_and_its_companions_are_their_owners_alone(store: SqliteStore, path: Path) -> None:
    store.append([opening("r")])
    store.artifacts.put(b"x" * 10_000)
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    assert len(files) >= 4
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    folders = [folder for folder in path.parent.rglob("*") if folder.is_dir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_what_is_appended_is_there_after_opening_again(path: Path) -> None:
    filled(path)
    again = SqliteStore(path)
    assert len(list(again.read("run/r"))) == 603
    assert first_break(again.read("run/r")) is None
    again.close()
    assert not path.with_name("pipeline.db-wal").exists(), "carried over when the last one closes"


@pytest.mark.parametrize("content", [b"just a text, long enough to be looked at\n" * 30, b"short"])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotALog, match=rf"{path} is not a SQLite database"):
        SqliteStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mark", [0, 77])
def test_another_programs_database_is_left_alone(path: Path, mark: int) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text)")
    other.execute(f"PRAGMA application_id = {mark}")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(NotALog, match=rf"{path} is a SQLite database of another program"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_log(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    store = SqliteStore(path)
    assert store.append([opening("r")]) == [None]
    store.close()


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotALog, match="is a folder; name a file, such as"):
        SqliteStore(tmp_path)


def test_a_file_cannot_be_the_folder_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for below in ("pipeline.db", "deeper/pipeline.db"):
        with pytest.raises(LogError, match="file"):
            SqliteStore(tmp_path / "file" / below)


def test_a_name_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="too long"):
        SqliteStore(tmp_path / ("x" * 300))


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "file_system", lambda path: "nfs4")
    with pytest.raises(LogUnavailable, match=r"network file system \(nfs4\).*--log"):
        SqliteStore(path)
    assert not path.exists()


def test_a_newer_log_is_refused(path: Path) -> None:
    filled(path)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(LogTooNew, match=rf"{path} has schema 99.*upgrade"):
        SqliteStore(path)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_log_is_transient_and_loses_nothing(
    store: SqliteStore, path: Path, begin: str
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(begin)
    with pytest.raises(LogUnavailable, match=rf"{path} is locked by another program") as refused:
        store.append([opening("r")])
    assert refused.value.transient
    assert list(store.read("run/r")) == []
    other.execute("ROLLBACK")
    other.close()
    assert store.append([opening("r")]) == [None]


def test_a_short_foreign_transaction_is_waited_for(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=10)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, lambda: other.execute("ROLLBACK"))
    timer.start()
    assert store.append([opening("r")]) == [None]
    timer.join()
    other.close()
    store.close()


def verdict(path: Path) -> str:
    """What using a log leads to: an error of ours, a break in the chain, or nothing."""
    try:
        store = SqliteStore(path)
        try:
            found = first_break(store.read_all()) or first_break(store.read("run/r"))
            store.append([batch("r", 603, completed("a"))])
            store.runs(name="job"), store.inbox(), store.members(), store.load_snapshot("run/r")
            store.cached("key"), store.runs(statuses=[PipelineStatus.RUNNING])
            list(store.lines.read("r")), store.lines.heads(0)
        finally:
            store.close()
    except LogError as error:
        assert str(path) in str(error)
        return type(error).__name__
    return "break" if found else "whole"


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 0.95])
def test_a_damaged_page_is_found(path: Path, share: float) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    middle = int(len(data) * share) // 4096 * 4096
    data[middle : middle + 512] = b"\xa5" * 512
    path.write_bytes(data)
    assert verdict(path) in ("LogCorrupt", "break")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_file_is_found(path: Path, share: float) -> None:
    filled(path)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    assert verdict(path) == "LogCorrupt"


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE events SET payload = replace(payload, '"attempt":1', '"attempt":2')
           WHERE version = 9""",
        "UPDATE events SET payload = CAST(payload || ' ' AS BLOB) WHERE version = 9",
        "UPDATE events SET actor = NULL WHERE version = 9",
        "UPDATE events SET epoch = 7 WHERE version = 9",
        "DELETE FROM events WHERE version = 9",
    ],
)
def test_tampering_is_found_where_it_was_done(path: Path, change: str) -> None:
    filled(path)
    editor = sqlite3.connect(path)
    editor.execute(change)
    editor.commit()
    editor.close()
    store = SqliteStore(path)
    found = first_break(store.read("run/r"))
    store.close()
    assert found is not None
    assert found[0] == 9


def test_a_payload_of_another_encoding_is_damage(path: Path) -> None:
    filled(path)
    editor = sqlite3.connect(path)
    editor.execute("UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE version = 9")
    editor.commit()
    editor.close()
    assert verdict(path) in ("LogCorrupt", "LogError", "break")


def test_an_event_of_no_stream_is_damage(path: Path) -> None:
    filled(path)
    editor = sqlite3.connect(path)
    editor.execute("UPDATE events SET stream = 99 WHERE version = 9")
    editor.commit()
    editor.close()
    store = SqliteStore(path)
    with pytest.raises(LogCorrupt, match="the event at position 9 is of no stream"):
        list(store.read_all())
    found = first_break(store.read("run/r"))
    store.close()
    assert found is not None and found[0] == 9


def test_a_closed_log_says_so(path: Path) -> None:
    store = SqliteStore(path)
    reader = store.read("run/r")
    store.close()
    for use in (lambda: store.append([opening("r")]), store.runs, store.news, lambda: next(reader)):
        with pytest.raises(LogError, match="has been closed"):
            use()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1), ("off", 0)])
def test_durability_is_what_was_asked_for(path: Path, durability: Any, level: int) -> None:
    store = SqliteStore(path, durability=durability)
    with store._reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_an_unknown_durability_is_refused_before_anything_is_made(path: Path) -> None:
    with pytest.raises(ValueError, match="'full', 'normal' or 'off', not 'sometimes'"):
        SqliteStore(path, durability="sometimes")  # type: ignore[arg-type]
    assert not path.exists()


def test_the_write_ahead_log_does_not_grow_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "CHECKPOINT_BYTES", 50_000)
    store = SqliteStore(path, durability="off")
    store.append([opening("r")])
    longest = 0
    for n in range(200):
        store.append([batch("r", 3 + n, *progressed(1))])
        longest = max(longest, path.with_name("pipeline.db-wal").stat().st_size)
    assert longest < 1_000_000, "200 commits of 3 pages each, carried over every 32"
    assert path.stat().st_size > 20_000, "carried over into the database"
    assert first_break(store.read("run/r")) is None
    store.close()


def test_a_write_ahead_log_that_was_carried_over_is_filled_again_before_the_next_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "CHECKPOINT_BYTES", 1_000_000)
    store, carried = SqliteStore(path, durability="off"), list[str]()
    store._connection._connection.set_trace_callback(
        lambda statement: carried.append(statement) if "wal_checkpoint" in statement else None
    )
    store.append([opening("r")])
    for n in range(1000):
        store.append([batch("r", 3 + n, *progressed(1))])
    assert 4 <= len(carried) <= 16, "1,000 commits of 3 pages or more: 12 MB, carried over by 1"
    store.close()


def test_a_new_log_is_what_its_migrations_make_of_it() -> None:
    made = Path(sqlite_connection.__file__).with_name("schema.sql").read_text(encoding="utf-8")
    told = "run: python -m semantica.pipeline.tools.schema events/schema.sql"
    assert made == script(), told
    old, new = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    old.execute("BEGIN")
    migrate(old)
    sqlite_connection.make_tables(new)
    objects = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    applied = "SELECT id, migration_set, name FROM _sqlite_migrations"
    for query in (objects, applied):
        assert new.execute(query).fetchall() == old.execute(query).fetchall()
    migrate(new)  # finds nothing to do
    assert new.execute(objects).fetchall() == old.execute(objects).fetchall()


def test_values_are_not_trusted_when_others_can_write_the_log(
    store: SqliteStore, path: Path
) -> None:
    store.artifacts.put(b"x")
    assert store.artifacts.trusted
    for place in (path, path.with_name("pipeline.db.artifacts")):
        mode = place.stat().st_mode
        place.chmod(mode | stat.S_IWGRP)
        assert not store.artifacts.trusted, place
        place.chmod(mode)
    assert store.artifacts.trusted
