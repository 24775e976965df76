"""Waiting for runs: until they end, rest, or somebody interrupts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Any

import msgspec

from ..engine.execution import ExecutionEngine
from ..engine.requests import Unfinished
from ..engine.result import ExecutionResult, PipelineFuture
from ..events.errors import PipelineError
from ..events.machines import PipelineStatus
from ..events.store import Store
from .follow import Follower
from .live import View, view_of
from .terminal import clean, command, counted, say

INTERRUPTED = 130
"""Exit status after Ctrl-C, SIGTERM, or the end of the terminal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(msgspec.Struct):
    """What became of the runs that were waited for."""

    results: list[ExecutionResult]
    faults: list[str]
    """Why there is no result, a line each."""
    left: list[Unfinished]
    """Runs that this process leaves unfinished."""
    interrupted: bool

    @property
    def status(self) -> int:
        """The exit status."""
        if self.interrupted and (self.left or not self.results):
            return INTERRUPTED
        if self.faults:
            return 2
        return 0 if all(result.success for result in self.results) else 1


class Interrupts:
    """The first of the signals arrives in the inbox; the second one ends the process at once.
    One that is ignored, as ``nohup`` has it, stays ignored.

    The handler does no more than that, since it may come in between any two instructions.
    """

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self._pending = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._pending += 1
        if self._pending > 1:
            with suppress(OSError):
                os.write(2, b"killed; nothing recorded is lost\n")
            os._exit(INTERRUPTED)
        self.inbox.put(number)


def attend(
    engine: ExecutionEngine,
    store: Store,
    futures: Sequence[PipelineFuture],
    followers: Sequence[Follower],
    interrupts: Interrupts,
    *,
    quiet: bool,
    leave_paused: bool = False,
) -> Ended:
    """Wait for the runs, show how they are doing, and close the engine.

    Args:
        followers: Of these runs, from where there is something to tell.
        quiet: No lines on standard error, since a machine reads the result.
        leave_paused: Do not wait for a run that has come to rest as paused.
    """
    view = view_of(followers, quiet=quiet)
    rest = _paused_of(store) if leave_paused else None
    try:
        interrupted = not _wait(list(futures), interrupts.inbox, view, rest)
    finally:
        view.close()
    if interrupted:
        _announce(store, followers)
    left = engine.close(wait=False)
    _tell_left(store, left)
    ended = Ended([], [], left, interrupted)
    unfinished = {run.run_id for run in left}
    for future in futures:
        # A run that another process executes has no outcome here, and goes on there.
        if future.run_id not in unfinished and future.done():
            _collect(future, ended)
    return ended


def _wait(
    futures: list[PipelineFuture],
    inbox: SimpleQueue[Any],
    view: View,
    paused: Callable[[str], bool] | None,
) -> bool:
    """Until all futures are settled (or their runs rest as paused): True; interrupted: False."""
    for future in futures:
        future.add_done_callback(inbox.put)
    waiting = {future.run_id: future for future in futures}
    interval = view.interval if paused is None else view.interval or 0.25
    while waiting:
        with suppress(Empty):
            item = inbox.get(timeout=interval)
            if not isinstance(item, PipelineFuture):
                return False
            waiting.pop(item.run_id, None)
        view.update()
        if paused is not None:
            for run_id in [run_id for run_id in waiting if paused(run_id)]:
                del waiting[run_id]
    return True


def _paused_of(store: Store) -> Callable[[str], bool]:
    def paused(run_id: str) -> bool:
        row = store.run(run_id)
        return row is not None and row.status is PipelineStatus.PAUSED

    return paused


def _announce(store: Store, followers: Sequence[Follower]) -> None:
    """What the interruption leads to; what cannot be said must not keep us from it."""
    in_flight = 0
    for follower in followers:
        follower.catch_up()
        in_flight += len(follower.run.state.running) if follower.run else 0
    steps = counted(in_flight, "step")
    with suppress(OSError):
        say(
            f"stopping: waiting for {steps} in flight; Ctrl-C again to kill; "
            f"continue with: {command('recover', log=store.location)}"
        )


def _tell_left(store: Store, left: Sequence[Unfinished]) -> None:
    for run in left:
        word = "resume" if run.status == "paused" else "recover"
        with suppress(OSError):
            say(
                f"run {run.run_id} ({clean(run.name)}) is {_rest(run.status)}, "
                f"{run.completed} of {run.total} steps done; "
                f"continue with: {command(word, run.run_id, log=store.location)}"
            )


def _rest(status: str) -> str:
    return status if status == PipelineStatus.PAUSED else "unfinished"


def _collect(future: PipelineFuture, ended: Ended) -> None:
    try:
        ended.results.append(future.result())
    except PipelineError as error:
        ended.faults.append(f"run {future.run_id}: {error}")
