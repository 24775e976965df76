"""Whose run is it: submitting, claiming, recovering and control.

Each run's stream has one writer, the owner that holds its lease. All methods run in the loop's
thread; what they are asked from outside, they answer after the commit of the turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..events.directory import RunRow, stream_of
from ..events.errors import (
    AppendRefused,
    EngineClosed,
    LogError,
    LogUnavailable,
    RunConflict,
)
from ..events.machines import PipelineStatus
from ..events.retention import not_here
from ..events.sealed_store import require_key
from ..events.store import InboxItem
from ..projections.catchup import load_run
from ..projections.run import Run
from . import queued
from .core import commands as c
from .core.decide import decide
from .following import Following
from .live import LiveRun, Owner, Waiter
from .logger import logger
from .model import Given
from .requests import (
    LEASE,
    Submission,
    Unfinished,
    beginning_of,
    check_same,
    claim_by,
    is_signal,
    member,
    read_control,
    told_to,
    unfinished,
)
from .result import PipelineFuture, result_of

if TYPE_CHECKING:
    from .claiming import Claimed
    from .loop import Loop

LOOK_INTERVAL = 0.1
"""Seconds between two looks for what other processes have written."""

ACTIVE = [status for status in PipelineStatus if status.active]


class _Closing(msgspec.Struct, frozen=True):
    owner: Owner
    drain: bool
    done: Callable[[list[Unfinished]], None]


class Ownership:
    """Part of a :class:`~semantica.pipeline.engine.loop.Loop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = self.loop = loop
        self._store = loop.store
        self.following = Following(self)
        self._closing: dict[str, _Closing] = {}
        self._looked_at = 0
        self._inbox_unread = False
        self._joining = threading.Lock()
        self.watchers: list[Callable[[], None]] = []
        """Called at every look around, and when something waits in a queue."""
        self.arriving: set[str] = set()
        """Runs that a worker of this process claims, until they are taken. Any thread."""

    # -- submitting and joining --------------------------------------------------------------

    def submit(self, owner: Owner, submission: Submission, waiter: Waiter) -> None:
        """Begin a run, or join the one that has this id."""
        with told_to(waiter.future):
            if owner.id not in self._loop.owners or owner.draining:
                raise EngineClosed("the engine is closed")
            if submission.given and self._join(owner, submission, waiter):
                return
            self.show_life(owner)
            run = Run(submission.run_id, submission.definition)
            live = LiveRun(run, owner, 1, submission.handlers)
            live.begun_by(submission)
            live.waiters.append(waiter)
            self.adopt(live)
            self._loop.record(live, [submission.event], submission.actor)
            claimed = decide(run, claim_by(owner.id), self._loop.now)
            self._loop.record(live, [*claimed, *submission.reused])

    def _join(self, owner: Owner, submission: Submission, waiter: Waiter) -> bool:
        """Take part in the run of this id, if there is one."""
        live = self._loop.runs.get(submission.run_id)
        if live is not None and live.submission is not None:  # perhaps not committed yet
            check_same(live.submission.event, submission)
            live.waiters.append(waiter)
            return True
        row = self._store.run(submission.run_id)
        if row is None:
            if self._store.archived(submission.run_id):
                raise not_here(self._store, submission.run_id)
            return False
        if row.parent is not None:
            raise RunConflict(
                f"run {row.run_id} is a step of run {row.parent}; choose another run_id"
            )
        check_same(beginning_of(self._store, row.stream), submission)
        if live is not None:
            live.waiters.append(waiter)
        elif row.status.finished:
            self.tell(load_run(self._store, row.run_id), waiter)
        elif self.is_owned(row):
            self.following.follow(row.run_id, owner, submission.handlers, waiter)
        else:
            live = self.claim(owner, row.run_id, submission.handlers)
            live.waiters.append(waiter)
            if row.status is PipelineStatus.STOPPED:
                self._decide(live, c.Resume(), submission.actor)
        return True

    def tell(self, run: Run, waiter: Waiter) -> None:
        """Tell a waiter how a run has ended."""
        result = result_of(run, self._store.artifacts, self._loop.now)
        waiter.resolve(partial(waiter.future.set_result, result))

    # -- claiming ----------------------------------------------------------------------------

    def claim(
        self, owner: Owner, run_id: str, handlers: Mapping[str, Given], run: Run | None = None
    ) -> LiveRun:
        """Take over a run nobody owns, with its family; what was in flight is interrupted.

        Raises:
            Refused: It is a step of a run that is not at this step.
            PipelineError: The run does not exist, or its history cannot be folded.
        """
        self.show_life(owner)
        run = run or load_run(self._store, run_id)
        require_key(self._store, run_id, run.state.encoding)
        if run.state.parent is not None:
            return self._loop.families.claim_with_parent(owner, run)
        events = decide(run, claim_by(owner.id), self._loop.now)
        if not run.status.active:  # what was asked of it before it ended is void, but for signals
            mine = (item for item in self._store.inbox() if item.stream == run.stream)
            self._loop.taken.extend(item.id for item in mine if not is_signal(item.command))
        live = LiveRun(run, owner, run.state.epoch + 1, handlers)
        self.adopt(live)
        self._loop.record(live, events)
        self._loop.families.claim_children(live)
        self._inbox_unread = True  # somebody may have written to the owner before us
        return live

    def adopt(self, live: LiveRun) -> None:
        """A run is executed here from now on."""
        self._loop.runs[live.run.run_id] = live
        live.owner.runs[live.run.run_id] = live

    def is_owned(self, row: RunRow) -> bool:
        """Whether somebody other than this loop holds the run."""
        if row.owner is None or row.status.finished or row.status is PipelineStatus.STOPPED:
            return False
        if row.owner in self._loop.owners:
            return row.run_id in self.arriving  # else it is not in our hands: let go earlier
        return self._store.alive(row.owner, self._loop.now)

    def recover(
        self,
        owner: Owner,
        handlers: Mapping[str, Mapping[str, Given]],
        reply: Future[list[PipelineFuture]],
    ) -> None:
        """Take over every active run that nobody owns. ``handlers`` by pipeline name."""
        with told_to(reply):
            futures = []
            for row in reversed(self._store.runs(statuses=ACTIVE, roots=True)):
                if row.run_id in self._loop.runs or self.is_owned(row):
                    continue
                future = PipelineFuture(row.run_id)
                futures.append(future)
                with told_to(future):
                    live = self.claim(owner, row.run_id, handlers.get(row.name, {}))
                    live.waiters.append(Waiter(future))
            self._loop.reply(reply, futures)

    def take(
        self, owner: Owner, claimed: Claimed, handlers: Mapping[str, Given], waiter: Waiter
    ) -> None:
        """Go on with a run that has been claimed for an owner."""
        with told_to(waiter.future):
            live = LiveRun(claimed.run, owner, claimed.run.state.epoch, handlers)
            live.waiters.append(waiter)
            self.adopt(live)
            self.arriving.discard(live.run.run_id)
            self._loop.touch(live)
            self._loop.families.claim_children(live)
            if claimed.resumed:
                self._loop.families.resume(live)
            self._inbox_unread = True  # somebody may have written to the owner before us

    def announce(self) -> None:
        """This process has changed what waits in queues."""
        for watcher in self.watchers:
            watcher()

    # -- control -----------------------------------------------------------------------------

    def control(
        self,
        owner: Owner,
        run_id: str,
        command: c.Control,
        actor: str,
        handlers: Mapping[str, Given],
        reply: Future[None],
    ) -> None:
        """Apply a command to a run, whoever owns it. The reply raises Refused or RunNotFound."""
        with told_to(reply):
            live = self._loop.runs.get(run_id)
            if live is not None:
                live.handlers.update(handlers)
                self._decide(live, command, actor)
            else:
                self._control_elsewhere(owner, run_id, command, actor, handlers)
            self._loop.reply(reply, None, stream_of(run_id))

    def _control_elsewhere(
        self,
        owner: Owner,
        run_id: str,
        command: c.Control,
        actor: str,
        handlers: Mapping[str, Given],
    ) -> None:
        row = self._store.run(run_id)
        if row is None:
            raise not_here(self._store, run_id)
        run = load_run(self._store, run_id)
        self._loop.families.admit(run, command)
        if not handlers and not self.is_owned(row) and queued.concerns_queue(run, command):
            queued.apply(self._store, run, command, actor, self._loop.now)
            self.announce()
        elif self.is_owned(row) or (row.status.active and isinstance(command, c.Signal)):
            decide(run, command, self._loop.now)  # refused here rather than in the owner's log
            text = msgspec.json.encode(command)
            self._store.send(row.stream, text, actor=actor, at=self._loop.now)
        elif row.status.active:
            # Its owner is gone: let what that one had been told come to its end first.
            live = self.claim(owner, run_id, handlers, run)
            self._loop.families.settle([live])
            self._decide(live, command, actor)
        elif decide(run, command, self._loop.now):
            self._decide(self.claim(owner, run_id, handlers, run), command, actor)

    def _decide(self, live: LiveRun, command: c.Control, actor: str) -> None:
        self._loop.families.admit(live.run, command)
        events = decide(live.run, command, self._loop.now)
        self._loop.record(live, events, actor)
        if events and isinstance(command, c.Resume):
            self._loop.families.resume(live)

    def attach(
        self, owner: Owner, run_id: str, handlers: Mapping[str, Given], waiter: Waiter
    ) -> None:
        """Have ``waiter`` told how a run ends, whoever executes it."""
        with told_to(waiter.future):
            live = self._loop.runs.get(run_id)
            row = self._store.run(run_id)
            if live is not None:
                live.waiters.append(waiter)
            elif row is None:
                raise not_here(self._store, run_id)
            elif row.status.finished or row.status is PipelineStatus.STOPPED:
                self.tell(load_run(self._store, run_id), waiter)
            else:
                self.following.follow(run_id, owner, handlers, waiter)

    # -- others ------------------------------------------------------------------------------

    def patience(self) -> float | None:
        """Seconds the loop may sleep before it must look around."""
        busy = self._loop.runs or self.following or self.watchers or self._loop.grants.present()
        return LOOK_INTERVAL if busy else None

    def look_around(self) -> None:
        """Renew leases, read the inbox, see how followed runs are doing."""
        if self.patience() is None:
            return
        now = self._loop.clock.monotonic()
        if now - self._looked_at < LOOK_INTERVAL * 1e9 and not self._inbox_unread:
            return
        self._looked_at = now
        try:
            self._look()
        except LogUnavailable as error:
            # As long as the log cannot be used, nobody else can take our runs over either.
            logger().warning("the log cannot be used just now", error=str(error))

    def _look(self) -> None:
        for owner in self._loop.owners.values():
            if owner.runs or owner.id in self._loop.grants.present():
                self.show_life(owner)
        self.announce()
        if self._store.news():
            self._inbox_unread = True
        if self._inbox_unread:
            self._loop.grants.look()
            self._read_inbox()
            self._inbox_unread = False  # not before: what cannot be read now is read next time
        self.following.look()

    def show_life(self, owner: Owner) -> None:
        """Have an owner counted among the living: renew its lease in time. Any thread."""
        now = self._loop.clock.now()
        with self._joining:
            if not 2 / 3 < (owner.expires - now) / (LEASE * 1e9) <= 1:  # 1: the clock was set back
                joined = member(owner.id, now)
                self._store.join(joined)
                owner.expires = joined.expires
                self._loop.post(partial(self._loop.notice_losses, owner))

    def _read_inbox(self) -> None:
        for item in self._store.inbox():
            if item.id in self._loop.taken:
                continue
            run_id = item.stream.partition("/")[2]
            live = self._loop.runs.get(run_id)
            if live is None:
                row = self._store.run(run_id)
                if row is None or (row.status.finished and not self._keeps(row.status, item)):
                    self._loop.taken.append(item.id)  # too late, whoever was to read it
                continue
            try:
                self._decide(live, read_control(item.command), item.actor)
            except AppendRefused:
                continue  # it is for the new owner
            except (c.Refused, msgspec.MsgspecError) as error:
                if self._keeps(live.run.status, item):
                    continue
                logger().warning("a command was refused", run=live.run.run_id, reason=str(error))
            self._loop.taken.append(item.id)
            self._loop.touch(live)

    @staticmethod
    def _keeps(status: PipelineStatus, item: InboxItem) -> bool:
        """A signal that came just before its run failed is there when that is resumed."""
        return status is PipelineStatus.FAILED and is_signal(item.command)

    # -- the end -----------------------------------------------------------------------------

    def close(self, owner: Owner, drain: bool, done: Callable[[list[Unfinished]], None]) -> None:
        """Close an owner once its runs have ended (paused ones aside), or, to ``drain``, once the
        attempts in flight have. ``done`` is told which runs are left unfinished."""
        if drain:
            owner.drain()
        self._closing[owner.id] = _Closing(owner, drain, done)

    def release_idle(self) -> None:
        """Let go the owners that are closing and have nothing more to wait for."""
        for closing in list(self._closing.values()):
            lives, drain, rests = closing.owner.runs.values(), closing.drain, PipelineStatus.PAUSED
            if not any(live.in_flight if drain else live.run.status != rests for live in lives):
                del self._closing[closing.owner.id]
                self._release(closing)

    def _release(self, closing: _Closing) -> None:
        owner = closing.owner
        left = []
        for live in list(owner.runs.values()):
            self._loop.forget(live)
            if live.run.state.parent is None:
                left.append(unfinished(live.run))
            error = EngineClosed(
                f"run {live.run.run_id} is {live.run.status} and its engine was closed; "
                f"go on with engine.resume_pipeline({live.run.run_id!r})"
            )
            for waiter in live.waiters:
                waiter.resolve(partial(waiter.future.set_exception, error))
        self.following.stop(owner)
        if owner.expires:
            try:
                self._store.leave(owner.id)
            except LogError as error:  # the lease lapses by itself
                logger().warning("the owner could not sign off", error=str(error))
        self._loop.owners.pop(owner.id, None)
        owner.close()
        closing.done(left)
