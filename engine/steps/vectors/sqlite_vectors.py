"""The embedded vector store: a SQLite file for each index, and an exact scan with numpy.

Any SQLite tool can read it. Vectors have a table to themselves, so that a scan reads nothing else;
those of the index that was searched last stay in memory, as long as the file has not changed.
The journal is SQLite's old kind, whose commits by several processes exclude one another.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import MissingExtra
from .store import Contents, Hit, IndexMismatch, Item, NoIndex

APPLICATION = int.from_bytes(b"vect", "big")
"""``application_id`` of the files."""
FORMAT = 1
"""``user_version`` of the files."""
BLOCK = 8192
"""Vectors that a scan holds at once."""
RESIDENT = 256 * 2**20
"""Bytes of vectors up to which they stay in memory after a search."""
_SCHEMA = """
CREATE TABLE contents (model TEXT NOT NULL, dimensions INTEGER NOT NULL, version TEXT NOT NULL);
CREATE TABLE items (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, document TEXT NOT NULL,
    origin TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL,
    metadata TEXT NOT NULL, run TEXT NOT NULL
);
CREATE INDEX items_origin ON items (origin);
CREATE TABLE vectors (place INTEGER PRIMARY KEY, vector BLOB NOT NULL);
"""
_UPSERT = """
INSERT INTO items (id, kind, document, origin, start, "end", text, metadata, run)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, document = excluded.document, origin = excluded.origin,
    start = excluded.start, "end" = excluded."end", text = excluded.text,
    metadata = excluded.metadata, run = excluded.run
RETURNING place
"""
_HIT = 'SELECT origin, start, "end", text, kind, id, document, metadata FROM items WHERE place = ?'


class SqliteVectors:
    """An index in a file. Not for several threads at once; several processes may use the file.

    Args:
        path: The file; :meth:`begin` creates it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def begin(self, model: str, dimensions: int) -> None:
        """See :class:`.VectorStore`."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            self._check(connection)
            held = self._held(connection)
            empty = connection.execute("SELECT 1 FROM items LIMIT 1").fetchone() is None
            if held is None or (empty and held != (model, dimensions)):
                connection.execute("DELETE FROM contents")
                row = (model, dimensions, _version())
                connection.execute("INSERT INTO contents VALUES (?, ?, ?)", row)
            elif held != (model, dimensions):
                raise IndexMismatch(
                    f"the index {self.path} holds vectors of {held[0]} ({held[1]} dimensions), "
                    f"not of {model} ({dimensions}): choose another index_name, or delete the file"
                )

    def upsert(self, items: Sequence[Item], run: str) -> None:
        """See :class:`.VectorStore`. All of them in one transaction."""
        with self._open() as connection:
            self._change(connection)
            for item in items:
                metadata = json.dumps(item.metadata, default=str, ensure_ascii=True)
                row = (
                    item.id, item.kind, item.document, _plain(item.origin), item.start, item.end,
                    _plain(item.text), metadata, run,
                )  # fmt: skip
                (place,) = connection.execute(_UPSERT, row).fetchone()
                connection.execute(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)", (place, item.values)
                )

    def forget(self, origins: Collection[str], run: str) -> int:
        """See :class:`.VectorStore`. All of it in one transaction."""
        dropped = 0
        with self._open() as connection:
            self._change(connection)
            for origin in origins:
                stale = "SELECT place FROM items WHERE origin = ? AND run != ?"
                which = (_plain(origin), run)
                connection.execute(f"DELETE FROM vectors WHERE place IN ({stale})", which)
                dropped += connection.execute(
                    "DELETE FROM items WHERE origin = ? AND run != ?", which
                ).rowcount
        return dropped

    def contents(self) -> Contents:
        """See :class:`.VectorStore`."""
        connection = self._existing()
        held = self._held(connection)
        if held is None:
            raise NoIndex(f"the index {self.path} holds nothing yet")
        count = connection.execute("SELECT count(*) FROM items").fetchone()[0]
        return Contents(held[0], held[1], count)

    def search(self, vector: Iterable[float], top: int) -> list[Hit]:
        """See :class:`.VectorStore`. Exact: every vector is looked at."""
        np = _numpy()
        connection = self._existing()
        wanted = np.array(list(vector), np.float32)
        connection.execute("BEGIN")  # what is found is there until it is read
        try:
            best = self._nearest(connection, np, wanted, top)
            hits = [_hit(score, connection.execute(_HIT, (place,))) for score, place in best]
        finally:
            connection.execute("COMMIT")
        return hits

    def _nearest(
        self, connection: sqlite3.Connection, np: Any, wanted: Any, top: int
    ) -> list[tuple[float, int]]:
        scores, places = np.zeros(0, np.float32), np.zeros(0, np.int64)
        for numbers, matrix in self._matrices(connection, np):
            if matrix.shape[1] != len(wanted):
                raise IndexMismatch(
                    f"the index {self.path} has {matrix.shape[1]} dimensions, the question "
                    f"{len(wanted)}: it was embedded by another model"
                )
            scores = np.concatenate([scores, matrix @ wanted])
            places = np.concatenate([places, numbers])
            if len(scores) > top:
                kept = np.argpartition(-scores, top - 1)[:top]
                scores, places = scores[kept], places[kept]
        order = np.lexsort((places, -scores))
        return [(float(scores[i]), int(places[i])) for i in order]

    def _matrices(self, connection: sqlite3.Connection, np: Any) -> Iterator[tuple[Any, Any]]:
        """Places and vectors: all at once from memory, else block by block from the file."""
        (version,) = connection.execute("SELECT version FROM contents").fetchone()
        held = _resident.get(self.path)
        if held is not None and held[0] == version:
            yield held[1:]
            return
        (size,) = connection.execute("SELECT total(length(vector)) FROM vectors").fetchone()
        blocks = _blocks(connection, np)
        if size > RESIDENT or not size:
            yield from blocks
            return
        numbers, matrices = zip(*blocks, strict=True)
        places, matrix = np.concatenate(numbers), np.concatenate(matrices)
        _resident.clear()
        _resident[self.path] = version, places, matrix
        yield places, matrix

    def close(self) -> None:
        """See :class:`.VectorStore`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _change(connection: sqlite3.Connection) -> None:
        """Begin a transaction that changes vectors."""
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE contents SET version = ?", (_version(),))

    @staticmethod
    def _held(connection: sqlite3.Connection) -> tuple[str, int] | None:
        row = connection.execute("SELECT model, dimensions FROM contents").fetchone()
        return None if row is None else (row[0], row[1])

    def _existing(self) -> sqlite3.Connection:
        if not self.path.exists():
            raise NoIndex(f"there is no index at {self.path}: a store_vectors step makes one")
        connection = self._open()
        self._check(connection)
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        found = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        ]
        if found != [APPLICATION, FORMAT]:
            raise IndexMismatch(f"{self.path} is no vector index that this version can read")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            try:
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("SELECT 1 FROM sqlite_master")
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # it is locked, or cannot be read, for now
                raise IndexMismatch(f"{self.path} is no vector index: {error}") from error
        return self._connection


def _blocks(connection: sqlite3.Connection, np: Any) -> Iterator[tuple[Any, Any]]:
    rows = connection.execute("SELECT place, vector FROM vectors")
    while block := rows.fetchmany(BLOCK):
        numbers, blobs = zip(*block, strict=True)
        yield np.array(numbers), np.frombuffer(b"".join(blobs), "<f4").reshape(len(block), -1)


def _version() -> str:
    return os.urandom(8).hex()


_resident: dict[Path, tuple[str, Any, Any]] = {}
"""At most one index: its version, places and vectors."""


def _hit(score: float, rows: sqlite3.Cursor) -> Hit:
    origin, start, end, text, kind, identity, document, metadata = rows.fetchone()
    found = msgspec.json.decode(metadata)
    return Hit(round(score, 6), origin, start, end, text, kind, identity, document, found)


def _plain(text: str) -> str:
    """Without lone surrogates, which SQLite cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtra("searching vectors", "embed") from error
    return np
