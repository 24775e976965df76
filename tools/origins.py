"""Where a run's pipeline came from, so that another process can load it again after a crash.

A handler is found again by its name, but not every module is on the path of the process that
recovers a run, and a handler that is a lambda has no name. So ``run`` notes, in a file beside the
log, what it was told to run; ``recover`` and ``resume`` load that again. One JSON object a line:
``{"run": id, "target": TARGET, "folder": the current directory}``. The file only adds convenience:
without it, ``--pipeline`` and ``--path`` say the same.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import NamedTuple

from ..events.store import Store
from .loading import absolute
from .terminal import complain


class Origin(NamedTuple):
    """What was run, and the current directory then."""

    target: str
    folder: str


def remember(store: Store, run_id: str, target: str) -> None:
    """Note the origin of a run."""
    path = _beside(store)
    if path is None:
        return
    line = json.dumps({"run": run_id, "target": absolute(target), "folder": str(Path.cwd())})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        complain("warning", f"cannot write {path}: {error.strerror}; recover needs --pipeline")


def recall(store: Store, run_id: str) -> Origin | None:
    """The origin of a run, if it is known and nobody else could have written it."""
    path = _beside(store)
    if path is None or not path.exists():
        return None
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        complain("warning", f"{path} may be written by others and is not used (mend: chmod go-w)")
        return None
    origin = None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if json.dumps(run_id) not in line:
            continue
        try:
            noted = json.loads(line)
            origin = Origin(noted["target"], noted["folder"])
        except (ValueError, KeyError, TypeError):  # a line torn by a crash
            continue
    return origin


def _beside(store: Store) -> Path | None:
    """The file beside a log that is a file."""
    if store.location == ":memory:":
        return None
    return Path(f"{store.location}.origins")
