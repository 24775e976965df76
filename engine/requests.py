"""What the outside asks of the loop, and how it is answered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from ..events.definition import PipelineDefinition
from ..events.envelope import CLEAR
from ..events.errors import LogCorrupt, MissingKey, RunConflict
from ..events.pipeline import PipelineSubmitted
from ..events.step import StepReused
from ..events.store import Member, Store
from ..events.upcasters import to_event
from ..projections.run import Run
from .core.commands import Claim, Control, Signal
from .failure import Answers
from .model import Given
from .version import VERSION


class Submission(msgspec.Struct, frozen=True):
    """A run that somebody asks for. ``given``: they chose its id, so it may exist already."""

    run_id: str
    given: bool
    event: PipelineSubmitted
    definition: PipelineDefinition
    handlers: Mapping[str, Given]
    answers: Answers
    actor: str
    reused: Sequence[StepReused] = ()
    """Outputs of another run that this one begins with."""


def check_same(before: PipelineSubmitted, submission: Submission) -> None:
    """Raises RunConflict if the run of this id was submitted with another definition or input."""
    asked = submission.event
    if before.encoding != CLEAR and not before.identity:
        raise MissingKey(
            f"run {submission.run_id} exists and is encrypted, and its key is not here, so that "
            "nobody can tell whether it is the same; choose another run_id"
        )
    if (before.identity, before.data) != (asked.identity, asked.data):
        what = "definition" if before.identity != asked.identity else "input"
        raise RunConflict(
            f"run {submission.run_id} exists with another {what}; choose another run_id, "
            "or give the same pipeline and data to join it"
        )


def beginning_of(store: Store, stream: str) -> PipelineSubmitted:
    """The first event of a run. Raises LogCorrupt."""
    event = to_event(next(store.read(stream)))
    if not isinstance(event, PipelineSubmitted):
        raise LogCorrupt(f"{stream} does not begin with PipelineSubmitted")
    return event


class Unfinished(msgspec.Struct, frozen=True):
    """A run that an owner leaves behind."""

    run_id: str
    name: str
    status: str
    completed: int
    total: int


def unfinished(run: Run) -> Unfinished:
    """What is to be said of a run that is let go."""
    state = run.state
    return Unfinished(run.run_id, state.name, state.status, state.completed, len(state.steps))


def claim_by(owner_id: str) -> Claim:
    """The command by which an owner in this process takes a run."""
    return Claim(owner_id, os.uname().nodename, os.getpid(), VERSION)


LEASE = 15.0
"""Seconds after which the runs of an owner that shows no life may be taken over."""


def member(owner_id: str, now: int) -> Member:
    """An owner in this process, as the log knows it from ``now`` (ns) on."""
    return Member(owner_id, os.uname().nodename, os.getpid(), now + int(LEASE * 1e9))


_control = msgspec.json.Decoder(Control)


def read_control(command: bytes) -> Control:
    """A command that was sent through the inbox. Raises MsgspecError."""
    read: Control = _control.decode(command)
    return read


def is_signal(command: bytes) -> bool:
    """Whether it is a signal; what nobody here understands is none."""
    try:
        return isinstance(read_control(command), Signal)
    except msgspec.MsgspecError:
        return False


class told_to:
    """What goes wrong inside is the future's outcome, not the loop's."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self._future.set_exception(error)
            return True
        return False
