"""What happens to a step of a run, in the past tense. ``attempt`` counts from 1 and only rises."""

from __future__ import annotations

import msgspec

from .codec import Value
from .values import ErrorInfo


class StepStarted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An attempt was handed to a worker.

    ``inputs`` are the versions, in this stream, of the events whose outputs it receives, in the
    order of its dependencies, 0 for one that was skipped; empty for a root, which receives the
    run's input. ``grants`` are the amounts of resources it runs under, by resource, and ``gpus``
    the indices of its GPUs. ``fallback``: the fallback of its type runs, not the step's handler.
    """

    step: str
    attempt: int
    worker: str
    inputs: tuple[int, ...] = ()
    backend: str = "thread"
    grants: dict[str, float] = {}
    gpus: tuple[int, ...] = ()
    fallback: bool = False
    cache: str | None = None
    """What the work is known by, if its output may serve again."""


class StepQueued(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The step could start, but the resources it needs are taken, or the starts of its type
    limited: it waits for them in the queue of their pool."""

    step: str


class StepProgressed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The handler reported how far it is; at most once a second."""

    step: str
    attempt: int
    done: int | float
    total: int | float | None = None
    message: str | None = None


class StepCheckpointed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The handler saved a value under a key; a later attempt can go on with it."""

    step: str
    attempt: int
    key: str
    value: Value


class StepItemCompleted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An item of a map is done; ``key`` names map and item."""

    step: str
    attempt: int
    key: str
    value: Value


class StepItemFailed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An item of a map failed, for this attempt."""

    step: str
    attempt: int
    key: str
    error: ErrorInfo


class StepYielded(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The handler gave the step back after ``duration`` seconds, since the run is being paused or
    stopped; the step starts again, from its checkpoints, when the run goes on."""

    step: str
    attempt: int
    duration: float


class ChildEnd(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How the run ended that is a step of another one.

    Args:
        outputs: Of its sinks, by their names.
        several: Whether it has several sinks, so that its output is a dictionary.
        error: Why it did not complete, with the path to the step that failed.
        metrics: What its steps counted.
    """

    outputs: dict[str, Value] = {}
    several: bool = False
    error: ErrorInfo | None = None
    metrics: dict[str, int | float] = {}


class StepSuspended(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The handler waits without a worker; it runs again from its top when it is woken.

    Args:
        key: Of the wait, which returns at once when the handler comes to it again.
        due: When it is over at the latest, ns, UTC; None: only a signal ends it.
        signal: The signal that it waits for; None: only for the time.
        duration: Seconds that the attempt took.
        run: The run that it waits for, of a step that is a pipeline.
    """

    step: str
    attempt: int
    key: str
    duration: float
    due: int | None = None
    signal: str | None = None
    run: str | None = None


class StepWoken(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The wait is over: with the ``value`` of a ``signal``, since the step's run has ``ended``, or,
    without either, since it was time."""

    step: str
    key: str
    signal: str | None = None
    value: Value | None = None
    ended: ChildEnd | None = None


class StepCompleted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt returned.

    Args:
        output: What it returned.
        duration: Wall-clock seconds in the worker.
        cpu: CPU seconds of the worker's thread; None where unknown.
        metrics: What the handler counted.
        cache: What the work is known by, if its output may serve again.
        warnings: What the handler found odd.
    """

    step: str
    attempt: int
    output: Value
    duration: float
    cpu: float | None = None
    metrics: dict[str, int | float] = {}
    cache: str | None = None
    warnings: tuple[str, ...] = ()


class StepReused(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The step need not run: ``output`` is what it gave as event ``version`` of run ``source``."""

    step: str
    output: Value
    source: str
    version: int


class StepFailed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt raised, its output could not be recorded, or its worker was lost; or a step that
    waited for resources can never have them, which is attempt 0."""

    step: str
    attempt: int
    error: ErrorInfo
    duration: float | None = None
    metrics: dict[str, int | float] = {}


class StepTimedOut(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt took longer than its timeout and was abandoned."""

    step: str
    attempt: int
    error: ErrorInfo
    duration: float | None = None


class StepRetryScheduled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Another attempt follows: ``delay`` seconds, jitter included, until ``due`` (ns, UTC)."""

    step: str
    retry: int
    delay: float
    due: int


class StepFallbackScheduled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The step is not retried: the fallback of its type answers the error, as its next attempt."""

    step: str


class StepInterrupted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt's owner was lost; whether its effects happened is unknown."""

    step: str
    attempt: int


class StepSkipped(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The step will not run: ``reason`` is ``upstream`` if ``cause``, a step before it, failed;
    ``condition`` if its condition is false, as ``attempt`` found, or that of ``cause``, without
    which it has no input."""

    step: str
    reason: str
    cause: str | None = None
    attempt: int = 0


class StepCompensationStarted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An attempt to undo the step was handed to a worker."""

    step: str
    attempt: int
    worker: str


class StepCompensated(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the step did is undone, in ``duration`` seconds."""

    step: str
    attempt: int
    duration: float


class StepCompensationFailed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the step did could not be undone."""

    step: str
    attempt: int
    error: ErrorInfo
    duration: float | None = None


class StepCompensationRetryScheduled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt to undo it failed, and another follows ``delay`` seconds later, at ``due``."""

    step: str
    attempt: int
    error: ErrorInfo
    retry: int
    delay: float
    due: int


class StepCancelled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The attempt was cancelled: ``how`` is ``cooperative`` (it noticed and ended), ``killed`` (its
    process was) or ``abandoned`` (its thread cannot be killed, goes on, and whatever it returns is
    ignored)."""

    step: str
    attempt: int
    how: str
