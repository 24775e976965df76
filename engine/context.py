"""What a handler can ask of the engine while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..events.artifacts import Artifacts
from .clock import Clock
from .logger import logger

PROGRESS_INTERVAL = 1_000_000_000
"""Least nanoseconds between two recorded reports of an attempt."""


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
    ) -> None:
        self.run_id = run_id
        self.step = step
        self.attempt = attempt
        self.idempotency_key = f"{run_id}/{step}"
        self.artifacts = artifacts
        self.metrics: dict[str, float] = {}
        self.noticed_cancel = False
        """Whether the handler has seen that it is cancelled: what it returns then is partial."""
        self._clock = clock
        self.report = report
        """Passes a report of progress on, for the engine."""
        self._reported_at = -PROGRESS_INTERVAL
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def log(self) -> Any:
        """A structlog logger, bound to run, step and attempt."""
        return logger().bind(run=self.run_id, step=self.step, attempt=self.attempt)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the step is. Cheap: at most one report a second is recorded."""
        now = self._clock.monotonic()
        if now - self._reported_at < PROGRESS_INTERVAL:
            return
        self._reported_at = now
        if message is not None:
            message = message.encode("utf-8", "backslashreplace").decode()
        self.report(
            _finite("done", done), None if total is None else _finite("total", total), message
        )

    def metric(self, name: str, amount: float = 1) -> None:
        """Add to a counter of the run. Counts when the attempt completes.

        Raises:
            ValueError: The amount is not a finite number, or the name not text.
        """
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError(f"the name of a metric must be printable text, not {name!r}")
        self.metrics[name] = _finite(name, self.metrics.get(name, 0) + _finite(name, amount))

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

    def on_cancel(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when the attempt is cancelled, at once if it is already; for
        whatever carries the attempt out elsewhere. It may be called twice."""
        self._listeners.append(listener)
        if self._cancelled:
            listener()


def _finite(name: str, amount: float) -> float:
    """A number that JSON can hold: a plain int or a finite float, also of one of NumPy's."""
    if type(amount) is int and abs(amount) < 2**63:
        return amount
    number = float(amount)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, not {amount!r}")
    return number
