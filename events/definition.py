"""What a run is made of, as it is recorded: the definition's body, not only its hash."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from .arguments import fault, number, shown, whole
from .references import reference_of


class RetryStrategy(StrEnum):
    """How the delay between attempts grows."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How often, and after how long, a failed step is tried again.

    Args:
        max_retries: Further attempts after the first one.
        strategy: Growth of the delay.
        initial_delay: Delay before the first retry, in seconds.
        backoff_factor: Growth: a factor (exponential) or an increment (linear).
        max_delay: Upper bound of a delay, in seconds, unless the error asks for more: by its
            attribute ``retry_after``, a number of seconds, as a server does by Retry-After.
        jitter: Share of the delay that is drawn at random, 0 (exact) to 1.
        retryable_errors: A list: only these exception types are retried. Classes, or their
            ``module:qualname``; without a module, built-in ones. None leaves it to the
            classification of the error.
        max_elapsed: No retry starts later than this many seconds after the first attempt.

    Delays, ``backoff_factor`` and ``max_elapsed`` are at most 1e9.

    Raises:
        TypeError: Something of a wrong type.
        ValueError: A figure out of its range, or a name that cannot be one of a class.
        UnencodableValue: A class that no other process could find.
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
        # Text is as good as a strategy, and a number of NumPy's as one of Python's.
        checked: dict[str, Any] = {
            "max_retries": whole("RetryPolicy.max_retries", self.max_retries, 0),
            "strategy": _strategy(self.strategy),
            "jitter": number("RetryPolicy.jitter", self.jitter, most=1.0),
            "retryable_errors": _names_of(self.retryable_errors),
        }
        for name in ("initial_delay", "backoff_factor", "max_delay"):
            checked[name] = number(f"RetryPolicy.{name}", getattr(self, name))
        if self.max_elapsed is not None:
            checked["max_elapsed"] = number("RetryPolicy.max_elapsed", self.max_elapsed)
        for name, value in checked.items():
            msgspec.structs.force_setattr(self, name, value)


def _strategy(strategy: Any) -> RetryStrategy:
    try:
        return RetryStrategy(strategy)
    except ValueError:
        known = " or ".join(map(repr, map(str, RetryStrategy)))
        raise fault(ValueError, "RetryPolicy.strategy", known, strategy) from None


def _names_of(errors: Any) -> tuple[str, ...] | None:
    """Classes of exceptions as ``module:qualname``."""
    if errors is None:
        return None
    if isinstance(errors, (str, type)) or not isinstance(errors, Iterable):
        raise TypeError(
            "RetryPolicy.retryable_errors: give a list of classes, or of their "
            f"'module:qualname', such as [{shown(errors)}]"
        )
    return tuple(map(_name_of, errors))


def _name_of(error: Any) -> str:
    if isinstance(error, type) and issubclass(error, BaseException):
        return reference_of(error)
    if not isinstance(error, str):
        raise TypeError(
            "RetryPolicy.retryable_errors: expected a class of exceptions or its "
            f"'module:qualname', not {shown(error)}"
        )
    module, separator, name = error.rpartition(":")
    if not separator:
        module = "builtins"
    if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise ValueError(
            f"RetryPolicy.retryable_errors: {shown(error)} is no 'module:qualname' of a class"
        )
    return f"{module}:{name}"


class StepDefinition(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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
    pipeline: PipelineDefinition | None = None
    """What the step is, if it is a pipeline; then it has no handler."""


class PipelineDefinition(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A pipeline as recorded. ``parallelism`` caps the steps of a run in flight at once."""

    name: str
    steps: tuple[StepDefinition, ...]
    parallelism: int | None = None
    metadata: dict[str, Any] = {}

    @property
    def compensates(self) -> bool:
        """Whether some step of it, or of what is nested in it, can be undone."""
        return any(
            step.compensate is not None or (step.pipeline is not None and step.pipeline.compensates)
            for step in self.steps
        )
