"""What a handler can ask of the engine while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, NoReturn

from ..events.artifacts import Artifacts
from ..events.codec import Value, decode
from ..events.definition import RetryPolicy
from ..events.errors import ReplayMismatch, SignalTimeout
from .clock import Clock
from .finite import finite, waitable
from .journal import Journal
from .saying import Hear, speaker
from .secrecy import Secrets

MAX_WARNINGS = 100
"""Of an attempt, that are recorded."""

PROGRESS_INTERVAL = 1_000_000_000
"""Least nanoseconds between two recorded reports of an attempt."""

_MISSING: Any = object()


class AttemptYielded(BaseException):
    """Unwinds a handler that hands its step back; see :meth:`Context.hand_back`."""


class AttemptSuspended(BaseException):
    """Unwinds a handler that waits; see :meth:`Context.sleep`."""

    def __init__(self, key: str, seconds: float | None, signal: str | None) -> None:
        super().__init__(key)
        self.key, self.seconds, self.signal = key, seconds, signal


class AttemptDelegated(BaseException):
    """Ends the attempt at a step that is a pipeline: its run goes on with ``data``."""

    def __init__(self, data: Value) -> None:
        super().__init__()
        self.data = data


class AttemptSkipped(BaseException):
    """Raised in place of calling a handler whose step's condition is false."""


class AttemptCancelled(BaseException):
    """Unwinds a handler whose run is being cancelled; not an Exception, so that handlers that
    catch those do not swallow it."""


class Context:
    """The handler's side of an attempt.

    Attributes:
        run_id: The run.
        step: The step's name.
        attempt: Number of this attempt, from 1.
        idempotency_key: The same for all attempts at this step of this run: an attempt may overlap
            with its successor, so give this key to services that take one.
        artifacts: The log's store of large values.
        gpus: Indices of the GPUs that the step holds. A process step sees no others.
    """

    def __init__(
        self,
        *,
        run_id: str,
        step: str,
        attempt: int,
        artifacts: Artifacts,
        clock: Clock,
        report: Callable[[float, float | None, str | None], None],
        hear: Hear,
        journal: Journal,
        checkpoints: Mapping[str, Value],
        allow_pickle: bool,
        gpus: tuple[int, ...] = (),
        waits: Mapping[str, Value | None] = MappingProxyType({}),
        items: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        self.gpus = gpus
        self.waits = waits
        """Those that are over, with what arrived."""
        self._waited = 0
        self._wait_keys: set[str] = set()
        self.run_id = run_id
        self.step = step
        self.attempt = attempt
        self.idempotency_key = f"{run_id}/{step}"
        self.artifacts = artifacts
        self.metrics: dict[str, float] = {}
        self.warnings: list[str] = []
        self.noticed_cancel = False
        """Whether the handler has seen that it is cancelled: what it returns then is partial."""
        self.secrets = Secrets()
        self._clock = clock
        self.beat_at = clock.monotonic()
        """When it last showed life, monotonic ns."""
        self.report = report
        """Passes a report of progress on, for the engine."""
        self.hear = hear
        """Passes on what is said by :attr:`log`, for the engine."""
        self.journal = journal
        """Records what the attempt says, for the engine."""
        self.items = items
        """What items of maps have given, by key."""
        self._maps = 0
        self._counting = threading.Lock()
        self.checkpoints = dict(checkpoints)
        self.allow_pickle = allow_pickle
        self._asked_back = self._noticed_asking = False
        self._on_asking: Callable[[bool], None] | None = None
        self._reported_at = -PROGRESS_INTERVAL
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @cached_property
    def log(self) -> Any:
        """A structlog logger. What is said is kept with the run, from the level on that
        ``log_level`` of the configuration names, and goes to the application's logger."""
        return speaker(self.secrets, self._clock, self.hear)

    def conceal(self, text: str) -> None:
        """Have a secret of at least four characters never be recorded: messages and tracebacks have
        stars for it from now on; values with it, and pickles, are refused. So it is with what a
        :class:`Secret` in the configuration stands for."""
        self.secrets.add(text)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the step is. Cheap: at most one report a second is recorded."""
        self.heartbeat()
        now = self._clock.monotonic()
        if now - self._reported_at < PROGRESS_INTERVAL:
            return
        self._reported_at = now
        if message is not None:
            message = message.encode("utf-8", "backslashreplace").decode()
            message = self.secrets.starred(message)
        self.report(
            finite("done", done), None if total is None else finite("total", total), message
        )

    def heartbeat(self) -> None:
        """Show life, for a step with a ``heartbeat_timeout``. Cheap; :meth:`progress` and
        :meth:`checkpoint` do it as well."""
        self.beat_at = self._clock.monotonic()

    def metric(self, name: str, amount: float = 1) -> None:
        """Add to a counter of the run. Counts when the attempt completes.

        Raises:
            ValueError: The amount is not a finite number, or the name not text.
        """
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError(f"the name of a metric must be printable text, not {name!r}")
        with self._counting:  # functions of a map count in several threads
            name = self.secrets.starred(name)
            total = self.metrics.get(name, 0) + finite(name, amount)
            self.metrics[name] = finite(name, total)

    def warn(self, message: str) -> None:
        """Say what was odd, for who gets the result: ``result.warnings``. Counts when the attempt
        completes; the same message counts once, and at most 100 of an attempt do."""
        message = self.secrets.starred(message)
        self.log.warning(message)
        message = message.encode("utf-8", "backslashreplace").decode()
        with self._counting:
            if message not in self.warnings and len(self.warnings) < MAX_WARNINGS:
                self.warnings.append(message)

    def checkpoint(self, key: str, value: Any = _MISSING) -> Any:
        """Save a value under ``key``, or read what was saved, by this attempt or an earlier one.

        After a crash, a retry or a resume the handler runs again from its top; with what it has
        saved it can go on where it was. A completed step's checkpoints are forgotten.

        Args:
            value: What to save; returns once it is committed. Without it, ``key`` is read.

        Returns:
            A copy of the saved value; None when nothing is saved under ``key``.

        Raises:
            UnencodableValue: The value cannot be recorded.
            LogUnavailable: It cannot be written.
        """
        if not isinstance(key, str) or not key.isprintable():
            raise ValueError(f"the key of a checkpoint must be printable text, not {key!r}")
        if value is _MISSING:
            saved = self.checkpoints.get(key)
            if saved is None:
                return None
            return decode(saved, self.artifacts, allow_pickle=self.allow_pickle)
        recorded = self.secrets.encode(value, self.artifacts, allow_pickle=self.allow_pickle)
        self.heartbeat()
        self.journal.checkpoint(self.secrets.name(key), recorded)
        self.checkpoints[key] = recorded
        return value

    def should_yield(self) -> bool:
        """Whether the run is being paused, stopped or cancelled: save a checkpoint and
        :meth:`hand_back` soon, or just go on to the end, which a pause waits for."""
        self._noticed_asking = self._noticed_asking or self._asked_back
        return self._asked_back or self.cancelled

    def hand_back(self) -> NoReturn:
        """Unwind the handler and give the step back: it starts again, from its checkpoints, when
        the run is resumed.

        Raises:
            RuntimeError: :meth:`should_yield` has not asked for it.
        """
        self.raise_if_cancelled()
        if not self._noticed_asking:
            raise RuntimeError("hand_back() is for handlers that should_yield() has asked to")
        raise AttemptYielded

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        key: Callable[[Any], str] | None = None,
        workers: int = 8,
        retry: RetryPolicy | None = None,
        on_error: str = "raise",
        name: str | None = None,
    ) -> list[Any]:
        """Apply ``function`` to every item, in threads, and record what each gives.

        After a crash, a retry or a pause only those items are done again that had not been
        recorded. Pausing and cancelling take effect between two items.

        Args:
            function: Takes an item. It may be called again for an item whose process died.
            items: Read at once.
            key: Names an item, the same in every attempt; None: by the digest of what it is.
            workers: Items at once; the step's own worker is one of them.
            retry: Of single items; None: those that failed are tried again with the step.
            on_error: ``"raise"``: once all others are done, the step fails; ``"return"``: the
                exception stands in the item's place.
            name: Of this map; None: by its place among the handler's maps.

        Returns:
            What the items gave, in their order.

        Raises:
            ItemsFailed: Items failed.
            UnencodableValue: An item without a key cannot be recorded.
        """
        from .mapping import durable_map  # few handlers need it

        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error must be 'raise' or 'return', not {on_error!r}")
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers!r}")
        self._maps += 1
        return durable_map(
            self,
            function,
            items,
            name=name or str(self._maps),
            key=key,
            workers=workers,
            retry=retry,
            collect=on_error == "return",
        )

    def sleep(self, seconds: float, *, key: str | None = None) -> None:
        """Wait without holding a worker; survives restarts, and takes days as well as seconds.

        The handler is unwound, and runs again from its top when the time is up: then this call
        returns at once, as do all waits and checkpoints that it has come to before. The time stands
        still while the run is paused.

        Args:
            key: Names this wait, if a handler does not always come to its waits in the same order.
                No two waits of a handler have the same.

        Raises:
            ReplayMismatch: The handler has come to another wait here before.
            ValueError: The key is taken, or the time none.
        """
        self._wait("sleep", key, waitable(seconds), None)

    def wait_for(self, signal: str, *, timeout: float | None = None, key: str | None = None) -> Any:
        """Wait for a signal as :meth:`sleep` does for the time, and return what was sent with it.

        One that was sent before is not lost. Each signal reaches one wait.

        Args:
            signal: Its name, as for ``engine.signal()``.
            timeout: Seconds after which to give up; None: wait for ever.

        Raises:
            SignalTimeout: It did not come in time; a TimeoutError, and not retried. If it failed
                the step, a run that is resumed waits again.
            ReplayMismatch, ValueError: As for :meth:`sleep`.
        """
        if not isinstance(signal, str) or not signal.isprintable() or not signal:
            raise ValueError(f"the name of a signal must be printable text, not {signal!r}")
        seconds = None if timeout is None else waitable(timeout)
        value = self._wait(f"wait_for {signal}", key, seconds, signal)
        if value is None:
            raise SignalTimeout(f"the signal {signal!r} did not come within {timeout:g} s")
        return decode(value, self.artifacts, allow_pickle=self.allow_pickle)

    def _wait(
        self, what: str, key: str | None, seconds: float | None, signal: str | None
    ) -> Value | None:
        self.raise_if_cancelled()
        if key is None:
            self._waited += 1
            place = f"{self._waited}: "
        else:
            self._take_wait_key(key)
            place = f"{key!r}: "
        wait = self.secrets.name(place + what)
        if wait in self.waits:
            return self.waits[wait]
        for before in self.waits:
            if before.startswith(place):
                raise ReplayMismatch(
                    f"step {self.step!r}: wait {wait!r} was {before!r} in an earlier attempt; a "
                    "handler must come to its waits in the same order, or name them with key="
                )
        raise AttemptSuspended(wait, seconds, signal)

    def _take_wait_key(self, key: str) -> None:
        if not isinstance(key, str) or not key.isprintable():
            raise ValueError(f"the key of a wait must be printable text, not {key!r}")
        if key in self._wait_keys:
            raise ValueError(f"step {self.step!r}: two of its waits have the key {key!r}")
        self._wait_keys.add(key)

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled, or this attempt has timed out: return soon."""
        self.noticed_cancel = self._cancelled
        return self._cancelled

    def raise_if_cancelled(self) -> None:
        """Unwind the handler if :attr:`cancelled`."""
        if self.cancelled:
            raise AttemptCancelled

    @property
    def was_cancelled(self) -> bool:
        """As :attr:`cancelled`, for the engine: asking does not count as having noticed."""
        return self._cancelled

    def cancel(self) -> None:
        """Called by the engine, from its own thread."""
        self._cancelled = True
        for listener in tuple(self._listeners):
            listener()

    def ask_back(self, asked: bool) -> None:
        """Called by the engine: whether the step should be handed back."""
        if asked != self._asked_back:
            self._asked_back = asked
            if self._on_asking is not None:
                self._on_asking(asked)

    def on_asking(self, listener: Callable[[bool], None]) -> None:
        """Have ``listener`` told of :meth:`ask_back`; as :meth:`on_cancel`."""
        self._on_asking = listener
        if self._asked_back:
            listener(True)

    def on_cancel(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when the attempt is cancelled, at once if it is already; for
        whatever carries the attempt out elsewhere. It may be called twice."""
        self._listeners.append(listener)
        if self._cancelled:
            listener()
