"""What an attempt has recorded while it runs."""

from __future__ import annotations

from typing import Protocol

from ..events.codec import Value
from ..events.values import ErrorInfo


class Journal(Protocol):
    """Safe to use from several threads of an attempt."""

    def checkpoint(self, key: str, value: Value) -> None:
        """Record a checkpoint; returns once it is committed.

        Raises:
            AttemptCancelled: The attempt was given up meanwhile.
            LogError: The log cannot be used any more.
        """
        ...

    def item(self, key: str, outcome: Value | ErrorInfo) -> None:
        """Have the outcome of an item of a map recorded; does not wait for it."""
        ...

    def flush(self) -> None:
        """Return once all items are committed. Raises as :meth:`checkpoint`."""
        ...
