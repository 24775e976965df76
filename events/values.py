"""Values that several events share."""

from __future__ import annotations

import msgspec


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it is recorded.

    Args:
        type: Qualified name of the exception's class.
        message: Its text.
        category: Kind of trouble: ``network``, ``timeout``, ``resource``, ``data``,
            ``programming``, ``worker_lost``, ``unknown``...
        severity: ``low``, ``medium``, ``high`` or ``critical``.
        retryable: Whether another attempt may help.
        traceback: As Python prints it, the chain of causes included.
        causes: ``type: message`` of what led to it, nearest first.
    """

    type: str
    message: str
    category: str = "unknown"
    severity: str = "medium"
    retryable: bool = False
    traceback: str | None = None
    causes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.type.rpartition('.')[2]}: {self.message}" if self.message else self.type
