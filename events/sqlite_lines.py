"""The lines of a SQLite log: rows of its table ``logs``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from .directory import stream_of
from .lines import EVERY, LEVELS, LogLine, Wanted, at_least
from .sqlite_connection import Connection

_COLUMNS = "logs.id, name, step, attempt, item, at, level, encoding, payload"
_FROM = "logs JOIN streams ON streams.id = stream"
_PAGE = 1000


class SqliteLines:
    """See :class:`~semantica.pipeline.events.lines.Lines`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, run_id: str, after: int = 0, wanted: Wanted = EVERY) -> Iterator[LogLine]:
        where, values = _asked(run_id, wanted)
        query = (
            f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} AND logs.id > ? "
            f"ORDER BY logs.id LIMIT {_PAGE}"
        )
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
            where, values = f"{where} AND logs.id < ?", [*values, before]
        query = f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} ORDER BY logs.id DESC LIMIT ?"
        with self._connection.reading() as connection:
            found = list(map(_to_line, connection.execute(query, (*values, count))))
        return found[::-1]

    def position(self) -> int:
        with self._connection.reading() as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM logs").fetchone()[0])

    def heads(self, after: int) -> dict[str, int]:
        with self._connection.reading() as connection:
            # The newest rows alone: the index of streams would suit the groups, and be read whole.
            query = (
                "SELECT name, max(logs.id) FROM logs NOT INDEXED JOIN streams ON streams.id = "
                "stream WHERE logs.id > ? GROUP BY stream"
            )
            found = connection.execute(query, (after,)).fetchall()
        return {name.partition("/")[2]: head for name, head in found}


def write_lines(connection: sqlite3.Connection, lines: Iterable[LogLine]) -> None:
    """Append the lines of runs that are here; of others, that have left, none."""
    connection.executemany(
        "INSERT INTO logs (stream, step, attempt, item, at, level, encoding, payload) "
        "SELECT id, ?, ?, ?, ?, ?, ?, ? FROM streams WHERE name = ?",
        [
            (
                line.step,
                line.attempt,
                line.item,
                line.at,
                line.level,
                line.encoding,
                line.payload.decode(),
                stream_of(line.run),
            )
            for line in lines
        ],
    )


def _asked(run_id: str, wanted: Wanted) -> tuple[str, list[Any]]:
    """A condition, and the values in it."""
    where, values = ["name = ?"], list[Any]((stream_of(run_id),))
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
    number, stream, step, attempt, item, at, level, encoding, payload = found
    run_id, text = stream.partition("/")[2], str(payload).encode()
    return LogLine(run_id, step, attempt, at, level, text, item, encoding, number)
