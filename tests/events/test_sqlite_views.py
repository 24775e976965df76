"""The log answers a person's SQL, without this library."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.runs import SECOND, batch, claim, completed, define, started, submission
from sqlite_utils import Database

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.values import ErrorInfo

ERROR = ErrorInfo("requests.exceptions.Timeout", "no answer", "network", retryable=True)
RESUMED = [
    submission(define({"a": [], "b": [], "c": ["b"], "d": []}), on_failure="continue"),
    claim(),
    started("a"),
    completed("a"),
    started("b"),
    s.StepTimedOut("b", 1, ERROR),
    s.StepRetryScheduled("b", 1, 1.0, 9),
    started("b", 2),
    s.StepFailed("b", 2, ERROR),
    s.StepSkipped("c", "upstream", "b"),
    started("d"),
    s.StepProgressed("d", 1, 0.5),
    s.StepInterrupted("d", 1),
    started("d", 2),
    completed("d", 2),
    p.PipelineFailed("b", ERROR),
    p.PipelineResumed(),
    started("b", 3),
]
PASSED = [
    submission(define({"a": [], "b": [], "c": ["b"], "d": [], "e": []}), on_failure="continue"),
    claim(),
    started("a"),
    s.StepFailed("a", 1, ERROR),
    s.StepFallbackScheduled("a"),
    started("b"),
    s.StepSkipped("b", "condition", attempt=1),
    s.StepSkipped("c", "condition", "b"),
    s.StepQueued("d"),
    s.StepQueued("e"),
    s.StepFailed("e", 0, ERROR),
    p.PipelinePauseRequested(),
    p.PipelinePaused(),
    p.PipelineResumed(),
]
CANCELLED = [
    submission(define({"w": [], "x": [], "y": [], "z": []})),
    claim(),
    s.StepQueued("w"),
    started("x"),
    started("y"),
    s.StepFailed("y", 1, ERROR),
    s.StepRetryScheduled("y", 1, 1.0, 9),
    p.PipelineCancelRequested(),
    s.StepCancelled("x", 1, "cooperative"),
    p.PipelineCancelled(),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.db"
    store = SqliteStore(path)
    store.append([batch("resumed", 0, *RESUMED, at=1_700_000_000 * SECOND)])
    store.append([batch("cancelled", 0, *CANCELLED, at=1_700_000_001 * SECOND)])
    store.append([batch("passed", 0, *PASSED, at=1_699_999_999 * SECOND)])
    store.close()
    return path


@pytest.fixture
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    yield connection
    connection.close()


def test_runs_newest_first(sql: sqlite3.Connection) -> None:
    rows = sql.execute("SELECT run_id, name, status, submitted FROM runs").fetchall()
    assert rows == [
        ("cancelled", "job", "cancelled", "2023-11-14T22:13:21.000Z"),
        ("resumed", "job", "running", "2023-11-14T22:13:20.000Z"),
        ("passed", "job", "running", "2023-11-14T22:13:19.000Z"),
    ]


def test_steps_have_the_status_that_the_law_gives_them(sql: sqlite3.Connection) -> None:
    query = "SELECT step, status, attempt FROM steps WHERE run_id = ? ORDER BY step"
    assert sql.execute(query, ("resumed",)).fetchall() == [
        ("a", "completed", 1),
        ("b", "running", 3),
        ("c", "pending", None),
        ("d", "completed", 2),
    ]
    assert sql.execute(query, ("passed",)).fetchall() == [
        ("a", "pending", 1),  # its fallback is next
        ("b", "skipped", 1),  # by its condition: the resumed run does not ask again
        ("c", "skipped", None),
        ("d", "waiting", None),
        ("e", "pending", None),
    ]
    assert sql.execute(query, ("cancelled",)).fetchall() == [
        ("w", "cancelled", None),
        ("x", "cancelled", 1),
        ("y", "cancelled", 1),
    ]


def test_failures_newest_first(sql: sqlite3.Connection) -> None:
    query = "SELECT run_id, step, attempt, error, message, category FROM failures"
    what = ("requests.exceptions.Timeout", "no answer", "network")
    assert sql.execute(query).fetchall() == [
        ("passed", "e", None, *what),
        ("passed", "a", 1, *what),
        ("cancelled", "y", 1, *what),
        ("resumed", "b", 2, *what),
        ("resumed", "b", 1, *what),
    ]


def test_sqlite_utils_reads_a_log(path: Path) -> None:
    log = Database(path)
    found = log.query("SELECT status, count(*) AS n FROM steps GROUP BY status ORDER BY status")
    assert {row["status"]: row["n"] for row in found} == {
        "cancelled": 3,
        "completed": 2,
        "pending": 3,
        "running": 1,
        "skipped": 2,
        "waiting": 1,
    }
    events = log.query(
        "SELECT json_extract(payload, '$.output.inline') AS v FROM events "
        "WHERE type = 'StepCompleted' ORDER BY position"
    )
    assert [row["v"] for row in events] == ["a 1", "d 2"]
    log.close()


def test_a_log_of_before_gets_the_views_of_today(path: Path) -> None:
    log = Database(path)
    log["_sqlite_migrations"].delete_where("name = ?", ["m002_views"])
    log["steps"].drop()
    log.create_view("steps", "SELECT 1 AS step")
    log.execute("PRAGMA user_version = 1")
    log.close()
    SqliteStore(path).close()
    log = Database(path)
    assert {row["status"] for row in log.query("SELECT status FROM steps")} >= {"waiting"}
    log.close()
