"""The imperative shell: one loop per process and log.

A turn takes everything that has arrived (outcomes, commands, due timers), has it decided, folds
the events into the runs' working states, appends those of all runs in one transaction (group
commit), and only then performs what the states ask for. Nobody outside of a turn sees a state
before its events are committed: queries read the log, and results and progress go out afterwards.
If the log cannot be written for now, the turn waits with everything in memory and tries again; if
a run turns out to be somebody else's, its state is forgotten and the others go on.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..events.errors import (
    AppendRefused,
    IllegalTransition,
    LogError,
    LogUnavailable,
)
from ..events.sealed_store import new_events
from ..events.store import Batch, Store
from ..events.upcasters import Event, to_event
from ..projections.catchup import save_snapshot, snapshot_due
from .attempts import Attempts
from .clock import Clock
from .core import commands as c
from .core.admission import may_start
from .core.decide import decide
from .core.effects import outstanding
from .families import Families
from .gathering import Gathering
from .grants import Grants, MustWait
from .lines import WaitingLines
from .live import LiveRun, Owner
from .logger import logger
from .mailbox import Mailbox, Message
from .ownership import Ownership
from .result import result_of
from .timers import Timers
from .turns import Turns
from .writing import append_patiently, patiently

if TYPE_CHECKING:
    from .desks import Held

MAX_SLEEP = 3600.0
"""Seconds of sleep at a time: the system takes no arbitrarily long ones."""


class Loop:
    """Executes the runs of this process on one log.

    All but :meth:`post`, :meth:`wake` and :attr:`turns` belongs to whoever has a turn.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.timers = Timers(clock)
        self.owners: dict[str, Owner] = {}
        self.runs: dict[str, LiveRun] = {}
        self.ownership = Ownership(self)
        self.attempts = Attempts(self)
        self.families = Families(self)
        self.grants = Grants(self)
        self.closing = threading.Event()
        """Set when the process exits: what cannot be written is given up."""
        self.patiently = partial(patiently, log=store.location, closing=self.closing, clock=clock)
        self.now = clock.now()
        """The time of this turn."""
        self._mailbox = Mailbox()
        self.turns = Turns(self._mailbox, self._have_turn, self._patience)
        self.gathering = Gathering(self._mailbox, clock)
        self._touched: dict[str, LiveRun] = {}
        self.hungry: dict[str, Owner] = {}
        self.lines = WaitingLines(store, self.wake)
        self.taken: list[int] = []
        """Inbox items to remove with this turn's commit."""
        self._replies: list[tuple[Future[Any], object, str | None]] = []
        self._order = count()

    # -- the outside -------------------------------------------------------------------------

    def post(self, message: Message, *, ring: bool = True) -> bool:
        """Have ``message`` called in the next turn; False when the loop has ended. Any thread.

        Args:
            ring: See to it that there is one. False: the caller takes it, if nobody else does.
        """
        return self._mailbox.post(message, ring=ring)

    def wake(self) -> None:
        """See to it that another turn follows. Any thread."""
        self.post(_nothing)

    def _have_turn(self, messages: list[Message]) -> None:
        self.gathering.gather(messages)
        try:
            self.turn(messages)
        except Exception as error:
            self._fail_all(error)

    def _patience(self) -> float | None:
        """Seconds to sleep when nothing arrives."""
        waits = (self.timers.next_in(), self.ownership.patience())
        return min((min(wait, MAX_SLEEP) for wait in waits if wait is not None), default=None)

    # -- a turn ------------------------------------------------------------------------------

    def turn(self, messages: list[Message]) -> None:
        """Take what has arrived, decide, commit, and perform."""
        self.now = self.clock.now()
        for message in messages:
            self._call(message)
        self.timers.fire_due(self.now)
        self.ownership.look_around()
        self.families.settle(list(self._touched.values()))
        self._dispatch()
        self._commit()
        self._perform()
        self.ownership.release_idle()

    def _call(self, message: Message) -> None:
        """What is wrong with one message must not cost the others their turn."""
        try:
            message()
        except Exception:
            logger().exception("a message could not be handled")

    def record(self, live: LiveRun, events: list[Event], actor: str | None = None) -> None:
        """Take events into this turn's commit."""
        try:
            live.record(events, actor or live.owner.id, self.now)
        except IllegalTransition as error:  # we are wrong: what is in memory cannot be trusted
            self._give_run_up(live, error)
            raise
        self.touch(live)

    def touch(self, live: LiveRun) -> None:
        """Look after this run at the end of the turn."""
        self._touched[live.run.run_id] = live
        self.hungry[live.owner.id] = live.owner

    def reply(self, future: Future[Any], answer: object, stream: str | None = None) -> None:
        """Answer after this turn's commit, with the refusal if that of ``stream`` was refused."""
        self._replies.append((future, answer, stream))

    def _dispatch(self) -> None:
        """Give free workers to runs that can start a step: by priority, in turns among equals."""
        self.grants.serve()
        for live in self._touched.values():
            self._queue(live)
        for owner in self.hungry.values():
            while owner.queue and not owner.draining:
                worker = owner.backend.acquire()
                if worker is None:
                    break
                started = False
                try:
                    started = self._start_one(owner, worker)
                finally:
                    if not started:
                        owner.backend.release(worker)
        self.hungry.clear()

    def _queue(self, live: LiveRun) -> None:
        if not live.queued and live.can_start():
            live.queued = True
            heappush(live.owner.queue, (live.rank(next(self._order)), live))

    def _start_one(self, owner: Owner, worker: str) -> bool:
        live = heappop(owner.queue)[1]
        live.queued = False
        i = live.next_step()
        if i is None or not may_start(live.run) or not self.holds(live):
            return False
        if self._reuse(live, i):
            self._queue(live)
            return False
        if self.families.undo(live, i):
            return False
        try:
            held = self.grants.take(live, i)
        except MustWait:
            self.record(live, decide(live.run, c.Queue(i), self.now))
        else:
            return self.launch(live, i, worker, held)
        self._queue(live)
        return False

    def _reuse(self, live: LiveRun, i: int) -> bool:
        """Complete a step with what the same work gave before, if it may serve."""
        key = live.cache_key(i)
        found = None if key is None else self.patiently(partial(self.store.cached, key))
        age = live.run.graph.definition.steps[i].cache
        if found is None or age is None or self.now - found.at > age * 1e9:
            return False
        source = found.stream.partition("/")[2]
        command = c.Reuse(i, to_event(found).output, source, found.version)
        events = decide(live.run, command, self.now)
        self.record(live, events)
        self.post(partial(self.touch, live))  # what follows from it may be the run's end
        return bool(events)

    def launch(self, live: LiveRun, i: int, worker: str, held: Held | None) -> bool:
        """Start a step on an acquired worker, with what it holds; False if it must not start."""
        command = c.Start(i, worker, live.executor(i), cache=live.cache_key(i))
        if held is not None:
            command = replace(command, grants=held.grant.amounts, gpus=held.grant.gpus)
        events = decide(live.run, command, self.now)
        if not events:
            return False
        self.record(live, events)
        self.attempts.begin(live, i, self.attempts.flight(live, i, worker, held, command.gpus))
        self._queue(live)
        return True

    def _commit(self) -> None:
        made: list[tuple[LiveRun, Batch]] = []
        for live in self._touched.values():
            try:
                made += [(live, batch) for batch in self._batches(live)]
            except Exception as error:  # something in it cannot be written: its own fault
                self._give_run_up(live, error)
        made = [(live, batch) for live, batch in made if self.holds(live)]
        lines = self.lines.take(anyway=bool(made or self.taken))
        if not (made or self.taken or lines):
            return
        batches = [batch for _, batch in made]
        with self.gathering.commit():
            answers = append_patiently(
                self.store, batches, self.taken, self.closing, self.clock, lines
            )
        self.taken.clear()
        for (live, _), refusal in zip(made, answers, strict=True):
            live.pending.clear()
            if refusal is None:
                live.recorded = live.run.state.version
            else:
                self.lose(live, refusal)

    def _batches(self, live: LiveRun) -> list[Batch]:
        batches, after = [], live.recorded
        for actor, events in live.pending:
            batch = Batch(
                stream=live.run.stream,
                after=after,
                epoch=live.epoch,
                actor=actor,
                at=self.now,
                events=new_events(self.store, live.run.state.encoding, events),
                unit=live.root,
            )
            batches.append(batch)
            after += len(events)
        return batches

    def _refuse_replies(self, streams: set[str | None], refusal: AppendRefused) -> None:
        for future, _, stream in self._replies:
            if stream in streams:
                future.set_exception(refusal)
        self._replies = [reply for reply in self._replies if reply[2] not in streams]

    def _perform(self) -> None:
        """Do what the committed states ask for."""
        touched, self._touched = self._touched, {}
        for live in filter(self.holds, touched.values()):
            try:
                self._perform_run(live)
            except Exception as error:
                self._give_run_up(live, error)
        replies, self._replies = self._replies, []
        for future, answer, _ in replies:
            future.set_result(answer)

    def _perform_run(self, live: LiveRun) -> None:
        for effect in outstanding(live.run, None if live.all_touched else live.touched):
            self.attempts.perform(live, effect)
        live.touched.clear()
        live.all_touched = False
        live.publish(self.now)
        if live.ended:
            self._finish(live)
        elif snapshot_due(live.run):
            self._snapshot(live)

    def lend(self, owner: Owner, workers: int) -> None:
        """Give an owner more workers, or (negative) take them back."""
        owner.lent += workers
        owner.backend.resize(owner.backend.max_workers + workers)
        self.hungry[owner.id] = owner

    # -- ends --------------------------------------------------------------------------------

    def _finish(self, live: LiveRun) -> None:
        self.forget(live)
        result = result_of(live.run, self.store.artifacts, self.now, live.warnings)
        for waiter in live.waiters:
            waiter.resolve(partial(waiter.future.set_result, result))

    def lose(self, live: LiveRun, refusal: AppendRefused) -> None:
        """Somebody else owns the run now: stop touching it, and wait for what they make of it."""
        logger().warning("a run was taken over by another owner", reason=str(refusal))
        family = self.families.of(live)
        self._refuse_replies({one.run.stream for one in family}, refusal)
        for one in family:
            self._drop(one)
            self.post(partial(self.ownership.following.follow_lost, one))  # in another turn

    def notice_losses(self, owner: Owner) -> None:
        """Let runs go that others took over while the owner seemed dead; a run in which nothing
        happens would not notice it by a refused append."""
        for live in list(owner.runs.values()):
            row = self.store.run(live.run.run_id)
            if row is not None and row.epoch > live.epoch and not live.pending:
                self.lose(live, AppendRefused(row.stream, f"epoch {row.epoch} has begun"))

    def _give_run_up(self, live: LiveRun, error: Exception) -> None:
        """Something is wrong with this run alone; it can be recovered from the log."""
        logger().exception("a run was given up in this process", run=live.run.run_id)
        for one in self.families.of(live) or [live]:
            self._drop(one)
            one.fail(error)

    def _drop(self, live: LiveRun) -> None:
        """Let a run go with attempts in flight: whatever they return comes too late."""
        if self.holds(live):
            self.forget(live)
        for i in list(live.in_flight):
            self.attempts.let_go(live, self.attempts.end(live, i))

    def holds(self, live: LiveRun) -> bool:
        """Whether this is the run that this process executes, not one that it has let go."""
        return self.runs.get(live.run.run_id) is live

    def forget(self, live: LiveRun) -> None:
        """Let a run go; what is recorded of it stays."""
        self.runs.pop(live.run.run_id, None)
        live.owner.runs.pop(live.run.run_id, None)
        self.grants.drop(live)

    def _snapshot(self, live: LiveRun) -> None:
        try:
            save_snapshot(self.store, live.run)
        except LogUnavailable as error:  # a snapshot only saves time
            logger().warning("no snapshot was taken", run=live.run.run_id, error=str(error))

    def _fail_all(self, error: Exception) -> None:
        """The log is beyond use, or we are wrong: nothing may be made up. Everybody is told."""
        if not isinstance(error, LogError):
            logger().exception("the loop failed; its runs can be recovered from the log")
        for live in list(self.runs.values()):
            self._drop(live)
            live.owner.queue.clear()
            live.fail(error)
        self._touched.clear()
        self.taken.clear()
        replies, self._replies = self._replies, []
        for future, _, _ in replies:
            future.set_exception(error)
        self.ownership.following.fail(error)
        self.ownership.release_idle()


def _nothing() -> None:
    """A message that only has a turn follow."""
