"""What steps hold of resources: the loop's side, which most runs pass by.

A step that declares resources, or whose type is limited in rate, goes to a desk
(:mod:`.desks`). Nothing of that is imported before there is such a step.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from ..events.resource import pool_stream
from .core.effects import Acquire

if TYPE_CHECKING:
    from .desks import Desks, Held
    from .live import LiveRun
    from .loop import Loop
    from .pool import SharedPool


class MustWait(Exception):
    """Resources are taken; the step has been put in the queue for them."""


class Grants:
    """Part of a :class:`~semantica.pipeline.engine.loop.Loop`; all methods but :meth:`pool` and
    :meth:`noticed` belong to its thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._made: Desks | None = None
        self._making = threading.Lock()
        self._limited: bool | None = None
        """Whether rates are limited in some pool; None: it has to be found out."""

    def take(self, live: LiveRun, i: int) -> Held | None:
        """What a step needs, if it can be had now; None: it needs nothing.

        Raises:
            MustWait: It cannot be had now.
        """
        needs = bool(live.run.graph.definition.steps[i].resources)
        if not needs and self._limited is False:
            return None
        if live.run.state.undo or live.run.state.steps[i].fallback:
            return None  # what runs instead of a handler is not what the amounts were declared for
        if not needs and self._made is None and not self._used(live.owner.supply.pool):
            self._limited = False
            return None
        held = self._desks().take(live, i)
        self._limited = self._desks().limited()
        return held

    def _used(self, pool: str) -> bool:
        """Whether there is such a pool, in which rates may be limited."""
        read = partial(self._loop.store.read, pool_stream(pool))
        return self._loop.patiently(lambda: next(iter(read()), None)) is not None

    def _desks(self) -> Desks:
        with self._making:
            if self._made is None:
                from .desks import Desks

                self._made = Desks(self._loop)
            return self._made

    def pool(self, name: str) -> SharedPool:
        """A pool of this log, opened when it is first asked for. Any thread."""
        return self._desks().pool(name)

    def noticed(self) -> None:
        """A pool has changed. Any thread."""
        self._loop.post(self._forget_limits)

    def _forget_limits(self) -> None:
        self._limited = None

    def perform(self, live: LiveRun, effect: Acquire) -> None:
        """See to it that a waiting step stands in the queue, or does not."""
        self._desks().perform(live, effect)

    def drop(self, live: LiveRun) -> None:
        """A run is let go: nothing of it waits any more."""
        if self._made is not None:
            self._made.drop(live)

    def release(self, held: Held) -> None:
        """An attempt is really over: what it held is free."""
        self._desks().release(held)

    def serve(self) -> None:
        """Record what is over, and start what can be granted and has a worker."""
        if self._made is not None:
            self._made.serve()

    def look(self) -> None:
        """Others have changed the log."""
        if self._made is not None:
            self._made.look()
        self._forget_limits()

    def present(self) -> set[str]:
        """Our owners that hold something or wait for it, whose leases must not lapse."""
        return set() if self._made is None else self._made.present()

    def is_dead(self, owner: str) -> bool:
        """Whether an owner has died or left, so that what it held is free. Any thread."""
        if owner in self._loop.owners:
            return False
        alive = partial(self._loop.store.alive, owner, self._loop.clock.now())
        return not self._loop.patiently(alive)
