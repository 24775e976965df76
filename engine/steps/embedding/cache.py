"""Vectors that were computed before, by model and text, in a file beside the log.

It may be deleted at any time; what is missing is computed again. Its journal is SQLite's old kind,
whose commits by several processes exclude one another.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CAPACITY = 512 * 2**20
"""Bytes of vectors that are kept; of more, those that were longest of no use are dropped."""
_SPARE = 0.9
"""What of the capacity is filled then."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY, used INTEGER NOT NULL, vector BLOB NOT NULL
) WITHOUT ROWID
"""


class VectorCache:
    """The cache in a file, which is created when something is first kept. Safe to use from several
    threads and processes.

    Args:
        capacity: Bytes.
    """

    def __init__(self, path: Path, capacity: int = CAPACITY) -> None:
        self._path = path
        self._capacity = capacity
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.trouble: str | None = None
        """Why nothing more is kept or found: that is no reason to fail for."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is known of these keys."""

        def look_up(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = {}
            for key in keys:
                row = connection.execute("SELECT vector FROM vectors WHERE key = ?", (key,))
                found.update((key, vector) for (vector,) in row)
            today = _today()
            connection.executemany(
                "UPDATE vectors SET used = ? WHERE key = ? AND used != ?",
                [(today, key, today) for key in found],
            )
            return found

        return self._guarded(look_up, {})

    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors by their keys."""

        def keep(connection: sqlite3.Connection) -> None:
            today = _today()
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(key, today, vector) for key, vector in vectors.items()],
            )

        self._guarded(keep, None)

    def close(self) -> None:
        """Drop what exceeds the capacity, and give the file back."""
        if self._connection is not None:
            self._guarded(self._trim, None)
            self._connection.close()
            self._connection = None

    def _trim(self, connection: sqlite3.Connection) -> None:
        size = "SELECT total(length(vector)) FROM vectors"
        total = int(connection.execute(size).fetchone()[0])
        if total <= self._capacity:
            return
        surplus = total - self._capacity * _SPARE
        dropped: list[tuple[bytes]] = []
        oldest = "SELECT key, length(vector) FROM vectors ORDER BY used"
        for key, length in connection.execute(oldest):
            if surplus <= 0:
                break
            dropped.append((key,))
            surplus -= length
        connection.executemany("DELETE FROM vectors WHERE key = ?", dropped)

    def _guarded(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do ``work`` in a transaction."""
        with self._turn:
            if self.trouble is not None:
                return otherwise
            try:
                with self._open() as connection:
                    return work(connection)
            except (sqlite3.Error, OSError) as error:
                self.trouble = f"{self._path}: {error}; it may be deleted"
                return otherwise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                self._path, timeout=60, check_same_thread=False, isolation_level="IMMEDIATE"
            )
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
        return self._connection


def key_of(version: str, text: str) -> bytes:
    """What a text's vector is known by: 20 bytes of the model's version and the text."""
    data = f"{version}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=20).digest()


def _today() -> int:
    return int(time.time()) // 86_400
