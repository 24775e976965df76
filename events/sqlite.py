"""The log in a SQLite file: WAL mode, one connection that writes per process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifacts import FileArtifacts
from .directory import RunRow, advance, concerns, stream_of
from .envelope import GENESIS, Envelope, NewEvent, chain
from .errors import AppendRefused
from .lines import LogLine
from .machines import PipelineStatus
from .memory import in_turn
from .sqlite_connection import Connection, beside
from .sqlite_file import LifeLock
from .sqlite_lines import SqliteLines, write_lines
from .sqlite_rows import (
    ENVELOPE,
    HISTORY,
    ROW,
    number_of,
    read_row,
    remove_stream,
    to_envelope,
    to_row,
    write_row,
)
from .sqlite_subscriptions import SqliteSubscriptions
from .store import Backup, Batch, Durability, InboxItem, Member, Snapshot, check_durability

if TYPE_CHECKING:
    from .verify import Inspection

BUSY_TIMEOUT = 5.0
"""Seconds to wait for somebody else's transaction (a person with a shell)."""
_PAGE = 1000


class SqliteStore:
    """See :class:`~semantica.pipeline.events.store.Store`.

    Args:
        path: The database file; created, with its folder, when it does not exist.
        durability: See :data:`Durability`.
        busy_timeout: Seconds to wait for a foreign transaction before LogUnavailable.

    Raises:
        LogError: The file cannot be used; the message says why and what to do.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = "full",
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        check_durability(durability)
        self.path = Path(path).resolve()
        self.location = str(self.path)
        self.durability = durability
        self._connection = Connection(self.path, durability, busy_timeout)
        self._reading, self._writing = self._connection.reading, self._connection.writing
        self.subscriptions = SqliteSubscriptions(self._connection)
        self.lines = SqliteLines(self._connection)
        self._lives: dict[str, LifeLock] = {}
        self._data_version = self._read_data_version()
        self.artifacts = FileArtifacts(
            beside(self.path, ".artifacts"), sync=durability != "off", log=self.path
        )

    # -- events ------------------------------------------------------------------------------

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        with self._writing() as connection:
            answers = self._append_all(connection, batches)
            write_lines(connection, lines)
            if taken:
                refused = [answer.stream for answer in answers if answer]
                kept = ", ".join("?" * len(refused))
                connection.executemany(
                    f"DELETE FROM inbox WHERE id = ? AND stream NOT IN ({kept})",
                    [(item, *refused) for item in taken],
                )
            return answers

    def adopt(self, pages: Iterable[Sequence[Batch]]) -> None:
        with self._writing() as connection:
            for batches in pages:
                for refusal in filter(None, self._append_all(connection, batches)):
                    raise refusal

    def _append_all(
        self, connection: sqlite3.Connection, batches: Sequence[Batch]
    ) -> list[AppendRefused | None]:
        heads: dict[str, tuple[int, int, bytes, int]] = {}

        def head(stream: str) -> tuple[int, int] | None:
            heads[stream] = found = self._head(connection, stream)
            left = not found[0] and self._archived(connection, stream)
            return None if left else found[:2]

        def append(batch: Batch) -> None:
            heads[batch.stream] = self._append(connection, batch, heads[batch.stream])

        return in_turn(batches, head, append)

    @staticmethod
    def _head(connection: sqlite3.Connection, stream: str) -> tuple[int, int, bytes, int]:
        """Version, epoch and digest of a stream's newest event, and the number that the stream has;
        0: none yet."""
        found = connection.execute(
            "SELECT version, epoch, digest, id FROM streams JOIN events ON stream = id "
            "WHERE name = ? ORDER BY version DESC LIMIT 1",
            (stream,),
        ).fetchone()
        return found or (0, 0, GENESIS, 0)

    def _append(
        self, connection: sqlite3.Connection, batch: Batch, head: tuple[int, int, bytes, int]
    ) -> tuple[int, int, bytes, int]:
        """Append behind a stream's head; returns the new one."""
        version, _, digest, number = head
        number = number or number_of(connection, batch.stream)
        rows: list[tuple[Any, ...]] = []
        stream, at, actor, term = batch.stream, batch.at, batch.actor, batch.epoch
        changes: list[NewEvent] = []
        for event in batch.events:
            version += 1
            digest = chain(digest, stream, version, at, actor, term, event)
            rows.append(
                (
                    number,
                    version,
                    event.type,
                    event.schema,
                    at,
                    actor,
                    term,
                    event.encoding,
                    event.payload.decode(),
                    digest,
                )
            )
            if concerns(event.type):
                changes.append(event)
        connection.executemany(
            "INSERT INTO events (stream, version, type, schema, at, actor, epoch, encoding, "
            "payload, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        if changes:
            self._advance_directory(connection, batch, changes)
        return version, term, digest, number

    def _advance_directory(
        self, connection: sqlite3.Connection, batch: Batch, events: Sequence[NewEvent]
    ) -> None:
        row = read_row(connection, batch.stream.partition("/")[2])
        for event in events:
            row = advance(row, batch.stream, batch.at, batch.epoch, event)
        if row is not None:
            write_row(connection, row)

    def read(self, stream: str, after: int = 0) -> Iterator[Envelope]:
        return self._pages("name = ? AND version > ? ORDER BY version", (stream,), after, 2)

    def read_all(self, after: int = 0) -> Iterator[Envelope]:
        return self._pages("position > ? ORDER BY position", (), after, 0)

    def _pages(
        self, where: str, fixed: tuple[str, ...], after: int, key: int
    ) -> Iterator[Envelope]:
        """Page by page, so that no read transaction lives long and the WAL can be reset."""
        query = f"SELECT {ENVELOPE} FROM {HISTORY} WHERE {where} LIMIT {_PAGE}"
        while True:
            with self._reading() as connection:
                rows = connection.execute(query, (*fixed, after)).fetchall()
                page = [to_envelope(row) for row in rows]
            yield from page
            if len(rows) < _PAGE:
                return
            after = rows[-1][key]

    def position(self) -> int:
        with self._reading() as connection:
            return int(connection.execute("SELECT max(position) FROM events").fetchone()[0] or 0)

    def head(self, stream: str) -> Envelope | None:
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {ENVELOPE} FROM {HISTORY} WHERE name = ? ORDER BY version DESC LIMIT 1",
                (stream,),
            ).fetchone()
        return to_envelope(found) if found else None

    def cached(self, key: str) -> Envelope | None:
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {ENVELOPE} FROM {HISTORY} WHERE type = 'StepCompleted' "
                "AND encoding = 'json' "
                "AND json_extract(payload, '$.cache') = ? ORDER BY position DESC LIMIT 1",
                (key,),
            ).fetchone()
            return to_envelope(found) if found else None

    def archived(self, run_id: str) -> Envelope | None:
        with self._reading() as connection:
            return self._archived(connection, stream_of(run_id))

    @staticmethod
    def _archived(connection: sqlite3.Connection, stream: str) -> Envelope | None:
        found = connection.execute(
            f"SELECT {ENVELOPE} FROM {HISTORY} WHERE type = 'RunArchived' "
            "AND 'run/' || json_extract(payload, '$.run') = ?",
            (stream,),
        ).fetchone()
        return to_envelope(found) if found else None

    # -- directory ---------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRow | None:
        with self._reading() as connection:
            return read_row(connection, run_id)

    def runs(
        self,
        *,
        name: str | None = None,
        statuses: Sequence[PipelineStatus] | None = None,
        owner: str | None = None,
        engine: str | None = None,
        roots: bool = False,
        limit: int | None = None,
    ) -> list[RunRow]:
        conditions, values = ["1"], list[Any]()
        for column, value in (("name", name), ("owner", owner), ("engine", engine)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if roots:
            conditions.append("parent IS NULL")
        if statuses is not None:
            conditions.append(f"status IN ({', '.join('?' * len(statuses))})")
            values.extend(statuses)
        query = (
            f"SELECT {ROW} FROM directory WHERE {' AND '.join(conditions)} "
            "ORDER BY submitted_at DESC, run_id DESC LIMIT ?"
        )
        values.append(-1 if limit is None else limit)
        with self._reading() as connection:
            return [to_row(found) for found in connection.execute(query, values)]

    def rebuild(self) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM snapshots")
            connection.execute("DELETE FROM directory")
            found = connection.execute(
                f"SELECT name, at, epoch, type, schema, payload FROM {HISTORY} "
                "WHERE type LIKE 'Pipeline%' ORDER BY events.stream, version"
            )
            row: RunRow | None = None
            for stream, at, epoch, kind, schema, payload in found:
                if row is not None and row.stream != stream:
                    write_row(connection, row)
                    row = None
                row = advance(row, stream, at, epoch, NewEvent(kind, schema, payload.encode()))
            if row is not None:
                write_row(connection, row)

    # -- inbox, members, snapshots -----------------------------------------------------------

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        with self._writing() as connection:
            cursor = connection.execute(
                "INSERT INTO inbox (stream, at, actor, command) VALUES (?, ?, ?, ?)",
                (stream, at, actor, command.decode()),
            )
            return int(cursor.lastrowid or 0)

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        with self._reading() as connection:
            return [
                InboxItem(id=item, stream=stream, at=at, actor=actor, command=command.encode())
                for item, stream, at, actor, command in connection.execute(
                    "SELECT id, stream, at, actor, command FROM inbox WHERE id > ? ORDER BY id",
                    (after,),
                )
            ]

    def join(self, member: Member) -> None:
        if member.id not in self._lives:
            self._lives[member.id] = LifeLock(self._life_path(member.id))
            self._forget_dead()
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO members (id, host, pid, expires, address) "
                "VALUES (?, ?, ?, ?, ?)",
                (member.id, member.host, member.pid, member.expires, member.address),
            )

    def _forget_dead(self) -> None:
        """Remove members of this host whose process is gone."""
        for member in self.members():
            path = self._life_path(member.id)
            if member.host == os.uname().nodename and not LifeLock.is_held(path):
                self.leave(member.id)
                path.unlink(missing_ok=True)

    def leave(self, member_id: str) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM members WHERE id = ?", (member_id,))
        life = self._lives.pop(member_id, None)
        if life is not None:
            life.release()

    def members(self) -> list[Member]:
        with self._reading() as connection:
            found = connection.execute("SELECT id, host, pid, expires, address FROM members")
            return [Member(*row) for row in found]

    def alive(self, member_id: str, now: int) -> bool:
        with self._reading() as connection:
            found = connection.execute(
                "SELECT expires FROM members WHERE id = ?", (member_id,)
            ).fetchone()
        if found is None or found[0] <= now:
            return False
        return LifeLock.is_held(self._life_path(member_id))

    def _life_path(self, member_id: str) -> Path:
        return beside(self.path, ".engines") / f"{member_id}.lock"

    def news(self) -> bool:
        seen, self._data_version = self._data_version, self._read_data_version()
        return seen != self._data_version

    def _read_data_version(self) -> int:
        with self._reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO snapshots (stream, version, fold, data) "
                "VALUES (?, ?, ?, ?)",
                (stream, snapshot.version, snapshot.fold, snapshot.data),
            )

    def load_snapshot(self, stream: str) -> Snapshot | None:
        with self._reading() as connection:
            found = connection.execute(
                "SELECT version, fold, data FROM snapshots WHERE stream = ?", (stream,)
            ).fetchone()
        return Snapshot(*found) if found else None

    def retire(self, head: Envelope, stub: Batch) -> AppendRefused | None:
        with self._writing() as connection:
            if self.head(head.stream) != head:
                return AppendRefused(head.stream, f"it is not at version {head.version} any more")
            (refusal,) = self._append_all(connection, [stub])
            if refusal is None:
                remove_stream(connection, head.stream)
            return refusal

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._writing():
            yield

    def compact(self) -> int:
        return self._connection.compact()

    def inspect(self) -> AbstractContextManager[Inspection]:
        from .sqlite_inspection import inspection

        return inspection(self._connection)

    def backup(self, path: Path) -> Backup:
        from .sqlite_backup import back_up

        return back_up(self._connection, self.artifacts, path)

    def close(self) -> None:
        if self._connection.closed:
            return
        for member_id in list(self._lives):
            self.leave(member_id)
        self._connection.close()


__all__ = ["Durability", "SqliteStore"]
