"""A function applied to many items inside of a step, each one recorded: ``context.map``."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from ..events.artifacts import digest_of
from ..events.codec import Value, decode
from ..events.definition import RetryPolicy
from ..events.errors import ItemsFailed
from ..events.values import ErrorInfo
from .classify import describe, recorded_error
from .context import AttemptCancelled, AttemptSuspended, AttemptYielded
from .core.retry import retry_in
from .saying import about

if TYPE_CHECKING:
    from .context import Context

UNFLUSHED = 256
"""Items after whose outcomes their commit is waited for, so that memory stays bounded."""


def durable_map(
    context: Context,
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    name: str,
    key: Callable[[Any], str] | None,
    workers: int,
    retry: RetryPolicy | None,
    collect: bool,
) -> list[Any]:
    """See :meth:`Context.map`."""
    work = _Work(context, function, list(items), name, key, retry)
    threads = [
        threading.Thread(target=work.run, name=f"semantica-map-{number}", daemon=True)
        for number in range(1, min(workers, work.left))
    ]
    for thread in threads:
        thread.start()
    work.run()  # the step's own worker is the first one
    for thread in threads:
        thread.join()
    context.journal.flush()
    if work.stopped is not None:
        raise work.stopped
    return work.results(collect)


class _Work:
    """The items of a map, and who does them."""

    def __init__(
        self,
        context: Context,
        function: Callable[[Any], Any],
        items: list[Any],
        name: str,
        key: Callable[[Any], str] | None,
        retry: RetryPolicy | None,
    ) -> None:
        self.stopped: BaseException | None = None
        """Why the rest is left for another attempt."""
        self._context = context
        self._function = function
        self._items = items
        self._retry = retry
        self._keys = self._named(name, key)
        self._done: dict[str, Value] = {
            one: context.items[one] for one in self._keys if one in context.items
        }
        self._failed: dict[int, ErrorInfo] = {}
        self._waiting = deque(i for i, one in enumerate(self._keys) if one not in self._done)
        self._delayed: list[tuple[float, int]] = []
        self._retries: Counter[int] = Counter()
        self._began: dict[int, float] = {}
        self._busy = 0
        self._unflushed = 0
        self._turn = threading.Condition()

    @property
    def left(self) -> int:
        """Items that are to be done."""
        return len(self._waiting)

    def run(self) -> None:
        """Do items until there are none left, or the attempt should end."""
        while (i := self._next()) is not None:
            try:
                self._do(i)
            finally:
                with self._turn:
                    self._busy -= 1
                    self._turn.notify_all()

    def _next(self) -> int | None:
        with self._turn:
            while True:
                self._look_up()
                if self.stopped is not None:
                    return None
                now = time.monotonic()
                while self._delayed and self._delayed[0][0] <= now:
                    self._waiting.append(heappop(self._delayed)[1])
                if self._waiting:
                    self._busy += 1
                    return self._waiting.popleft()
                if not self._delayed and not self._busy:
                    self._turn.notify_all()
                    return None
                self._turn.wait(min(1.0, self._delayed[0][0] - now) if self._delayed else 1.0)

    def _look_up(self) -> None:
        """Between two items is the time to be cancelled, or to hand the step back."""
        if self.stopped is None and self._context.cancelled:
            self.stopped = AttemptCancelled()
        elif self.stopped is None and self._context.should_yield():
            self.stopped = AttemptYielded()

    def _do(self, i: int) -> None:
        self._began.setdefault(i, time.monotonic())
        context = self._context
        try:
            with about(self._keys[i]):
                result = self._function(self._items[i])
            outcome = context.secrets.encode(
                result, context.artifacts, allow_pickle=context.allow_pickle
            )
        except (AttemptCancelled, AttemptYielded) as ending:
            self.stopped = ending
            return
        except AttemptSuspended:
            self._fail(i, RuntimeError("a function of map cannot sleep or wait for a signal"))
            return
        except BaseException as error:  # also SystemExit: it is the item's, not the worker's
            self._fail(i, error)
            return
        self._record(i, outcome)

    def _fail(self, i: int, error: BaseException) -> None:
        told = self._context.secrets.of_error(describe(error, self._retry))
        elapsed = time.monotonic() - self._began[i]
        seconds = retry_in(
            self._retry,
            told.retryable,
            self._retries[i],
            elapsed,
            random.random(),
            told.retry_after,
        )
        if seconds is None:
            self._record(i, told)
            return
        self._retries[i] += 1
        with self._turn:
            heappush(self._delayed, (time.monotonic() + seconds, i))

    def _record(self, i: int, outcome: Value | ErrorInfo) -> None:
        self._context.journal.item(self._keys[i], outcome)
        with self._turn:
            if isinstance(outcome, Value):
                self._done[self._keys[i]] = outcome
            else:
                self._failed[i] = outcome
            self._unflushed += 1
            full = self._unflushed >= UNFLUSHED
            if full:
                self._unflushed = 0
            done = len(self._done) + len(self._failed)
        self._context.progress(done, len(self._items))
        if full:
            self._context.journal.flush()

    def results(self, collect: bool) -> list[Any]:
        """What the items gave, in their order. Raises ItemsFailed, unless errors are collected."""
        if self._failed and not collect:
            raise ItemsFailed(
                len(self._items), {self._keys[i]: one for i, one in sorted(self._failed.items())}
            )
        context = self._context
        return [
            recorded_error(self._failed[i])
            if i in self._failed
            else decode(self._done[one], context.artifacts, allow_pickle=context.allow_pickle)
            for i, one in enumerate(self._keys)
        ]

    def _named(self, name: str, key: Callable[[Any], str] | None) -> Sequence[str]:
        """A key for each item, the same in every attempt; equal items are counted."""
        seen: Counter[str] = Counter()
        keys = []
        for item in self._items:
            one = str(key(item)) if key is not None else self._digest(item)
            seen[one] += 1
            again = f"#{seen[one]}" if seen[one] > 1 else ""
            keys.append(self._context.secrets.name(f"{name}/{one}{again}"))
        return keys

    def _digest(self, item: Any) -> str:
        context = self._context
        value = context.secrets.encode(item, context.artifacts, allow_pickle=context.allow_pickle)
        return digest_of(msgspec.json.encode(value))[:32]
