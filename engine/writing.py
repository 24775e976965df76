"""Writing to a log that may refuse for a while, and reading what a turn cannot do without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import TypeVar

from msgspec.structs import replace

from ..events.errors import AppendRefused, LogUnavailable
from ..events.lines import LogLine
from ..events.store import Batch, Store
from .clock import Clock
from .logger import logger

T = TypeVar("T")

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between two tries: doubled up to the last."""
EXIT_PATIENCE = 10.0
"""Seconds that an exiting process goes on trying."""


def append_patiently(
    store: Store,
    batches: Sequence[Batch],
    taken: Sequence[int],
    closing: threading.Event,
    clock: Clock,
    lines: Sequence[LogLine] = (),
) -> list[AppendRefused | None]:
    """Append, :func:`patiently`.

    A try whose answer was lost may have succeeded: what is refused then and is there already is
    ours, and recorded, and so are its lines.
    """
    tries = count()

    def append() -> list[AppendRefused | None]:
        again = next(tries) > 0
        new = () if again and _are_kept(store, lines) else lines
        answers = store.append(batches, taken=taken, lines=new)
        return [
            None if again and answer and _is_recorded(store, batch) else answer
            for batch, answer in zip(batches, answers, strict=True)
        ]

    return patiently(append, store.location, closing, clock)


def patiently(act: Callable[[], T], log: str, closing: threading.Event, clock: Clock) -> T:
    """What ``act`` gives; while the log cannot be used, wait and try again.

    Args:
        closing: Set when the process exits: then patience ends.

    Raises:
        LogError: The log is beyond use, or the process exits and it still cannot be used.
    """
    delay, exiting_since = FIRST_RETRY, 0
    while True:
        try:
            answer = act()
        except LogUnavailable as error:
            if closing.is_set():
                exiting_since = exiting_since or clock.monotonic()
                if clock.monotonic() - exiting_since > EXIT_PATIENCE * 1e9:
                    raise
                threading.Event().wait(FIRST_RETRY)
            if not error.transient:
                raise
            logger().warning("the log cannot be used; trying again", error=str(error))
            closing.wait(delay)
            delay = min(delay * 2, LAST_RETRY)
        else:
            if delay > FIRST_RETRY:
                logger().info("the log can be used again", log=log)
            return answer


def _are_kept(store: Store, lines: Sequence[LogLine]) -> bool:
    """Whether the last of these is the newest one of its run."""
    newest = store.lines.newest(lines[-1].run, 1) if lines else []
    return [replace(line, id=0) for line in newest] == list(lines[-1:])


def _is_recorded(store: Store, batch: Batch) -> bool:
    """Whether the stream has just this batch where it belongs."""
    there = [
        (e.at, e.actor, e.epoch, e.type, e.payload)
        for e in islice(store.read(batch.stream, batch.after), len(batch.events))
    ]
    ours = [(batch.at, batch.actor, batch.epoch, e.type, e.payload) for e in batch.events]
    return there == ours
