"""A SQLite log as it is stored, for whoever verifies it: damage is told, and read past."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .directory import RunRow
from .envelope import Envelope
from .errors import LogCorrupt
from .sqlite_connection import Connection
from .sqlite_rows import COLUMNS, ENVELOPE, HISTORY, ROW, to_envelope, to_row
from .sqlite_schema import VIEWS
from .verify import Fault

ENOUGH = 100
"""Faults of the file's own structure that are told."""
_KINDS = (int, str, int, str, int, int, str, int, str, str, bytes)
"""Of the columns of an event."""


class SqliteInspection:
    """See :class:`~semantica.pipeline.events.verify.Inspection`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def file(self) -> Iterator[Fault]:
        for (found,) in self._rows(f"PRAGMA integrity_check({ENOUGH})"):
            if found != "ok":
                yield Fault(f"the file is damaged: {found}")
        yield from self._failed()

    def events(self) -> Iterator[Envelope | Fault]:
        # The table itself: an index may still hold what a damaged row held.
        table = HISTORY.replace("events", "events NOT INDEXED", 1)
        query = f"SELECT {ENVELOPE} FROM {table} ORDER BY position"
        position = 0
        for row in self._rows(query):
            position = row[0]
            yield _wrong(row) or to_envelope(row)
        for fault in self._failed():
            yield Fault(f"{fault.problem}, after position {position}")

    def rows(self) -> Iterator[RunRow | Fault]:
        for row in self._rows(f"SELECT {ROW} FROM directory NOT INDEXED"):
            try:
                yield to_row(row)
            except sqlite3.DatabaseError as error:
                yield Fault(str(error), f"run/{row[0]}")
        yield from self._failed()

    def version(self, stream: str) -> int:
        query = f"SELECT coalesce(max(version), 0) AS version FROM {HISTORY} WHERE name = ?"
        return int(self._asked(query, stream)[0]["version"])

    def view(self, name: str, run_id: str) -> list[dict[str, Any]]:
        assert name in VIEWS  # it stands in the query
        return self._asked(f"SELECT * FROM {name} WHERE run_id = ?", run_id)

    def _asked(self, query: str, value: str) -> list[dict[str, Any]]:
        try:
            cursor = self._connection.execute(query, (value,))
            columns = [column[0] for column in cursor.description]
            return [dict(zip(columns, row, strict=True)) for row in cursor]
        except sqlite3.Error as error:
            raise LogCorrupt(f"the log cannot be read: {error}") from error

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        self._error: sqlite3.Error | None = None
        try:
            yield from self._connection.execute(query)
        except sqlite3.Error as error:
            self._error = error

    def _failed(self) -> Iterator[Fault]:
        if self._error is not None:
            yield Fault(f"the file cannot be read: {self._error}")


def _wrong(row: tuple[Any, ...]) -> Fault | None:
    """What is wrong with the types of an event's columns."""
    for name, kind, value in zip(COLUMNS.split(", "), _KINDS, row, strict=True):
        if type(value) is not kind:
            return Fault(f"its {name} is no {kind.__name__}: {value!r:.80}", *_place(row))
        if isinstance(value, str) and not value.isascii() and _is_undecodable(value):
            return Fault(f"its {name} is no text in UTF-8", *_place(row))
    return None


def _place(row: tuple[Any, ...]) -> tuple[str | None, int | None, int | None]:
    position, stream, version = row[:3]
    return (
        ascii(stream)[1:-1] if isinstance(stream, str) else None,
        version if type(version) is int else None,
        position,
    )


def _is_undecodable(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)


@contextmanager
def inspection(log: Connection) -> Iterator[SqliteInspection]:
    """One read transaction of a connection of its own, which holds up nobody."""
    with log.snapshot() as connection:
        connection.text_factory = _text
        connection.execute("BEGIN")
        yield SqliteInspection(connection)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
