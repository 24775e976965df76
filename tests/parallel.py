"""Tasks that can be watched and held, for the tests of what runs in parallel."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from semantica.pipeline.engine.parallelism import (
    ParallelExecutionResult,
    ParallelismManager,
    Task,
)

Results = list[ParallelExecutionResult]
LONG = 20
"""Seconds after which a test gives up."""

both = pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])


class Gated:
    """Handlers that say when they have begun, and wait until they are let go."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self._go: dict[str, threading.Event] = {}

    def task(self, task_id: str, **options: Any) -> Task:
        self._go[task_id] = threading.Event()
        return Task(task_id, self._handle, (task_id,), **options)

    def _handle(self, task_id: str) -> str:
        self.begun.put(task_id)
        assert self._go[task_id].wait(LONG)
        return task_id

    def next(self) -> str:
        return self.begun.get(timeout=LONG)

    def let_go(self, *task_ids: str) -> None:
        for task_id in task_ids or self._go:
            self._go[task_id].set()


def in_thread(function: Callable[..., Results], *args: Any, **options: Any) -> Future[Results]:
    """Begin a call in a thread of its own."""
    future: Future[Results] = Future()

    def call() -> None:
        try:
            future.set_result(function(*args, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(LONG * 200):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


def gone(pid: int) -> bool:
    """Whether a process has ended, with all of its threads."""
    proc = Path(f"/proc/{pid}")
    try:
        state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len([*(proc / "task").iterdir()]) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def values(results: Results) -> list[Any]:
    assert all(result.success for result in results), [result.error for result in results]
    return [result.result for result in results]


def queued(manager: ParallelismManager, calls: int) -> None:
    wait_for(lambda: len([*manager._scheduler._calls]) == calls)


def pid(**_: Any) -> int:
    return os.getpid()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def with_child(file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(file).with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
    Path(file).with_suffix(".new").rename(file)
    time.sleep(600)


def all_gone(file: Path) -> bool:
    pids = [int(number) for number in file.read_text().split()]
    assert len(pids) == 2
    return all(map(gone, pids))
