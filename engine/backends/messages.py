"""What an engine and a worker process say to one another about an attempt.

Every message is a pair of a task's serial and what is said: what a thread that outlived its attempt
says, and what comes too late for one, must not concern the next.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...events.artifacts import FileArtifacts
from ...events.codec import Value
from ...events.definition import RetryPolicy, StepDefinition
from ...events.values import ErrorInfo
from ..classify import Rule
from ..core.commands import Command


class Task(msgspec.Struct, frozen=True):
    """An attempt as it is sent; ``serial`` tells it from the others of this process."""

    serial: int
    step: int
    number: int
    definition: StepDefinition
    inputs: Mapping[str, Value] | Value
    policy: RetryPolicy | None
    checkpoints: Mapping[str, Value]
    rules: tuple[Rule, ...]
    given: bytes
    """A pickle, so that an error in loading it is the attempt's."""
    artifacts: FileArtifacts | None
    """None: they are in the memory of the process that sends the task."""
    allow_pickle: bool
    run_id: str
    gpus: tuple[int, ...]
    waits: Mapping[str, Value | None]
    items: Mapping[str, Value]


class Begun(msgspec.Struct, frozen=True):
    """The task has arrived; nothing of the handler has run."""


class Ended(msgspec.Struct, frozen=True):
    """How the attempt ended."""

    command: Command | None


class Progressed(msgspec.Struct, frozen=True):
    """Arguments of the context's report."""

    arguments: tuple[float, float | None, str | None]


class Beat(msgspec.Struct, frozen=True):
    """The attempt shows life."""


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint; None, once it is committed, or an error is the answer."""

    key: str
    value: Value


class Item(msgspec.Struct, frozen=True):
    """An item of a map has come to an end."""

    key: str
    outcome: Value | ErrorInfo


class Flush(msgspec.Struct, frozen=True):
    """None, once all items are committed, or an error is the answer."""


class Put(msgspec.Struct, frozen=True):
    """An artifact to keep; its digest, or an error, is the answer."""

    data: bytes


class Get(msgspec.Struct, frozen=True):
    """An artifact that is wanted; its bytes, or an error, are the answer."""

    digest: str


class Cancel(msgspec.Struct, frozen=True):
    """Said to an attempt whose run is being cancelled."""


class Asked(msgspec.Struct, frozen=True):
    """Said to an attempt: whether it should hand its step back."""

    back: bool
