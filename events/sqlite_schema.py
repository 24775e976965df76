"""Tables and views of a SQLite log, by numbered migrations.

``events`` is the truth, and ``streams`` has the names for its numbers. ``directory`` and
``snapshots`` are derived; ``inbox`` and ``members`` are how engines work together;
``subscriptions`` is how far consumers have read; ``logs`` is what handlers have said. The views
``runs``, ``steps``, ``failures``, ``history`` and ``lines`` are for people: query them with any
SQLite tool.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

from .machines import STEP_ROWS, PipelineStatus, StepStatus
from .sqlite_rows import ENVELOPE, HISTORY

migrations = Migrations("semantica.pipeline")

DIRECTORY = {
    "run_id": str,
    "name": str,
    "status": str,
    "engine": str,
    "owner": str,
    "epoch": int,
    "priority": int,
    "submitted_at": int,
    "changed_at": int,
}


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing. The caller has begun an immediate transaction."""
    migrations.apply(Database(connection, execute_plugins=False))


@migrations()
def m001_log(db: Database) -> None:
    """The envelope, as it will stay."""
    db.table("events").create(
        {
            "position": int,
            "stream": str,
            "version": int,
            "type": str,
            "schema": int,
            "at": int,
            "actor": str,
            "epoch": int,
            "encoding": str,
            "payload": str,
            "digest": bytes,
        },
        pk="position",
        not_null=("stream", "version", "type", "schema", "at", "payload", "digest"),
    )
    # Orders a stream, and refuses two writers of one version.
    db.table("events").create_index(["stream", "version"], unique=True)
    db.table("directory").create(DIRECTORY, pk="run_id")
    db.table("directory").create_index(["name", "submitted_at"])
    db.table("directory").create_index(["status"])
    db.table("snapshots").create(
        {"stream": str, "version": int, "fold": int, "data": bytes}, pk="stream"
    )
    # An id is never given twice: whoever asks for what came after one must not miss a command.
    db.execute(
        "CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT, at INTEGER, "
        "actor TEXT, command TEXT)"
    )
    db.table("members").create(
        {"id": str, "host": str, "pid": int, "expires": int, "address": str}, pk="id"
    )
    _create_views(db)


@migrations()
def m002_views(db: Database) -> None:
    """Steps may wait for resources, and be skipped by a condition."""
    _create_views(db)


@migrations()
def m003_cache(db: Database) -> None:
    """Outputs that may serve again are found by what their work is known by."""
    db.execute(
        "CREATE INDEX cached ON events (json_extract(payload, '$.cache'), position) WHERE "
        "type = 'StepCompleted' AND encoding = 'json' "
        "AND json_extract(payload, '$.cache') IS NOT NULL"
    )


@migrations()
def m004_views(db: Database) -> None:
    """Steps may be suspended, and undone."""
    _create_views(db)


@migrations()
def m005_parents(db: Database) -> None:
    """A run may be a step of another one, and be undone although it is not completed."""
    db.table("directory").add_column("parent", str)
    _create_views(db)


@migrations()
def m006_archive(db: Database) -> None:
    """Runs that were archived are found by their stream."""
    db.execute(
        "CREATE INDEX archived ON events ('run/' || json_extract(payload, '$.run')) "
        "WHERE type = 'RunArchived'"
    )


@migrations()
def m007_subscriptions(db: Database) -> None:
    """Consumers that follow the log, and how far they have come."""
    db.execute(
        "CREATE TABLE subscriptions (name TEXT PRIMARY KEY, position INTEGER NOT NULL, "
        "state BLOB NOT NULL)"
    )


@migrations()
def m008_streams(db: Database) -> None:
    """An event has the number of its stream: the name, 40 bytes, was in the table and its index."""
    for view in VIEWS:
        db.execute(f'DROP VIEW IF EXISTS "{view}"')
    db.execute("CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    db.execute(
        "INSERT INTO streams (name) "
        "SELECT stream FROM events GROUP BY stream ORDER BY min(position)"
    )
    (before,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'events'").fetchone()
    kept = db.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events'"
    ).fetchall()
    db.execute("ALTER TABLE events RENAME TO named")
    db.execute(before.replace('"stream" TEXT', '"stream" INTEGER'))
    db.execute(
        "INSERT INTO events SELECT position, id, version, type, schema, at, actor, epoch, "
        "encoding, payload, digest FROM named JOIN streams ON name = stream ORDER BY position"
    )
    db.execute("DROP TABLE named")
    for (index,) in kept:
        db.execute(index)
    _create_views(db)


@migrations()
def m009_logs(db: Database) -> None:
    """What handlers say. An id is never given twice: whoever asks for what came after one must not
    miss a line."""
    db.execute(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, "
        "step TEXT NOT NULL, attempt INTEGER NOT NULL, item TEXT, at INTEGER NOT NULL, "
        "level TEXT NOT NULL, encoding TEXT NOT NULL, payload TEXT NOT NULL)"
    )
    db.table("logs").create_index(["stream"])
    _create_views(db)


def _create_views(db: Database) -> None:
    for name, query in VIEWS.items():
        db.create_view(name, query, replace=True)


def _time(column: str) -> str:
    """Nanoseconds as ISO 8601, UTC, milliseconds."""
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1e9, 'unixepoch')"


_UNDOES = (StepStatus.COMPLETED, StepStatus.COMPENSATING)
"""The states that the events of a rollback follow."""


def _status_of_type(*, undoing: bool = False) -> str:
    """The step's status after an event of each type, from the law; ``undoing``: of those that mean
    something else in a rollback, what they mean there."""
    forward: dict[str, str] = {}
    undone: dict[str, str] = {}
    for row in STEP_ROWS:
        if row.trigger.startswith("Step"):
            for source in row.sources:
                cases = undone if source in _UNDOES else forward
                cases.setdefault(row.trigger, row.dest or source)
    both = {trigger: status for trigger, status in undone.items() if trigger in forward}
    cases = both if undoing else undone | forward
    return " ".join(f"WHEN '{trigger}' THEN '{status}'" for trigger, status in cases.items())


def _newest(trigger: str) -> str:
    """The version of a run's newest event of a type."""
    return f"""coalesce((SELECT max(version) FROM events r
                         WHERE r.stream = s.stream AND r.type = '{trigger}'), 0)"""


def _run_is(*statuses: PipelineStatus) -> str:
    """Whether a step's run has one of these statuses."""
    listing = ", ".join(f"'{status}'" for status in statuses)
    return f"""EXISTS (SELECT 1 FROM directory d
                       WHERE d.run_id = s.run_id AND d.status IN ({listing}))"""


_ROLLED = (
    PipelineStatus.ROLLING_BACK,
    PipelineStatus.ROLLED_BACK,
    PipelineStatus.ROLLBACK_FAILED,
)


VIEWS = {
    "runs": f"""
        SELECT run_id, name, status, engine, owner, epoch,
               {_time("submitted_at")} AS submitted, {_time("changed_at")} AS changed,
               (changed_at - submitted_at) / 1e9 AS seconds
        FROM directory ORDER BY submitted_at DESC""",
    # The newest event of each step decides; what the run did later overrules it.
    "steps": f"""
        SELECT run_id, step,
               CASE WHEN status IN ('failed', 'cancelled', 'skipped')
                         AND coalesce(reason, '') != 'condition'
                         AND version < {_newest("PipelineResumed")} THEN 'pending'
                    WHEN undoing IS NOT NULL AND {_run_is(*_ROLLED)}
                         AND version > {_newest("PipelineRollbackStarted")} THEN undoing
                    WHEN status = 'compensation_failed'
                         AND version < {_newest("PipelineRollbackResumed")} THEN 'completed'
                    WHEN status IN ('pending', 'retrying', 'waiting', 'suspended')
                         AND {_run_is(PipelineStatus.CANCELLED, *_ROLLED)} THEN 'cancelled'
                    ELSE status END AS status,
               attempt, {_time("at")} AS changed, version
        FROM (SELECT stream, substr(name, 5) AS run_id,
                     json_extract(payload, '$.step') AS step,
                     json_extract(payload, '$.reason') AS reason,
                     CASE type {_status_of_type()} END AS status,
                     CASE type {_status_of_type(undoing=True)} END AS undoing,
                     nullif(max(json_extract(payload, '$.attempt')) OVER (
                         PARTITION BY stream, json_extract(payload, '$.step')), 0) AS attempt,
                     at, version,
                     row_number() OVER (
                         PARTITION BY stream, json_extract(payload, '$.step')
                         ORDER BY version DESC) AS newest
              FROM events JOIN streams ON id = stream WHERE type LIKE 'Step%') s
        WHERE newest = 1""",
    "failures": f"""
        SELECT substr(name, 5) AS run_id, json_extract(payload, '$.step') AS step,
               nullif(json_extract(payload, '$.attempt'), 0) AS attempt,
               json_extract(payload, '$.error.type') AS error,
               json_extract(payload, '$.error.message') AS message,
               json_extract(payload, '$.error.category') AS category,
               {_time("at")} AS at, version
        FROM events JOIN streams ON id = stream
        WHERE type IN ('StepFailed', 'StepTimedOut', 'StepCompensationFailed',
                       'StepCompensationRetryScheduled')
        ORDER BY position DESC""",
    "history": f"""
        SELECT {ENVELOPE} FROM {HISTORY} ORDER BY position""",
    "lines": f"""
        SELECT substr(name, 5) AS run_id, step, attempt, item, {_time("at")} AS at, level,
               CASE encoding WHEN 'json' THEN json_extract(payload, '$.event') END AS event,
               CASE encoding WHEN 'json' THEN json_remove(payload, '$.event') END AS fields
        FROM logs JOIN streams ON streams.id = stream ORDER BY logs.id""",
}
