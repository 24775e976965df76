"""Values that several events share."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class ErrorSeverity(StrEnum):
    """How much an error matters."""

    LOW = "low"
    """It can be ignored, or passes by itself."""
    MEDIUM = "medium"
    """It may affect what the step does."""
    HIGH = "high"
    """It affects what the step does: a mistake in the program, a lost process."""
    CRITICAL = "critical"
    """Somebody should look at once: no memory, no disk, a damaged log."""


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An error as it is recorded.

    Args:
        type: Qualified name of the exception's class.
        message: Its text.
        category: Kind of trouble: ``network``, ``timeout``, ``resource``, ``data``,
            ``programming``, ``worker_lost``, ``unknown``...
        severity: See :class:`ErrorSeverity`.
        retryable: Whether another attempt may help.
        traceback: As Python prints it, the chain of causes included.
        causes: ``type: message`` of what led to it, nearest first.
        path: Of a step that is a pipeline: the step in it that failed, and so on inwards.
        retry_after: Seconds before which another attempt is of no use, where the error says so.
    """

    type: str
    message: str
    category: str = "unknown"
    severity: ErrorSeverity = ErrorSeverity.MEDIUM
    retryable: bool = False
    traceback: str | None = None
    causes: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    retry_after: float | None = None

    def __str__(self) -> str:
        where = f"{' > '.join(self.path)}: " if self.path else ""
        return where + self.bare

    @property
    def bare(self) -> str:
        """Type and message alone."""
        return f"{self.type.rpartition('.')[2]}: {self.message}" if self.message else self.type

    def of(self, step: str) -> str:
        """The error of a step, with the whole path to it."""
        return f"step {' > '.join((step, *self.path))!r}: {self.bare}"
