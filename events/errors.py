"""Every error this library raises on purpose: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from .arguments import shown

if TYPE_CHECKING:
    from .values import ErrorInfo


class PipelineError(Exception):
    """Base of all errors raised by ``semantica.pipeline``."""


class IllegalTransition(PipelineError):
    """An event that the law does not allow in the present state.

    Args:
        stream: The stream (``run/<id>``) the event belongs to.
        subject: ``"pipeline"`` or ``"step 'name'"``.
        state: The state the subject is in.
        event: The event type that was refused.
        story: What happened to the subject before, oldest first.
    """

    def __init__(
        self, stream: str, subject: str, state: str, event: str, story: Sequence[str] = ()
    ) -> None:
        self.stream, self.subject, self.state, self.event = stream, subject, state, event
        self.story = tuple(story)
        told = f" after {' -> '.join(self.story)}" if self.story else ""
        super().__init__(f"{stream}: {event} is not allowed for {subject} in state {state}{told}")


class LogError(PipelineError):
    """The event log cannot be used as asked."""


class LogUnavailable(LogError):
    """The log cannot be opened, or written just now: locked, read-only, or its disk is full.

    ``transient`` says that trying again later may succeed.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


class NotALog(LogError):
    """The file exists and is a database or file of something else."""


class LogTooNew(LogError):
    """The log was written by a newer version of this library."""


class LogCorrupt(LogError):
    """The log's file, an event or an artifact is damaged."""


class UnknownEvent(LogError):
    """An event whose type or schema this version does not know."""


class MissingKey(LogError):
    """An encrypted run cannot be read or gone on with here: its key, or the library for it, is not
    there, or the run was erased."""


class AppendRefused(PipelineError):
    """An append lost against another writer: a higher epoch or a newer version is in the stream."""

    def __init__(self, stream: str, reason: str) -> None:
        self.stream, self.reason = stream, reason
        super().__init__(f"{stream}: append refused: {reason}")


class UnencodableValue(PipelineError):
    """A value that cannot be recorded faithfully."""


class UnreadableValue(PipelineError):
    """A recorded value that cannot be turned back into an object here."""


class PipelineValidationError(PipelineError):
    """A pipeline that cannot be executed; ``errors`` lists everything that is wrong with it."""

    def __init__(self, pipeline: str, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        listing = "\n".join(f"  - {error}" for error in self.errors)
        super().__init__(f"pipeline {shown(pipeline)} is not valid:\n{listing}")


class SerializationError(PipelineError):
    """A pipeline definition in JSON or YAML that cannot be read or written."""


class ConfigurationError(PipelineError):
    """Settings that cannot be used; ``problems`` lists all that is wrong in one source of them.

    Args:
        source: A file, the environment, or the constructor's arguments.
        problems: Each names a setting as the source does, and says what is wrong with it.
    """

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.source, self.problems = source, list(problems)
        several = len(self.problems) > 1
        told = "".join(f"\n  - {one}" for one in self.problems) if several else self.problems[0]
        super().__init__(f"{source}:{told}" if several else f"{source}: {told}")


class RunNotFound(PipelineError):
    """No run has this id or name in the log."""


class ArchivedRun(RunNotFound):
    """The run is not in this log any more: it was archived, or discarded."""


class RunConflict(PipelineError):
    """A run id given again with another definition or input."""


class AmbiguousRun(PipelineError):
    """A name that fits several active runs of other engines: a run id is needed."""


class RunFailed(PipelineError):
    """Raised by :meth:`ExecutionResult.raise_for_status` for a run without success."""


class RecordedError(PipelineError):
    """An error that was read from the log and whose own class is not to be had here."""


class HandlerNotFound(PipelineError):
    """A step whose handler cannot be found in this process."""


class SecretNotFound(PipelineError):
    """A secret that a step's configuration names is not in the environment."""


class ResourceUnavailable(PipelineError):
    """An amount of a resource that is taken, or that there can never be."""


class SignalTimeout(PipelineError, TimeoutError):
    """A signal that a handler waited for did not come in time."""


class ReplayMismatch(PipelineError):
    """A handler that ran again came to other waits than before."""


class ItemsFailed(PipelineError):
    """Items of a map that failed; ``errors`` are theirs, as recorded, by their keys."""

    def __init__(self, items: int, errors: Mapping[str, ErrorInfo]) -> None:
        self.items, self.errors = items, dict(errors)
        shown = "; ".join(f"{key}: {error}" for key, error in list(self.errors.items())[:5])
        more = "; ..." if len(self.errors) > 5 else ""
        super().__init__(f"{len(self.errors)} of {items} items failed: {shown}{more}")

    def __reduce__(self) -> tuple[object, ...]:
        return ItemsFailed, (self.items, self.errors)


class EngineClosed(PipelineError):
    """The engine was closed, or the process is exiting."""


class WorkerLost(PipelineError):
    """A worker process died before it had answered; the message says how."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``"; did you mean 'parse'?"``, or the empty string."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
