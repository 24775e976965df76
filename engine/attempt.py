"""One attempt at a step, as a worker carries it out: decode, call, encode, report."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..events.artifacts import Artifacts
from ..events.codec import Value, decode, encode
from ..events.definition import RetryPolicy, StepDefinition
from ..events.errors import HandlerNotFound, LogUnavailable
from . import binding
from .context import AttemptCancelled, Context
from .core.commands import Cancelled, Command, Complete, Fail
from .failure import describe
from .model import Handler, rebuild_step
from .steps import registry

RETRY_WRITE = 0.5
"""Seconds between two tries to write an output that the disk refuses."""


class Attempt(msgspec.Struct, frozen=True):
    """Everything a worker needs to know.

    Args:
        step: Index of the step; ``number`` counts its attempts.
        inputs: The value of each dependency by name, or one value without a name.
        handler: Given with the pipeline; None: looked up by the definition.
        strict: A step without handler fails; otherwise its input is its output.
        closing: Set when the process gives up on writing.
    """

    step: int
    number: int
    definition: StepDefinition
    inputs: Mapping[str, Value] | Value
    handler: Handler | None
    policy: RetryPolicy | None
    artifacts: Artifacts
    allow_pickle: bool
    strict: bool
    context: Context
    closing: threading.Event


def carry_out(attempt: Attempt, report: Callable[[Command | None], None]) -> None:
    """Run the handler and report how it ended, exactly once; never raises.

    None is reported when the process exits and the output still cannot be written: nothing is
    recorded then, and the attempt counts as interrupted.
    """
    started, cpu = time.perf_counter(), time.thread_time()
    context = attempt.context
    try:
        result = _call(attempt)
        # A handler that returned because it saw the cancellation has not finished its work.
        if context.noticed_cancel:
            raise AttemptCancelled
        outcome: Command | None = _completed(attempt, result, started, cpu)
    except BaseException as error:
        # Also SystemExit and the like: a handler must not be able to take its worker down.
        if isinstance(error, AttemptCancelled) and context.was_cancelled:
            outcome = Cancelled(attempt.step, attempt.number, "cooperative")
        else:
            outcome = Fail(
                attempt.step,
                attempt.number,
                describe(error, attempt.policy),
                random.random(),
                round(time.perf_counter() - started, 6),
                context.metrics,
            )
    report(outcome)


def _call(attempt: Attempt) -> Any:
    step = rebuild_step(attempt.definition, allow_pickle=_may_unpickle(attempt))
    step.handler = attempt.handler or step.handler
    handler = registry.resolve(step)
    data = _input(attempt)
    if handler is None:
        if attempt.strict:
            raise HandlerNotFound(f"step {step.name!r}: {registry.missing(step.step_type)}")
        return data
    return binding.call(handler, step=step, data=data, context=attempt.context)


def _may_unpickle(attempt: Attempt) -> bool:
    return attempt.allow_pickle and attempt.artifacts.trusted


def _input(attempt: Attempt) -> Any:
    """A decoding of its own for every attempt: what a handler does to it touches nobody else."""
    inputs = attempt.inputs
    if isinstance(inputs, Value):
        return decode(inputs, attempt.artifacts, allow_pickle=attempt.allow_pickle)
    return {
        name: decode(value, attempt.artifacts, allow_pickle=attempt.allow_pickle)
        for name, value in inputs.items()
    }


def _completed(attempt: Attempt, result: Any, started: float, cpu: float) -> Complete | None:
    duration, spent = time.perf_counter() - started, time.thread_time() - cpu
    while True:
        try:
            output = encode(result, attempt.artifacts, allow_pickle=attempt.allow_pickle)
        except LogUnavailable as error:
            # The work is done: keep it in memory until the disk takes it.
            if not error.transient:
                raise
            if attempt.closing.wait(RETRY_WRITE):
                return None
            continue
        return Complete(
            attempt.step, attempt.number, output, duration, spent, attempt.context.metrics
        )
