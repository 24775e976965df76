"""Copies of a SQLite log that is in use.

SQLite's online backup (https://sqlite.org/backup.html) copies a snapshot: one read transaction of a
connection of its own, which holds up no commit. Artifacts are copied after it: whatever an event of
the snapshot names was there before, and an artifact never changes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from secrets import token_hex

from .artifacts import FileArtifacts, sync_path
from .envelope import first_break
from .errors import LogCorrupt, LogError, LogUnavailable
from .sqlite_connection import Connection, beside
from .sqlite_file import explained
from .sqlite_rows import ENVELOPE, HISTORY, to_envelope
from .store import Backup


def back_up(log: Connection, artifacts: FileArtifacts, path: Path) -> Backup:
    """See the protocol. Of a copy that failed, artifacts may be left, which the next one to this
    path takes over."""
    path = path.resolve()
    partial = beside(path, f".partial-{token_hex(4)}")
    kept = FileArtifacts(beside(path, ".artifacts"), log=path)
    with _written_to(path):
        if path.exists():
            raise LogError(f"{path} exists; name a new file for the backup")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            with (
                explained(str(path)),
                closing(sqlite3.connect(partial, isolation_level=None)) as copy,
            ):
                with log.snapshot() as source:
                    source.backup(copy)
                copy.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory beside the file
                copy.execute("PRAGMA journal_mode = MEMORY")  # nor a journal: it is not valid yet
                copy.execute("DELETE FROM members")  # nobody works on the copy
                runs, events = _verified(copy, path)
            copied = [kept.put(artifacts.get(digest)) for digest in artifacts.digests()]
            sync_path(partial)
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_path(path.parent)
    return Backup(str(path), runs, events, len(copied))


def _verified(copy: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """How many runs and events there are. Raises LogCorrupt."""
    found = copy.execute(f"SELECT {ENVELOPE} FROM {HISTORY} ORDER BY events.stream, version")
    for stream, envelopes in groupby(map(to_envelope, found), key=lambda one: one.stream):
        broken = first_break(envelopes)
        if broken is not None:
            raise LogCorrupt(
                f"the backup {path} was not made, since the log is damaged: {stream}: {broken[1]}"
            )
    (runs,) = copy.execute("SELECT count(*) FROM directory").fetchone()
    (events,) = copy.execute("SELECT count(*) FROM events").fetchone()
    return int(runs), int(events)


@contextmanager
def _written_to(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogUnavailable(
            f"cannot write the backup {path}: {error.strerror or error}; free some space, mend the "
            "permissions, or name another place"
        ) from error
