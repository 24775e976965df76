"""A process of the simulation: an engine's loop, its owner, and workers that do nothing."""

from __future__ import annotations

from collections.abc import Callable

from simulation.workers import Team
from simulation.world import SECOND, Closing, Hands, View, World

from semantica.pipeline.engine.attempt import Attempt
from semantica.pipeline.engine.failure import FailureHandler
from semantica.pipeline.engine.live import Owner
from semantica.pipeline.engine.loop import Loop
from semantica.pipeline.events.errors import LogUnavailable
from semantica.pipeline.events.machines import PIPELINE_TABLE
from semantica.pipeline.events.resource import Ordering

POOL = "shop"


class Broken(AssertionError):
    """A promise was broken, or the engine has broken down."""


class _Supply:
    """What an owner has of resources: the pool in the log, and no machine."""

    pool, ordering = POOL, Ordering.PRIORITY

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def attach(self, owner: Owner) -> _Supply:
        return self

    def prepare(self) -> None:
        self._loop.grants.pool(POOL)


class Process:
    """An engine's loop, which has its turns when it is told to."""

    def __init__(self, world: World, name: str, executes: Callable[[Attempt], bool]) -> None:
        skew = 0 if world.steady else world.chance.randint(-5, 5) * SECOND
        self.name = name
        self.view = View(world)
        self.loop = Loop(self.view, Hands(world, skew))
        self.loop.closing = Closing(world)  # type: ignore[assignment]
        self.team = Team(world.chance.randint(1, 4), executes)
        self.owner = Owner(
            name,
            self.team,
            FailureHandler(),
            _Supply(self.loop),  # type: ignore[arg-type]
            executor="thread",
            strict=False,
            cancel_grace=2.0,
        )
        self.loop.owners[name] = self.owner
        self.wakes_at = 0
        """While it is stopped: when it goes on."""
        self.busy = False
        """It is in a turn."""
        self.closing = False

    def turn(self) -> None:
        """What the loop's thread does."""
        messages = self.loop._mailbox.take()
        self.busy, before = True, list(self.loop.runs.values())
        try:
            self.loop.turn(messages)
        except LogUnavailable as error:
            self.loop._fail_all(error)
        finally:
            self.busy = False
        for live_run in filter(self.loop.holds, before):
            state = live_run.run.state
            late = state.deadline is not None and self.loop.now >= state.deadline
            if late and (state.status, "PipelineDeadlineExceeded") in PIPELINE_TABLE:
                raise Broken(f"run {live_run.run.run_id} goes on after its deadline")
