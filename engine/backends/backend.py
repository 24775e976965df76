"""What carries out attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Backend(Protocol):
    """Workers that carry out jobs, one at a time each. Called by the loop's thread alone."""

    name: str

    def acquire(self) -> str | None:
        """Take a free worker; None when all are busy."""
        ...

    def submit(self, worker: str, job: Callable[[], None]) -> None:
        """Have an acquired worker carry out ``job``, which must not raise."""
        ...

    def release(self, worker: str) -> None:
        """The worker's job is over, or was never given; it is free again."""
        ...

    def abandon(self, worker: str) -> None:
        """Give up on a worker that does not return; another one takes its place."""
        ...

    def close(self) -> None:
        """End the workers once they are idle."""
        ...
