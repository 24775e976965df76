"""Workers that do nothing by themselves: the simulation says when an attempt ends, and how.

What carries an attempt out is the engine's own code; only the handler's part is played.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from semantica.pipeline import Context
from semantica.pipeline.engine.attempt import Attempt, Report, carry_out

ENDINGS = {"returns": 10, "fails": 3, "breaks": 1, "hands back": 2, "notices": 2}


class Job(msgspec.Struct, eq=False):
    """An attempt that a worker has."""

    attempt: Attempt
    report: Report
    hangs: bool
    """It does not end as long as there is trouble."""
    marks: int = 0
    """Checkpoints that it has saved."""


class _Stage:
    """What the handlers that are called next are to do."""

    def __init__(self) -> None:
        self.ending = "returns"
        self.holds = True
        self.seen: Any = None
        """The data that the handler was given."""

    def act(self, context: Context, waits: tuple[str, ...] = ()) -> str:
        for wait in waits:
            kind, _, argument = wait.partition(" ")
            if kind == "sleep":
                context.sleep(float(argument))
            else:
                context.wait_for(kind, timeout=float(argument) if argument else None)
        if self.ending == "fails":
            raise ConnectionError("no answer")
        if self.ending == "breaks":
            raise ValueError("wrong")
        if self.ending == "hands back" and context.should_yield():
            context.hand_back()
        if self.ending == "notices":
            context.raise_if_cancelled()
        return f"{context.step} {context.attempt}"


stage = _Stage()


def handler(data: Any, context: Context, waits: list[str]) -> str:
    """Of every step."""
    stage.seen = data
    return stage.act(context, tuple(waits))


def condition(data: Any) -> bool:
    return stage.holds


def undo(output: Any, context: Context) -> None:
    stage.seen = output
    stage.act(context)


def fallback(step: Any, error: BaseException, data: Any, context: Context) -> str:
    stage.seen = data
    return stage.act(context)


def play(job: Job, ending: str, holds: bool = True) -> Any:
    """Let an attempt end; returns the data that it was given, or None if it was not asked for."""
    stage.ending, stage.holds, stage.seen = ending, holds, None
    carry_out(job.attempt, job.report, lambda: None)
    return stage.seen


class Team:
    """The workers of an owner: a :class:`~semantica.pipeline.engine.backends.backend.Backend`."""

    here = False

    def __init__(self, size: int, told: Callable[[Attempt], bool]) -> None:
        self.max_workers = 0
        self.jobs: list[Job] = []
        self._told = told
        self._workers: set[str] = set()
        self._free: deque[str] = deque()
        self._count = 0
        self.resize(size)

    def acquire(self) -> str | None:
        return self._free.popleft() if self._free else None

    def submit(
        self, worker: str, attempt: Attempt, report: Report, release: Callable[[], None]
    ) -> None:
        assert worker in self._workers and worker not in self._free
        self.jobs.append(Job(attempt, report, self._told(attempt)))

    def release(self, worker: str) -> None:
        assert worker not in self._free, "a worker was released twice"
        if worker in self._workers and len(self._workers) <= self.max_workers:
            self._free.append(worker)
        else:
            self._workers.discard(worker)

    def abandon(self, worker: str) -> str:
        self._workers.discard(worker)
        self.resize(self.max_workers)
        return "abandoned"

    def resize(self, max_workers: int) -> None:
        self.max_workers = max_workers
        while len(self._workers) < max_workers:
            self._count += 1
            self._workers.add(f"w{self._count}")
            self._free.append(f"w{self._count}")

    def close(self) -> None:
        self._free.clear()
