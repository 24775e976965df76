"""One attempt at a step, as a worker carries it out: decode, call, encode, report."""

from __future__ import annotations

import inspect
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from ..events.artifacts import Artifacts
from ..events.codec import Value, decode
from ..events.definition import RetryPolicy, StepDefinition
from ..events.errors import HandlerNotFound, LogUnavailable
from . import binding
from .classify import Rule, describe, is_a
from .context import (
    AttemptCancelled,
    AttemptDelegated,
    AttemptSkipped,
    AttemptSuspended,
    AttemptYielded,
    Context,
)
from .core.commands import Cancelled, Command, Complete, Delegate, Fail, Skip, Suspend, Yield
from .model import Given, Handler, rebuild_step
from .steps import registry

RETRY_WRITE = 0.5
"""Seconds between two tries to write an output that the disk refuses."""


class Attempt(msgspec.Struct, frozen=True):
    """Everything a worker needs to know.

    Args:
        step: Index of the step; ``number`` counts its attempts.
        inputs: The value of each dependency by name, or one value without a name.
        given: With the pipeline; what is None in it is looked up by the definition.
        strict: A step without handler fails; otherwise its input is its output.
        closing: Set when the process gives up on writing.
        rules: What the engine was told of errors.
        executor: ``"thread"`` or ``"process"``.
        instead: Called instead of the handler, with step, a reader of ``inputs``, and context.
    """

    step: int
    number: int
    definition: StepDefinition
    inputs: Mapping[str, Value] | Value
    given: Given
    policy: RetryPolicy | None
    artifacts: Artifacts
    allow_pickle: bool
    strict: bool
    context: Context
    closing: threading.Event
    rules: tuple[Rule, ...] = ()
    executor: str = "thread"
    instead: Callable[[Any, Callable[[], Any], Context], Any] | None = None


Report = Callable[[Command | None], None]
"""Takes how an attempt ended. None: the process exits and the output still cannot be written;
nothing is recorded then, and the attempt counts as interrupted."""


def carry_out(attempt: Attempt, report: Report, release: Callable[[], None]) -> None:
    """Run the handler and report how it ended, exactly once; never raises, whatever the handler
    raises and returns.

    An ``async def`` handler is only begun here: it goes on in the process's asyncio loop, and
    ``release`` is called, since it needs no worker while it waits.
    """
    began = _Beginning()

    def ended(result: Any, error: BaseException | None) -> None:
        began.cpu = None  # many attempts share the loop's thread
        if error is not None:
            report(began.failed(attempt, error))
        else:
            report(began.returned(attempt, result))

    try:
        result = _call(attempt)
        awaited = inspect.iscoroutine(result)
        if awaited:
            from .coroutines import run  # asyncio is slow to import

            run(result, attempt.context, ended)
    except BaseException as error:
        # Also SystemExit and the like: a handler must not be able to take its worker down.
        report(began.failed(attempt, error))
        return
    if awaited:
        release()
    else:
        report(began.returned(attempt, result))


class _Beginning:
    """When an attempt began, and how it ended."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self.cpu: float | None = time.thread_time()

    def returned(self, attempt: Attempt, result: Any) -> Command | None:
        spent = time.thread_time() - self.cpu if self.cpu is not None else None
        duration = time.perf_counter() - self._at
        # A handler that returned because it saw the cancellation has not finished its work.
        if attempt.context.noticed_cancel:
            return Cancelled(attempt.step, attempt.number, "cooperative")
        try:
            return _completed(attempt, result, duration, spent)
        except BaseException as error:
            return self.failed(attempt, error)

    def failed(self, attempt: Attempt, error: BaseException) -> Command:
        if is_a(error, AttemptYielded):
            return Yield(attempt.step, attempt.number, time.perf_counter() - self._at)
        if is_a(error, AttemptSuspended):
            spent = time.perf_counter() - self._at
            return Suspend(
                attempt.step, attempt.number, error.key, spent, error.seconds, error.signal
            )
        if is_a(error, AttemptDelegated):
            spent = time.perf_counter() - self._at
            return Delegate(attempt.step, attempt.number, error.data, spent)
        if is_a(error, AttemptSkipped):
            return Skip(attempt.step, attempt.number)
        if is_a(error, AttemptCancelled) and attempt.context.was_cancelled:
            return Cancelled(attempt.step, attempt.number, "cooperative")
        duration = time.perf_counter() - self._at
        return failed(attempt, error, duration)


def failed(attempt: Attempt, error: BaseException, duration: float) -> Fail:
    """The command that records an attempt's error after ``duration`` seconds."""
    return Fail(
        attempt.step,
        attempt.number,
        attempt.context.secrets.of_error(describe(error, attempt.policy, attempt.rules)),
        random.random(),
        round(duration, 6),
        attempt.context.metrics,
    )


def _call(attempt: Attempt) -> Any:
    step = rebuild_step(attempt.definition, allow_pickle=_may_unpickle(attempt))
    step.handler = attempt.given.handler or step.handler
    step.when = attempt.given.when or step.when
    if attempt.instead is not None:
        return attempt.instead(step, partial(_input, attempt), attempt.context)
    handler, when = registry.resolve(step), registry.condition(step)
    if when is not None and not _holds(when, _input(attempt)):
        raise AttemptSkipped
    data = _input(attempt)
    if handler is None:
        if attempt.strict:
            raise HandlerNotFound(f"step {step.name!r}: {registry.missing(step.step_type)}")
        return data
    return binding.call(handler, step=step, data=data, context=attempt.context)


def _holds(when: Handler, data: Any) -> bool:
    answer = when(data)
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError("a condition (when=) must not be async: it is not waited for")
    if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        raise TypeError("a condition (when=) must return its answer, not yield it")
    return bool(answer)


def _may_unpickle(attempt: Attempt) -> bool:
    return bool(attempt.definition.config) and attempt.allow_pickle and attempt.artifacts.trusted


def _input(attempt: Attempt) -> Any:
    """A decoding of its own for every condition and handler: what one does to it touches no
    other."""
    inputs = attempt.inputs
    if isinstance(inputs, Value):
        return decode(inputs, attempt.artifacts, allow_pickle=attempt.allow_pickle)
    return {
        name: decode(value, attempt.artifacts, allow_pickle=attempt.allow_pickle)
        for name, value in inputs.items()
    }


def _completed(
    attempt: Attempt, result: Any, duration: float, cpu: float | None
) -> Complete | None:
    told = False
    while True:
        try:
            output = attempt.context.secrets.encode(
                result, attempt.artifacts, allow_pickle=attempt.allow_pickle
            )
        except LogUnavailable as error:
            # The work is done: keep it in memory until the disk takes it.
            if not error.transient:
                raise
            if not told:
                attempt.context.log.warning("done, and waits to be recorded", error=str(error))
                told = True
            if attempt.closing.wait(RETRY_WRITE):
                return None
            continue
        context = attempt.context
        said = tuple(context.warnings)
        return Complete(attempt.step, attempt.number, output, duration, cpu, context.metrics, said)
