"""What happens to a pipeline run, in the past tense.

Times are nanoseconds since 1970 (UTC) and stand in the envelope, as do actor, epoch and version.
"""

from __future__ import annotations

import msgspec

from .codec import Value
from .definition import RetryPolicy
from .values import ErrorInfo


class Origin(msgspec.Struct, frozen=True):
    """Where a pipeline can be loaded from again: what was run, and the current folder then."""

    target: str
    folder: str


class Parent(msgspec.Struct, frozen=True):
    """The run, and the step of it, that another run is."""

    run: str
    step: str


class PipelineSubmitted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A run was asked for; everything that its decisions depend on is here.

    Args:
        name: The pipeline's name.
        definition: Its body (a ``PipelineDefinition``), as an artifact when it is large.
        identity: Digest of the body without handler fingerprints: equal for the same pipeline.
        data: The input of the root steps.
        engine: The engine that submitted it.
        on_failure: ``stop`` (nothing new starts), ``continue`` (independent branches go on) or
            ``rollback`` (as ``stop``; then what was done is undone).
        priority: Among runs of one engine, higher ones get free workers first.
        deadline: When it should be done, ns, UTC.
        parallelism: Most steps of this run in flight at once.
        retry: The policy of steps that have none of their own, nor of their type.
        policies: Policies by step type.
        fallbacks: The step types that have a fallback, with its ``module:qualname``; empty for one
            that can only be given.
        allow_pickle: Whether values may be recorded as pickles.
        origin: Where the pipeline came from, if it was loaded from somewhere.
        warnings: What was odd about the pipeline.
        forked_from: The run whose outputs it starts with.
        parent: The step that it is, of a nested pipeline.
        queue: Where it waits until a worker claims it; None: who submitted it executes it.
        encoding: How its events are recorded, as their envelopes say: ``json``, or the algorithm
            and the key that their contents are encrypted with.
    """

    name: str
    definition: Value
    identity: str
    data: Value
    engine: str
    on_failure: str = "stop"
    priority: int = 0
    parallelism: int | None = None
    retry: RetryPolicy | None = None
    policies: dict[str, RetryPolicy] = {}
    fallbacks: dict[str, str] = {}
    allow_pickle: bool = True
    deadline: int | None = None
    origin: Origin | None = None
    warnings: tuple[str, ...] = ()
    forked_from: str | None = None
    parent: Parent | None = None
    queue: str | None = None
    encoding: str = "json"


class PipelineClaimed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An owner took the run; the envelope's epoch is one above all before it."""

    owner: str
    host: str
    pid: int
    code: str
    """Version of this library."""


class PipelinePauseRequested(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Nothing new starts; what runs may finish."""


class PipelinePaused(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Drained: nothing is in flight."""


class PipelineResumed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Going on: failed, cancelled and upstream-skipped steps start anew, completed ones stay.

    ``due`` gives steps that wait for a retry their new due time, since timers freeze meanwhile.
    ``deadline`` (ns, UTC) is a new one for a run that is a step with a timeout, tried again.
    """

    due: dict[str, int] = {}
    deadline: int | None = None


class PipelineQueued(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Back in its queue: it was resumed while nobody executed it. Timers stand still as before."""


class PipelineStopRequested(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Nothing new starts, and the run ends when what runs has finished."""


class PipelineStopped(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Drained and ended before all was done; may be resumed later."""


class PipelineCancelRequested(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What runs is interrupted, and the run ends for good."""


class PipelineRollbackStarted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What completed steps did is undone, the last one first; ``step`` and ``cause`` name the first
    failure, if it was one."""

    step: str = ""
    cause: ErrorInfo | None = None


class PipelineRolledBack(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """All is undone that could be."""


class PipelineRollbackFailed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What ``step`` did could not be undone, nor was what came before it."""

    step: str
    cause: ErrorInfo


class PipelineRollbackResumed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Undoing goes on, with the step that could not be undone."""


class SignalReceived(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Somebody sent a signal; it is kept until a step takes it that waits for one of its name."""

    name: str
    value: Value


class PipelineDeadlineExceeded(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """It was not done in time: what runs is interrupted, and the run fails."""


class PipelineCancelled(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Ended by a cancel; steps that had not started never will."""


class PipelineCompleted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Every step is done.

    Args:
        outputs: Versions, in this stream, of the StepCompleted events of the sinks.
        memory: Peak resident memory of the process so far, in MiB; None where unknown.
    """

    outputs: tuple[int, ...]
    memory: float | None = None


class PipelineFailed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Ended without success; ``step`` (empty: the deadline) and ``cause`` name the first failure.

    ``failures`` counts the failed steps; ``memory`` is as in PipelineCompleted.
    """

    step: str
    cause: ErrorInfo
    failures: int = 1
    memory: float | None = None


class PipelineErased(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The key of the run, which was encrypted, is destroyed from now on: its contents are lost.

    Args:
        key: Its id.
        ended: How the run had ended.
    """

    key: str
    ended: str
