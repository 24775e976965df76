"""What follows a failure: retries by policy, then a fallback, then the failure of the step."""

from __future__ import annotations

import inspect
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, final

import msgspec

from ..events.arguments import flag, instance, shown, whole, word
from ..events.definition import RetryPolicy
from ..events.errors import HandlerNotFound, UnreadableValue
from ..events.references import reference_of, resolve_reference
from ..events.values import ErrorInfo, ErrorSeverity
from .binding import name_of
from .classify import (
    Classification,
    Rule,
    classify,
    is_retryable,
    recorded_error,
    retry_after_of,
)
from .configuration import PipelineConfig, given_config
from .core.retry import retry_in
from .model import handler_reference

N = TypeVar("N", int, float)

RETRY, FALLBACK, FAIL = "retry", "fallback", "fail"
"""What is done about a failure."""


class FailedStep(Protocol):
    """What is asked of a step that failed; a :class:`PipelineStep` has it."""

    name: str
    step_type: str
    retry: RetryPolicy | None


class FallbackHandler:
    """What runs instead when a step cannot be brought to an end.

    Args:
        function: Called as ``function(step, error)``, also with ``data`` (the step's input) and
            ``context`` if it has parameters of these names. ``error`` is an exception of the type
            and message that were recorded, so that it is the same after a crash. What it returns
            is the step's output; what it raises fails the step, with the first error as cause.
            An ``async def`` is awaited by the engine.

    Raises:
        TypeError: It cannot be called so.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"a fallback is a function of step and error, not {shown(function)}")
        self.function = function
        called = name_of(function)
        try:
            signature = inspect.signature(function)
        except Exception as error:  # some built-ins; and a __signature__ may raise anything
            raise TypeError(
                f"nobody can tell what the fallback {called} takes ({shown(error)}); "
                "write a function of step and error that calls it"
            ) from None
        self.takes = frozenset(signature.parameters).intersection(("data", "context"))
        """What it is given besides."""
        try:
            signature.bind(None, None, **dict.fromkeys(self.takes))
        except TypeError as error:
            raise TypeError(
                f"the fallback {called}{signature} cannot be called as function(step, error): "
                f"{error}; besides those it may have parameters 'data' and 'context'"
            ) from None

    @property
    def reference(self) -> str:
        """Its ``module:qualname``; empty when no other process could find it."""
        return handler_reference(self.function) or ""

    def __call__(
        self, step: Any, error: BaseException, data: Any = None, context: Any = None
    ) -> Any:
        """Run it, with what it has parameters for."""
        known = {"data": data, "context": context}
        return self.function(step, error, **{name: known[name] for name in self.takes})


def fall_back(
    fallback: FallbackHandler | str,
    error: ErrorInfo,
    step: Any,
    read: Callable[[], Any],
    context: Any,
) -> Any:
    """Run the fallback of a step that failed with ``error``; for the engine.

    Args:
        fallback: Or its ``module:qualname``, as it was recorded.
        read: Reads the step's input, if that is asked for: it may be what the step failed of.

    Raises:
        HandlerNotFound: There is none of this name here.
        Exception: What the fallback raises.
    """
    if isinstance(fallback, str):
        fallback = _found(fallback, step)
    data = read() if "data" in fallback.takes else None
    return fallback(step, recorded_error(error), data, context)


def _found(reference: str, step: Any) -> FallbackHandler:
    try:
        if not reference:
            raise UnreadableValue("it is a lambda or closure of another process")
        return FallbackHandler(resolve_reference(reference))
    except (UnreadableValue, TypeError, ValueError) as problem:
        raise HandlerNotFound(
            f"step {step.name!r}: the fallback of step type {step.step_type!r} cannot be found "
            f"({problem}); give the engine a failure_handler that has it"
        ) from problem


class ErrorRecovery(msgspec.Struct, frozen=True):
    """What is to be done about a failure.

    Args:
        should_retry: Whether the step is worth another attempt.
        retry_delay: Seconds to wait before it; 0 when there is none.
        recovery_action: ``"retry"``, ``"fallback"`` (it has run) or ``"fail"``.
        attempt: Number of the attempt that failed, from 1.
        classification: As of :meth:`FailureHandler.classify_error`.
        result: What the fallback returned: of an ``async def`` its coroutine, to be awaited.
        error: The error that remains: that of the step or, caused by it, of its fallback; None
            after a retry was decided on or a fallback has succeeded.
    """

    should_retry: bool
    retry_delay: float
    recovery_action: str
    attempt: int
    classification: dict[str, Any]
    result: Any = None
    error: BaseException | None = None


class Answers(NamedTuple):
    """What an engine answers the failures of a run by, as it was when it got the run."""

    policies: Mapping[str, RetryPolicy]
    """By step type."""
    fallbacks: Mapping[str, FallbackHandler]
    """By step type."""
    rules: tuple[Rule, ...]
    """Of errors, the newest last."""


MAX_COUNTED = 10_000
"""Steps whose failures are counted at once; beyond that the one is forgotten that has waited for
its next failure for longest."""


class _Failures(msgspec.Struct):
    """Of a step object, since it last succeeded or was given up."""

    step: FailedStep
    """Held on to, so that no other object takes its place."""
    since: float
    count: int = 0


@final
class FailureHandler:
    """Retry policies, kinds of errors and fallbacks, by which an engine answers failures.

    An engine reads them when a run is submitted, and records policies and fallbacks with it: what
    is registered later counts for later runs. May be used by several threads.

    Args:
        default_max_retries: Further attempts of steps that have no policy of their own, nor one of
            their type.
        default_backoff_factor: By which their delays grow.
        default_initial_delay: Seconds before their first retry.
        default_max_delay: Most seconds between two attempts.
        config: Where what is None comes from; None: the environment, and the file that it names.

    Raises:
        TypeError, ValueError: An argument of a wrong type, or out of its range.
        ConfigurationError: The configuration is at fault.
    """

    def __init__(
        self,
        *,
        default_max_retries: int | None = None,
        default_backoff_factor: float | None = None,
        default_initial_delay: float | None = None,
        default_max_delay: float | None = None,
        config: PipelineConfig | None = None,
    ) -> None:
        config = given_config(config)
        self.default_policy = RetryPolicy(
            max_retries=_first(default_max_retries, config.default_max_retries),
            backoff_factor=_first(default_backoff_factor, config.default_backoff_factor),
            initial_delay=_first(default_initial_delay, config.default_initial_delay),
            max_delay=_first(default_max_delay, config.default_max_delay),
        )
        self._lock = threading.Lock()
        self._policies: dict[str, RetryPolicy] = {}
        self._fallbacks: dict[str, FallbackHandler] = {}
        self._rules: tuple[Rule, ...] = ()
        self._failures: dict[int, _Failures] = {}

    # -- what is known -----------------------------------------------------------------------

    def register_retry_policy(self, step_type: str, policy: RetryPolicy) -> None:
        """Have steps of this type retried by ``policy``, unless they have one of their own.

        Raises:
            TypeError: Not a policy.
            ValueError: Its ``retryable_errors`` name something that is no class of exceptions.
        """
        _checked_policy(f"step type {step_type!r}: the policy", policy)
        from .error_names import unknown_errors  # who registers none does not need it

        for problem in unknown_errors(policy):
            if problem.certain:
                raise ValueError(f"step type {step_type!r}: {problem.message}")
        self._policies[step_type] = policy

    def register_fallback(
        self, step_type: str, fallback_handler: FallbackHandler | Callable[..., Any]
    ) -> None:
        """Have ``fallback_handler`` run when a step of this type is not retried any more."""
        if not isinstance(fallback_handler, FallbackHandler):
            fallback_handler = FallbackHandler(fallback_handler)
        self._fallbacks[step_type] = fallback_handler

    def register_error(
        self,
        error: type[BaseException] | str,
        *,
        category: str,
        severity: ErrorSeverity | str = ErrorSeverity.MEDIUM,
        retryable: bool,
    ) -> None:
        """Say what kind of error one is; the newest registration counts, before all built-in ones.

        Args:
            error: A class of exceptions, or a pattern that is searched for in their messages,
                whatever the case of letters.
            category: A word for reports.
            severity: How much it matters.
            retryable: Whether another attempt may help.

        Raises:
            TypeError, ValueError, re.error: What is wrong with an argument.
            UnencodableValue: A class that a worker process could not import.
        """
        kind = Classification(
            word("category", category), ErrorSeverity(severity), flag("retryable", retryable)
        )
        if isinstance(error, str):
            rule = Rule(kind, pattern=re.compile(error, re.IGNORECASE))
        elif isinstance(error, type) and issubclass(error, BaseException):
            rule = Rule(kind, kind=reference_of(error))
        else:
            raise TypeError(f"expected a class of exceptions or a pattern, not {shown(error)}")
        with self._lock:
            self._rules = (*self._rules, rule)

    def get_retry_policy(self, step_type: str) -> RetryPolicy:
        """The policy of steps of this type."""
        return self._policies.get(step_type, self.default_policy)

    def answers(self) -> Answers:
        """What is registered now; for the engine."""
        return Answers(dict(self._policies), dict(self._fallbacks), self._rules)

    # -- what follows a failure --------------------------------------------------------------

    def classify_error(self, error: BaseException) -> dict[str, Any]:
        """The ``severity`` (:class:`ErrorSeverity`), ``category`` and ``retryable`` of an error.

        By what was registered, then by the type of the exception, the system's error number, and
        words of the message such as "timeout".
        """
        kind = classify(error, self._rules)
        return {"severity": kind.severity, "category": kind.category, "retryable": kind.retryable}

    def should_retry(
        self, error: BaseException, attempt: int, policy: RetryPolicy | None = None
    ) -> bool:
        """Whether another attempt should follow attempt number ``attempt`` (from 1), which
        raised ``error``. ``policy``: None for the default one.

        Raises:
            TypeError, ValueError: ``attempt`` or ``policy`` is none.
        """
        whole("attempt", attempt, 1)
        if policy is not None:
            _checked_policy("policy", policy)
        return self._retry_in(policy or self.default_policy, error, attempt, 0.0) is not None

    def handle_step_failure(
        self,
        step: FailedStep,
        error: BaseException,
        *,
        retry_policy: RetryPolicy | None = None,
        attempt: int | None = None,
    ) -> ErrorRecovery:
        """Decide about a failure by the rule of the engine, for whoever runs steps without one.

        Retries come first, then the fallback of the step's type, which is run.

        Args:
            step: The step that failed.
            error: What it raised.
            retry_policy: None: the step's own, else that of its type, else the default one.
            attempt: Number of the attempt that failed, from 1; then nothing is counted, and
                ``max_elapsed`` bounds the delay alone. None: the failures of this step object are
                counted, until it is given up or falls back; those of 10,000 objects at most.

        Raises:
            TypeError, ValueError: ``attempt`` or ``retry_policy`` is none.
        """
        if retry_policy is not None:
            _checked_policy("retry_policy", retry_policy)
        policy = retry_policy or step.retry or self.get_retry_policy(step.step_type)
        if attempt is None:
            attempt, elapsed = self._count(step)
        else:
            attempt, elapsed = whole("attempt", attempt, 1), 0.0
        kind = self.classify_error(error)
        seconds = self._retry_in(policy, error, attempt, elapsed)
        if seconds is not None:
            return ErrorRecovery(True, seconds, RETRY, attempt, kind)
        self.forget(step)
        fallback = self._fallbacks.get(step.step_type)
        if fallback is None:
            return ErrorRecovery(False, 0.0, FAIL, attempt, kind, error=error)
        try:
            result = fallback(step, error)
        except Exception as worse:
            if worse is not error:
                worse.__cause__ = worse.__cause__ or error
            return ErrorRecovery(False, 0.0, FAIL, attempt, kind, error=worse)
        return ErrorRecovery(False, 0.0, FALLBACK, attempt, kind, result=result)

    def forget(self, step: FailedStep) -> None:
        """Count the failures of this step object from the beginning: it has succeeded."""
        with self._lock:
            self._failures.pop(id(step), None)

    def _count(self, step: FailedStep) -> tuple[int, float]:
        """How often it has failed, and the seconds since it first did."""
        now = time.monotonic()
        with self._lock:
            failures = self._failures.pop(id(step), None) or _Failures(step, now)
            self._failures[id(step)] = failures  # as the newest
            if len(self._failures) > MAX_COUNTED:
                del self._failures[next(iter(self._failures))]
            failures.count += 1
            return failures.count, now - failures.since

    def _retry_in(
        self, policy: RetryPolicy, error: BaseException, attempt: int, elapsed: float
    ) -> float | None:
        retryable = is_retryable(error, classify(error, self._rules), policy)
        least = retry_after_of(error)
        return retry_in(policy, retryable, attempt - 1, elapsed, random.random(), least)


def _checked_policy(what: str, policy: Any) -> None:
    instance(what, policy, RetryPolicy, "a RetryPolicy")


def _first(given: N | None, otherwise: N) -> N:
    return otherwise if given is None else given
