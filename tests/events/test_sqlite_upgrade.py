"""Logs that an earlier version wrote: what they hold stays, and can be gone on with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from contract.runs import batch, completed, opening, progressed
from sqlite_utils import Database

from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.sqlite_connection import SCHEMA
from semantica.pipeline.events.sqlite_file import APPLICATION_ID
from semantica.pipeline.events.sqlite_rows import COLUMNS
from semantica.pipeline.events.sqlite_schema import migrations
from semantica.pipeline.events.verify import Verification

NAMED = 7
"""The last schema whose events had the names of their streams."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of that schema, of two runs that were written in turns."""
    now, old = tmp_path / "now.db", tmp_path / "old.db"
    store = SqliteStore(now, durability="off")
    store.append([opening("a"), opening("b")])
    for n in range(5):
        store.append([batch(run, 3 + 2 * n, *progressed(2)) for run in ("b", "a")])
    store.append([batch("a", 13, completed("a"))])
    store.close()
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        migrations.apply(Database(connection, execute_plugins=False), stop_before="m008_streams")
        connection.execute("COMMIT")
        connection.execute("ATTACH ? AS now", (str(now),))
        connection.execute(f"INSERT INTO main.events SELECT {COLUMNS} FROM now.history")
        connection.execute("INSERT INTO main.directory SELECT * FROM now.directory")
        connection.execute(f"PRAGMA main.user_version = {NAMED}")
        connection.execute(f"PRAGMA main.application_id = {APPLICATION_ID}")
    return old


def test_its_events_are_the_same_and_verify(log: Path) -> None:
    with closing(sqlite3.connect(log)) as connection:
        before = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
    with closing(SqliteStore(log)) as store:
        after = [(e.position, e.stream, e.version, e.digest) for e in store.read_all()]
        assert after == [(row[0], row[1], row[2], row[-1]) for row in before]
        assert [e.version for e in store.read("run/b")] == list(range(1, 14))
        assert list(Verification(store).faults()) == []
        assert store.append([batch("b", 13, completed("a"))]) == [None]
        assert not list(Verification(store).faults())
    with closing(sqlite3.connect(log)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        steps = "SELECT run_id, step, status FROM steps ORDER BY run_id"
        assert connection.execute(steps).fetchall() == [
            ("a", "a", "completed"),
            ("b", "a", "completed"),
        ]


def test_what_orders_a_stream_is_there_again(log: Path, tmp_path: Path) -> None:
    """Upgraded, the log has all that a new one has, and nothing else."""
    objects = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    SqliteStore(log).close()
    SqliteStore(tmp_path / "new.db").close()
    with (
        closing(sqlite3.connect(log)) as upgraded,
        closing(sqlite3.connect(tmp_path / "new.db")) as new,
    ):
        assert upgraded.execute(objects).fetchall() == new.execute(objects).fetchall()
