"""Which log: from what a user writes to the loop that works on it, shared within the process.

All engines of a process on one log share its loop and connection. At interpreter exit every loop
drains: what is in flight is waited for and recorded, and whoever looks is told how to go on.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..events.arguments import shown
from ..events.errors import LogError, LogUnavailable
from ..events.memory import MemoryStore
from ..events.sealed_store import SealedStore, sealing
from ..events.store import Durability, Store, check_durability
from .clock import Clock, SystemClock
from .live import Owner
from .loop import Loop
from .requests import Unfinished

if TYPE_CHECKING:
    from ..events.keys import Keys

DEFAULT_FOLDER = ".semantica"
DEFAULT_LOG = f"{DEFAULT_FOLDER}/pipeline.db"

_lock = threading.Lock()
_shared: dict[str, SharedLoop] = {}
_pid = os.getpid()


class SharedLoop:
    """A running loop, and how many engines use it."""

    def __init__(self, key: str, store: Store, clock: Clock) -> None:
        self.key = key
        self.store = (
            store if isinstance(store, SealedStore) else sealing(store, partial(keys_for, store))
        )
        self.loop = Loop(self.store, clock)
        self.users = 0
        self.loop.turns.start()

    def leave(self) -> None:
        """An engine is done with it; the last one closes the log."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            _shared.pop(self.key, None)
        self.end()

    def end(self) -> None:
        """Stop the loop, and close the log."""
        self.loop.turns.stop()
        self.loop.lines.flush()
        self.store.close()


def open_log(
    log: str | os.PathLike[str] | Store | None,
    durability: Durability = "full",
    clock: Clock | None = None,
) -> SharedLoop:
    """The shared loop of a log; the caller leaves it in the end.

    Args:
        log: A path, ``sqlite:///path``, ``":memory:"``, a store, or None for ``$PIPELINE_LOG``,
            else ``.semantica/pipeline.db`` below the current directory.

    Raises:
        LogError: The log cannot be used, or is open in this process with another durability.
        TypeError, ValueError: What is given is no log, or no durability.
    """
    check_durability(durability)
    if not isinstance(log, (str, os.PathLike)) and log is not None:
        if not hasattr(log, "append") or not hasattr(log, "location"):
            raise TypeError(
                f"log={shown(log)} is no log: give a path, 'sqlite:///path', ':memory:' or a store"
            )
        return _share(f"object {id(log)}", lambda: log, clock)
    text = os.fspath(log) if log is not None else os.environ.get("PIPELINE_LOG") or DEFAULT_LOG
    if text == ":memory:":
        store = MemoryStore()
        return _share(f"memory {id(store)}", lambda: store, clock)
    path = _path_of(text)
    if log is None and text == DEFAULT_LOG:
        _make_default_folder(path.parent)

    def create() -> Store:
        from ..events.sqlite import SqliteStore  # a log in memory does not need it

        return SqliteStore(path, durability=durability)

    shared = _share(f"sqlite {path}", create, clock)
    present = getattr(shared.store, "durability", durability)
    if present != durability:
        shared.leave()
        raise LogError(
            f"{path} is open in this process with durability={present!r}; "
            f"close that engine before opening it with {durability!r}"
        )
    return shared


def open_existing(log: str | os.PathLike[str] | None) -> SharedLoop | None:
    """The shared loop of a log that is there, to read it; None where there is none.

    Args:
        log: As for :func:`open_log`; a log in memory can be read by its engines only.

    Raises:
        LogError: The log cannot be used.
    """
    path = place_of(log)
    if path is None or not path.exists():
        return None
    with _lock:
        present = _shared.get(f"sqlite {path}")
        if present is not None:  # with whatever durability
            present.users += 1
            return present
    return open_log(log)


def place_of(log: str | os.PathLike[str] | None) -> Path | None:
    """The file of a log, whether it is there or not; None for a log in memory.

    Args:
        log: As for :func:`open_log`.

    Raises:
        LogError: It is no file's name.
    """
    text = os.fspath(log) if log is not None else os.environ.get("PIPELINE_LOG") or DEFAULT_LOG
    return None if text == ":memory:" else _path_of(text)


def keys_for(store: Store) -> Keys:
    """Where the keys of a log's runs are: in the folder that ``$PIPELINE_KEYS`` names, else in one
    beside the log."""
    from ..events.keys import KEYS_VARIABLE, FileKeys, MemoryKeys  # few runs are encrypted

    path: Path | None = getattr(store, "path", None)
    if path is None:
        return MemoryKeys()
    named = os.environ.get(KEYS_VARIABLE)
    beside = path.with_name(f"{path.name}.keys")
    return FileKeys(Path(named).expanduser().resolve() if named else beside)


def _share(key: str, create: object, clock: Clock | None) -> SharedLoop:
    with _lock:
        shared = _shared.get(key)
        if shared is None:
            assert callable(create)
            shared = _shared[key] = SharedLoop(key, create(), clock or SystemClock())
        shared.users += 1
        return shared


def _path_of(text: str) -> Path:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text).expanduser().resolve()
    if scheme == "sqlite" and rest.startswith("/"):
        return Path(rest[1:]).expanduser().resolve()  # sqlite:///relative, sqlite:////absolute
    raise LogError(f"cannot open the log {text!r}: give a path, sqlite:///path or ':memory:'")


def _make_default_folder(folder: Path) -> None:
    """The folder ignores itself for git."""
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise LogUnavailable(
            f"cannot create {folder}: {error.strerror}; "
            "name another place with log=..., --log or PIPELINE_LOG"
        ) from error


def drain(shared: SharedLoop) -> list[Unfinished]:
    """Let what is in flight end, record it, and let all runs of a loop go. Blocks."""
    loop = shared.loop
    waiting: list[Future[list[Unfinished]]] = []
    begun = threading.Event()

    def begin() -> None:
        for owner in list(loop.owners.values()):
            done: Future[list[Unfinished]] = Future()
            waiting.append(done)
            loop.ownership.close(owner, True, done.set_result)
        begun.set()

    loop.closing.set()
    loop.post(begin)
    begun.wait()
    return [unfinished for done in waiting for unfinished in done.result()]


def retire(shared: SharedLoop, owner: Owner) -> None:
    """What close() does, without waiting; runs in any thread, at any time."""

    def released(left: list[Unfinished]) -> None:
        # Not in a turn: the last one to leave waits until there are no more.
        threading.Thread(target=shared.leave, daemon=True).start()

    shared.loop.post(partial(shared.loop.ownership.close, owner, False, released))


def _at_exit() -> None:
    if os.getpid() != _pid:
        return  # a fork: the loops, and their logs, are the parent's
    for shared in list(_shared.values()):
        left = drain(shared)
        try:
            shared.end()
        except LogError as error:
            sys.stderr.write(f"semantica.pipeline: {error}\n")
        if shared.store.location != ":memory:":
            sys.stderr.writelines(map(partial(_how_to_go_on, shared.store.location), left))


def _how_to_go_on(location: str, run: Unfinished) -> str:
    command = "resume " + run.run_id if run.status == "paused" else "recover"
    return (
        f"semantica.pipeline: run {run.run_id} ({run.name}) is unfinished, {run.completed} of "
        f"{run.total} steps done; go on with: semantica-pipeline {command} --log {location}\n"
    )


def _after_fork() -> None:
    """A child has none of its parent's threads: it begins without any log."""
    global _lock, _pid
    _lock, _pid = threading.Lock(), os.getpid()
    _abandoned.extend(_shared.values())  # never collected: their connections are the parent's
    _shared.clear()


_abandoned: list[SharedLoop] = []
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
