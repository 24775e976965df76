"""The lines of a SQLite log: rows of its table ``logs``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from .lines import EVERY, LEVELS, LogLine, Wanted, at_least
from .sqlite_connection import Connection

_COLUMNS = "id, run, step, attempt, item, at, level, encoding, payload"
_PAGE = 1000


class SqliteLines:
    """See :class:`~semantica.pipeline.events.lines.Lines`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, run_id: str, after: int = 0, wanted: Wanted = EVERY) -> Iterator[LogLine]:
        where, values = _asked(run_id, wanted)
        query = f"SELECT {_COLUMNS} FROM logs WHERE {where} AND id > ? ORDER BY id LIMIT {_PAGE}"
        while True:
            with self._connection.reading() as connection:
                page = list(map(_to_line, connection.execute(query, (*values, after))))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def newest(
        self, run_id: str, count: int, before: int | None = None, wanted: Wanted = EVERY
    ) -> list[LogLine]:
        where, values = _asked(run_id, wanted)
        if before is not None:
            where, values = f"{where} AND id < ?", [*values, before]
        query = f"SELECT {_COLUMNS} FROM logs WHERE {where} ORDER BY id DESC LIMIT ?"
        with self._connection.reading() as connection:
            found = list(map(_to_line, connection.execute(query, (*values, count))))
        return found[::-1]

    def position(self) -> int:
        with self._connection.reading() as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM logs").fetchone()[0])

    def heads(self, after: int) -> dict[str, int]:
        with self._connection.reading() as connection:
            query = "SELECT run, max(id) FROM logs WHERE id > ? GROUP BY run"
            return dict(connection.execute(query, (after,)).fetchall())


def write_lines(connection: sqlite3.Connection, lines: Iterable[LogLine]) -> None:
    """Append the lines of runs that are in the directory; of others, that have left, none."""
    connection.executemany(
        "INSERT INTO logs (run, step, attempt, item, at, level, encoding, payload) "
        "SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM directory WHERE run_id = ?)",
        [
            (
                line.run,
                line.step,
                line.attempt,
                line.item,
                line.at,
                line.level,
                line.encoding,
                line.payload.decode(),
                line.run,
            )
            for line in lines
        ],
    )


def _asked(run_id: str, wanted: Wanted) -> tuple[str, list[Any]]:
    """A condition, and the values in it."""
    where, values = ["run = ?"], list[Any]((run_id,))
    for column, value in (("step = ?", wanted.step), ("attempt = ?", wanted.attempt),
                          ("at <= ?", wanted.until)):  # fmt: skip
        if value is not None:
            where.append(column)
            values.append(value)
    levels = at_least(wanted.level)
    if len(levels) < len(LEVELS):
        where.append(f"level IN ({', '.join('?' * len(levels))})")
        values += levels
    return " AND ".join(where), values


def _to_line(found: tuple[Any, ...]) -> LogLine:
    number, run, step, attempt, item, at, level, encoding, payload = found
    return LogLine(run, step, attempt, at, level, str(payload).encode(), item, encoding, number)
