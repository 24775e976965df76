"""Archiving and vacuuming, killed before and after every change it makes to a log or to a file.

``python leaving.py FOLDER`` with ``FOLDER/log.db`` forks a child for each of these moments, which
works on a copy and kills itself there; then another one finishes. Prints, as JSON, for each moment:
faults right after the kill, faults at the end, whose stubs there are, and what the logs hold.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semantica.pipeline.engine import retention
from semantica.pipeline.events.artifacts import FileArtifacts
from semantica.pipeline.events.retention import stubs
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.verify import Verification

CHANGES = (
    (SqliteStore, "append"),
    (SqliteStore, "retire"),
    (SqliteStore, "compact"),
    (FileArtifacts, "put"),
    (FileArtifacts, "touch"),
    (FileArtifacts, "discard"),
)


def killing(moment: int) -> None:
    """Have this process die at the ``moment``-th side of a change; 0: never."""
    seen = 0

    def side() -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            side()
            answer = method(*args, **more)
            side()
            return answer

        return call

    for kind, name in CHANGES:
        setattr(kind, name, deadly(getattr(kind, name)))


def leave(folder: Path, moment: int) -> bool:
    """Archive and vacuum in a process of its own; whether it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            killing(moment)
            store = SqliteStore(folder / "log.db", durability="off")
            retention.archive(
                store,
                older_than=0,
                to=folder / "archive.db",
                name=None,
                statuses=None,
                dry_run=False,
                actor="me",
                now=time.time_ns(),
            )
            retention.vacuum(store, grace=0, dry_run=False)
            store.close()
            status = 0
        finally:
            os._exit(status)
    _, outcome = os.waitpid(child, 0)
    assert os.WIFSIGNALED(outcome) or os.WEXITSTATUS(outcome) == 0, f"moment {moment} failed"
    return os.WIFSIGNALED(outcome)


def look(path: Path) -> tuple[list[str], dict[str, int], list[str]]:
    """Faults, how many events there are of each run, and the artifacts."""
    if not path.exists():
        return [], {}, []
    store = SqliteStore(path, durability="off")
    try:
        checked = Verification(store)
        faults = [*map(str, checked.faults())]
        held: dict[str, int] = {}
        for envelope in store.read_all():
            held[envelope.stream] = held.get(envelope.stream, 0) + 1
        if path.name == "log.db":
            held["stubs"] = len(list(stubs(store)))
        return faults, held, sorted(store.artifacts.digests())
    finally:
        store.close()


def main(folder: Path) -> None:
    """See the module."""
    told = []
    for moment in range(1, 1000):
        copy = folder / f"moment-{moment}"
        copy.mkdir()
        shutil.copy(folder / "log.db", copy)
        shutil.copytree(folder / "log.db.artifacts", copy / "log.db.artifacts")
        killed = leave(copy, moment)
        early = look(copy / "log.db")[0] + look(copy / "archive.db")[0]
        assert not leave(copy, 0)
        log, archive = look(copy / "log.db"), look(copy / "archive.db")
        told.append({"early": early, "late": log[0] + archive[0], "log": log[1:],
                     "archive": archive[1:]})  # fmt: skip
        shutil.rmtree(copy)
        if not killed:
            break
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
