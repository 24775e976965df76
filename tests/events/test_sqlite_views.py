"""The log answers a person's SQL, without this library."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from contract.runs import SECOND, batch, claim, completed, define, started, submission, value
from sqlite_utils import Database

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import Event
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.projections.catchup import load_run

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
WAITING = [
    submission(define({"a": [], "b": [], "c": [], "d": []})),
    claim(),
    started("a"),
    s.StepSuspended("a", 1, "1: sleep", 0.1, 9),
    started("b"),
    s.StepSuspended("b", 1, "1: wait_for go", 0.1, None, "go"),
    p.SignalReceived("go", value("sent")),
    s.StepWoken("b", "1: wait_for go", "go", value("sent")),
    started("c"),
    s.StepInterrupted("c", 1),
    started("d"),
    s.StepCheckpointed("d", 1, "so far", value("half")),
]
ROLLED = [
    submission(
        define({x: [] for x in "abcdefgh"}, **{x: {"compensate": "m:undo"} for x in "abcde"}),
        on_failure="rollback",
    ),
    claim(),
    *(event for step in "abcde" for event in (started(step), completed(step))),
    started("f"),
    s.StepInterrupted("f", 1),
    started("g"),
    s.StepSuspended("g", 1, "1: sleep", 0.1, 9),
    started("h"),
    s.StepFailed("h", 1, ERROR),
    p.PipelineRollbackStarted("h", ERROR),
    s.StepCompensationStarted("e", 2, "w"),
    s.StepCompensated("e", 2, 0.1),
    s.StepCompensationStarted("d", 2, "w"),
    s.StepCompensationFailed("d", 2, ERROR),
    p.PipelineRollbackFailed("d", ERROR),
]
RESUMED_ROLLBACK = [
    claim("engine-2"),
    p.PipelineRollbackResumed(),
    s.StepCompensationStarted("d", 3, "w"),
    s.StepCompensationRetryScheduled("d", 3, ERROR, 1, 1.0, 9),
    s.StepCompensationStarted("d", 4, "w"),
    s.StepInterrupted("d", 4),
    s.StepCompensationStarted("d", 5, "w"),
    s.StepCompensated("d", 5, 0.1),
    s.StepCompensationStarted("c", 2, "w"),
    s.StepInterrupted("c", 2),
]
UNDOING = [s.StepCompensationStarted("c", 3, "w"), s.StepCheckpointed("c", 3, "k", value("v"))]


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


def statuses(path: Path, run_id: str) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = "SELECT step, status FROM steps WHERE run_id = ? ORDER BY step"
        return dict(connection.execute(query, (run_id,)).fetchall())


def folded(path: Path, run_id: str) -> dict[str, str]:
    """The same, as the fold has it; of steps that have begun."""
    store = SqliteStore(path)
    run = load_run(store, run_id)
    store.close()
    steps = zip(run.graph.definition.steps, run.state.steps, strict=True)
    return {x.name: str(step.status) for x, step in steps if step.attempt}


def test_steps_that_wait_and_steps_that_are_undone(path: Path) -> None:
    """At every stage of a rollback; and the views agree with the fold."""

    def append(run_id: str, after: int, *events: Event, epoch: int = 1) -> None:
        store = SqliteStore(path)
        assert store.append([batch(run_id, after, *events, epoch=epoch)]) == [None]
        store.close()

    append("waiting", 0, *WAITING)
    assert statuses(path, "waiting") == {
        "a": "suspended",
        "b": "pending",
        "c": "pending",  # it was interrupted
        "d": "running",
    }
    seen = {}
    told: list[Event] = []
    for events in (ROLLED, RESUMED_ROLLBACK, UNDOING):
        for event in events:
            append("rolled", len(told), event, epoch=2 if len(told) >= len(ROLLED) else 1)
            told.append(event)
            if any(isinstance(one, p.PipelineRollbackStarted) for one in told):
                assert statuses(path, "rolled") == folded(path, "rolled"), event
        seen[len(told)] = statuses(path, "rolled")
    first, second, third = seen.values()
    assert first == {
        **dict.fromkeys("abc", "completed"),
        "d": "compensation_failed",
        "e": "compensated",
        "f": "cancelled",
        "g": "cancelled",
        "h": "failed",
    }
    assert (second["d"], second["c"]) == ("compensated", "completed")
    assert third["c"] == "compensating"
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM failures WHERE run_id = 'rolled'")
    assert count == (3,)


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
    log["_sqlite_migrations"].delete_where("name LIKE ?", ["%_views"])
    log["steps"].drop()
    log.create_view("steps", "SELECT 1 AS step")
    log.execute("PRAGMA user_version = 1")
    log.close()
    SqliteStore(path).close()
    log = Database(path)
    assert {row["status"] for row in log.query("SELECT status FROM steps")} >= {"waiting"}
    log.close()
