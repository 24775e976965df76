"""What an engine is supplied with: a resource scheduler, which few runs need, and workers."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from ..events.resource import Ordering
from .configuration import PipelineConfig

if TYPE_CHECKING:
    from .live import Owner
    from .loop import Loop
    from .parallelism import ParallelismManager
    from .resources import ResourceScheduler


def machine_name() -> str:
    """Name of the pool of this machine's resources."""
    return os.uname().nodename


class Supply:
    """Makes the scheduler when it is first asked for, unless the engine was given one.

    Args:
        loop: Of the engine's log, where the pool is.
        given: With the engine.
        config: For the one that is made.
    """

    def __init__(self, loop: Loop, given: ResourceScheduler | None, config: PipelineConfig) -> None:
        self.pool = machine_name() if given is None else given.pool_name
        self.ordering = Ordering.PRIORITY if given is None else given.ordering
        self._loop = loop
        self._given = given
        self._config = config
        self._attached: ResourceScheduler | None = None
        self._lock = threading.Lock()

    def attach(self, owner: Owner) -> ResourceScheduler:
        """The scheduler, whose pool is in the log from now on. Any thread."""
        with self._lock:
            if self._attached is None:
                scheduler = self._given
                if scheduler is None:
                    from .resources import ResourceScheduler

                    scheduler = ResourceScheduler(config=self._config)
                from .pool import Home

                show_life = partial(self._loop.ownership.show_life, owner)
                pool = self._loop.grants.pool(self.pool)
                is_dead = self._loop.grants.is_dead
                scheduler.attach(Home(pool, owner.id, show_life, is_dead))
                self._attached = scheduler
            return self._attached


def follow(manager: ParallelismManager, loop: Loop, owner: Owner) -> None:
    """Give an owner as many workers as a manager has, also when that changes."""

    def resize(max_workers: int) -> None:
        if owner.id in loop.owners:
            owner.backend.resize(max_workers + owner.lent)
            loop.hungry[owner.id] = owner

    owner.let_go = manager.subscribe(lambda count: loop.post(partial(resize, count)))
