"""What carries out attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..attempt import Attempt, Report


class Backend(Protocol):
    """Workers that carry out attempts, one at a time each. Called in turns of the loop alone."""

    max_workers: int
    """How many there are."""

    @property
    def here(self) -> bool:
        """Whether the caller runs in one of these workers, in a thread that has a turn of the loop
        (:meth:`~semantica.pipeline.engine.turns.Turns.take_one`) after each job. Any thread."""
        ...

    def acquire(self) -> str | None:
        """Take a free worker; None when all are busy."""
        ...

    def submit(
        self, worker: str, attempt: Attempt, report: Report, release: Callable[[], None]
    ) -> None:
        """Have an acquired worker carry out ``attempt``.

        Args:
            report: Called once, in any thread, with how it ended.
            release: Called, in any thread, if the attempt goes on without its worker.
        """
        ...

    def release(self, worker: str) -> None:
        """The worker's job is over, or was never given; it is free again."""
        ...

    def abandon(self, worker: str) -> str:
        """Give up on a worker that does not return; another one takes its place.

        Returns:
            ``"killed"``, or ``"abandoned"`` when what it does cannot be ended.
        """
        ...

    def resize(self, max_workers: int) -> None:
        """Change how many there are; busy ones that are too many go when their job is over."""
        ...

    def close(self) -> None:
        """End the workers once they are idle."""
        ...
