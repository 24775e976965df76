"""What a run is made of, as it is recorded: the definition's body, not only its hash."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from .references import reference_of


class RetryStrategy(StrEnum):
    """How the delay between attempts grows."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often, and after how long, a failed step is tried again.

    Args:
        max_retries: Further attempts after the first one.
        strategy: Growth of the delay.
        initial_delay: Delay before the first retry, in seconds.
        backoff_factor: Growth: a factor (exponential) or an increment (linear).
        max_delay: Upper bound of a delay, in seconds.
        jitter: Share of the delay that is drawn at random, 0 (exact) to 1.
        retryable_errors: Only these exception types are retried: classes, or their
            ``module:qualname``. None leaves it to the classification of the error.
        max_elapsed: No retry starts later than this many seconds after the first attempt.

    Raises:
        ValueError: A figure out of its range.
    """

    max_retries: int = 3
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL
    initial_delay: float = 1.0
    backoff_factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.0
    retryable_errors: tuple[Any, ...] | None = None
    max_elapsed: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_retries", "initial_delay", "backoff_factor", "max_delay", "max_elapsed"):
            amount = getattr(self, name)
            if amount is not None and not 0 <= amount < 2**63:
                raise ValueError(f"RetryPolicy.{name} must be finite and not negative")
        strategy = RetryStrategy(self.strategy)  # text is as good; a wrong one is an error
        msgspec.structs.force_setattr(self, "strategy", strategy)
        if not 0 <= self.jitter <= 1:
            raise ValueError("RetryPolicy.jitter must be between 0 and 1")
        if self.retryable_errors is not None:
            names = tuple(
                error if isinstance(error, str) else reference_of(error)
                for error in self.retryable_errors
            )
            msgspec.structs.force_setattr(self, "retryable_errors", names)


class StepDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step as recorded: its place in the graph, its configuration in plain form, its handler."""

    name: str
    type: str
    dependencies: tuple[str, ...] = ()
    config: dict[str, Any] = {}
    handler: str | None = None
    """``module:qualname``; empty for one that can only be given; None: that of the type."""
    fingerprint: str | None = None
    priority: int = 0
    timeout: float | None = None
    retry: RetryPolicy | None = None
    at_most_once: bool = False
    executor: str | None = None
    when: str | None = None
    """As ``handler``, of its condition."""
    resources: dict[str, float] = {}
    heartbeat_timeout: float | None = None
    cache: float | None = None
    """Seconds for which an output serves for the same work again."""
    compensate: str | None = None
    """As ``handler``, of what undoes it."""


class PipelineDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pipeline as recorded. ``parallelism`` caps the steps of a run in flight at once."""

    name: str
    steps: tuple[StepDefinition, ...]
    parallelism: int | None = None
    metadata: dict[str, Any] = {}
