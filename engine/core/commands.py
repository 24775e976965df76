"""What can be asked of a run. Whatever chance or a clock contributes travels in the command."""

from __future__ import annotations

import msgspec

from ...events.codec import Value
from ...events.errors import PipelineError
from ...events.values import ErrorInfo


class Refused(PipelineError):
    """A control command that the run's state does not admit; the message says why."""


class Pause(msgspec.Struct, frozen=True, tag=True):
    """Let what runs finish and start nothing more, until resumed."""


class Resume(msgspec.Struct, frozen=True, tag=True):
    """Go on after a pause, a stop or a failure; completed steps stay completed."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Let what runs finish and end; may be resumed."""


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Interrupt what runs and end for good."""


class Expire(msgspec.Struct, frozen=True):
    """The run's deadline has come."""


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Hand a value to a step of the run that waits for it, now or later."""

    name: str
    value: Value


Control = Pause | Resume | Stop | Cancel | Signal
"""Commands that anybody may send, through the inbox too."""


class Enqueue(msgspec.Struct, frozen=True):
    """Have a run that rests, and that nobody executes, wait in its queue again."""


class Claim(msgspec.Struct, frozen=True):
    """Take the run over; what was in flight under the owner before is interrupted."""

    owner: str
    host: str
    pid: int
    code: str


class Start(msgspec.Struct, frozen=True):
    """Hand a step that is ready, or whose retry is due, to a worker; see StepStarted."""

    step: int
    worker: str
    backend: str = "thread"
    grants: dict[str, float] = {}
    gpus: tuple[int, ...] = ()
    cache: str | None = None


class Reuse(msgspec.Struct, frozen=True):
    """Complete a step that is ready with what another one gave; see StepReused."""

    step: int
    output: Value
    source: str
    version: int


class Queue(msgspec.Struct, frozen=True):
    """Have a step that could start wait for its resources."""

    step: int


class Deny(msgspec.Struct, frozen=True):
    """Fail a step that waits for resources which it can never have."""

    step: int
    error: ErrorInfo


class Skip(msgspec.Struct, frozen=True):
    """The condition of a step whose attempt has begun is false."""

    step: int
    attempt: int


class Complete(msgspec.Struct, frozen=True):
    """An attempt returned; see StepCompleted."""

    step: int
    attempt: int
    output: Value
    duration: float
    cpu: float | None = None
    metrics: dict[str, float] = {}
    warnings: tuple[str, ...] = ()


class Fail(msgspec.Struct, frozen=True):
    """An attempt raised. ``draw``, in [0, 1), decides the jitter of the delay."""

    step: int
    attempt: int
    error: ErrorInfo
    draw: float
    duration: float | None = None
    metrics: dict[str, float] = {}


class TimeOut(msgspec.Struct, frozen=True):
    """An attempt took longer than its timeout."""

    step: int
    attempt: int
    error: ErrorInfo
    draw: float
    duration: float | None = None


class Report(msgspec.Struct, frozen=True):
    """An attempt says how far it is."""

    step: int
    attempt: int
    done: float
    total: float | None = None
    message: str | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """An attempt saves a value, with which a later one can go on."""

    step: int
    attempt: int
    key: str
    value: Value


class Item(msgspec.Struct, frozen=True):
    """An item of a map has given a value, or failed."""

    step: int
    attempt: int
    key: str
    outcome: Value | ErrorInfo


class Yield(msgspec.Struct, frozen=True):
    """An attempt hands its step back, since the run is being paused or stopped."""

    step: int
    attempt: int
    duration: float


class Suspend(msgspec.Struct, frozen=True):
    """An attempt waits for a signal, for ``seconds``, or for whichever comes first."""

    step: int
    attempt: int
    key: str
    duration: float
    seconds: float | None = None
    signal: str | None = None


class Delegate(msgspec.Struct, frozen=True):
    """An attempt at a step that is a pipeline hands its input over to run ``run``."""

    step: int
    attempt: int
    data: Value
    duration: float
    run: str = ""


class Rouse(msgspec.Struct, frozen=True):
    """The time of a suspended step is up."""

    step: int
    due: int


class Cancelled(msgspec.Struct, frozen=True):
    """An attempt ended, or was given up, because of a cancel; ``how`` as in StepCancelled."""

    step: int
    attempt: int
    how: str


Command = (
    Control
    | Enqueue
    | Claim
    | Expire
    | Start
    | Reuse
    | Queue
    | Deny
    | Skip
    | Complete
    | Fail
    | TimeOut
    | Report
    | Checkpoint
    | Item
    | Yield
    | Suspend
    | Delegate
    | Rouse
    | Cancelled
)
