"""Rows of a SQLite log, and what they stand for."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from .directory import RunRow
from .envelope import Envelope
from .machines import PipelineStatus

ENVELOPE = "position, stream, version, type, schema, at, actor, epoch, encoding, payload, digest"
"""Columns of ``events``."""
ROW = "run_id, name, status, engine, owner, epoch, priority, submitted_at, changed_at, parent"
"""Columns of ``directory``."""


def to_envelope(found: Sequence[Any]) -> Envelope:
    """The envelope in a row of the columns ``ENVELOPE``."""
    position, stream, version, kind, schema, at, actor, epoch, encoding, payload, digest = found
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
        payload.encode() if isinstance(payload, str) else bytes(payload),  # tampered with
        digest,
    )


def to_row(found: Sequence[Any]) -> RunRow:
    """The run in a row of the columns ``ROW``."""
    run_id, name, status, *rest = found
    return RunRow(run_id, name, PipelineStatus(status), *rest)


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
