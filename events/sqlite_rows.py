"""Rows of a SQLite log, and what they stand for."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from .directory import RunRow
from .envelope import Envelope
from .machines import PipelineStatus

COLUMNS = "position, stream, version, type, schema, at, actor, epoch, encoding, payload, digest"
"""Of an envelope."""
ENVELOPE = COLUMNS.replace("stream", "name AS stream")
"""Where those are in ``HISTORY``."""
HISTORY = "events LEFT JOIN streams ON streams.id = events.stream"
"""Events, of which the table only has the number of their stream."""
ROW = "run_id, name, status, engine, owner, epoch, priority, submitted_at, changed_at, parent"
"""Columns of ``directory``."""
_STATUSES = frozenset(PipelineStatus)


def to_envelope(found: Sequence[Any]) -> Envelope:
    """The envelope in a row of the columns ``ENVELOPE``. If it is none, sqlite3.DatabaseError."""
    position, stream, version, kind, schema, at, actor, epoch, encoding, payload, digest = found
    if not isinstance(payload, str | bytes):  # the column refuses it: the file was written badly
        raise _damaged(f"the event at position {position} has no payload")
    if stream is None:
        raise _damaged(f"the event at position {position} is of no stream")
    return Envelope(
        position,
        stream,
        version,
        kind,
        schema,
        at,
        actor,
        epoch,
        encoding,
        payload.encode() if isinstance(payload, str) else payload,  # tampered with
        digest,
    )


def to_row(found: Sequence[Any]) -> RunRow:
    """The run in a row of the columns ``ROW``. If it is none, sqlite3.DatabaseError."""
    run_id, name, status, *rest = found
    if status not in _STATUSES:
        raise _damaged(f"the directory says that run {run_id} is {status!r}")
    return RunRow(run_id, name, PipelineStatus(status), *rest)


def _damaged(said: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(said)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def read_row(connection: sqlite3.Connection, run_id: str) -> RunRow | None:
    """A run of the directory."""
    query = f"SELECT {ROW} FROM directory WHERE run_id = ?"
    found = connection.execute(query, (run_id,)).fetchone()
    return to_row(found) if found else None


def write_row(connection: sqlite3.Connection, row: RunRow) -> None:
    """Put a run into the directory, in place of what stood there."""
    connection.execute(
        f"INSERT OR REPLACE INTO directory ({ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.run_id,
            row.name,
            str(row.status),
            row.engine,
            row.owner,
            row.epoch,
            row.priority,
            row.submitted_at,
            row.changed_at,
            row.parent,
        ),
    )


def number_of(connection: sqlite3.Connection, stream: str) -> int:
    """The number of a stream, which it gets with its first event."""
    connection.execute("INSERT INTO streams (name) VALUES (?) ON CONFLICT DO NOTHING", (stream,))
    found = connection.execute("SELECT id FROM streams WHERE name = ?", (stream,))
    return int(found.fetchone()[0])


def remove_stream(connection: sqlite3.Connection, stream: str) -> None:
    """Remove a run's events, and all that hangs on them."""
    number = number_of(connection, stream)
    for table in ("events", "logs"):
        connection.execute(f"DELETE FROM {table} WHERE stream = ?", (number,))
    connection.execute("DELETE FROM streams WHERE id = ?", (number,))
    for table in ("snapshots", "inbox"):
        connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
    run_id = stream.partition("/")[2]
    connection.execute("DELETE FROM directory WHERE run_id = ?", (run_id,))
