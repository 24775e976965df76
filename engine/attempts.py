"""Attempts in flight: what a committed state asks for is begun, and what comes back is decided."""

from __future__ import annotations

import random
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from ..events.codec import Value
from ..events.sealed_store import artifacts_under
from ..events.values import ErrorInfo
from .classify import timed_out
from .context import AttemptCancelled, Context
from .core import commands as c
from .core.decide import decide
from .core.effects import Acquire, Alarm, Effect, Execute, Interrupt, Wake, Watch
from .lines import AttemptLines
from .live import InFlight, LiveRun

if TYPE_CHECKING:
    from .desks import Held
    from .loop import Loop


class Attempts:
    """The loop's side of its workers. All but the ``post`` methods belong to turns."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def begin(self, live: LiveRun, i: int, flight: InFlight) -> None:
        """An attempt has a worker."""
        self._loop.gathering.in_flight += 1
        live.begin(i, flight)

    def end(self, live: LiveRun, i: int) -> InFlight:
        """An attempt is over for its run."""
        self._loop.gathering.in_flight -= 1
        flight = live.end(i)
        flight.lines.end()
        return flight

    def flight(
        self, live: LiveRun, i: int, worker: str, held: Held | None, gpus: tuple[int, ...]
    ) -> InFlight:
        """The attempt that has just been started."""
        loop, run, step = self._loop, live.run, live.run.state.steps[i]
        name = run.graph.name(i)
        lines = AttemptLines(
            loop.lines,
            run.run_id,
            name,
            step.attempt,
            live.owner.log_level,
            loop.clock,
            run.state.encoding,
        )
        context = Context(
            run_id=run.run_id,
            step=name,
            attempt=step.attempt,
            artifacts=artifacts_under(loop.store, run.state.encoding),
            clock=loop.clock,
            report=partial(self.post_report, run.run_id, i, step.attempt),
            hear=lines,
            journal=LoopJournal(loop, live, i, step.attempt),
            checkpoints=step.checkpoints,
            allow_pickle=run.state.allow_pickle,
            gpus=gpus,
            waits=dict(step.waits),
            items=dict(step.items),
        )
        return InFlight(step.attempt, worker, context, lines, held)

    def perform(self, live: LiveRun, effect: Effect) -> None:
        """Do what the state asks for, unless it has been done."""
        if isinstance(effect, Execute):
            self._execute(live, effect)
        elif isinstance(effect, Interrupt):
            self._interrupt(live, effect)
        elif isinstance(effect, Wake):
            self._wake(live, effect)
        elif isinstance(effect, Acquire):
            self._loop.grants.perform(live, effect)
        elif isinstance(effect, Alarm):
            rouse = c.Rouse(effect.step, effect.due)
            self._loop.timers.at(effect.due, partial(self._record, live, rouse))
        else:
            self._watch(live, effect)

    def _execute(self, live: LiveRun, effect: Execute) -> None:
        flight = live.in_flight[effect.step]
        flight.context.ask_back(effect.hand_back or live.owner.draining)
        if flight.given:
            return
        flight.given = True
        attempt = live.attempt(effect.step, flight.context, self._loop.closing)
        report = partial(self._post_outcome, live, effect.step, flight)
        release = partial(self._post_release, live, flight)
        assert flight.worker is not None  # until it has been given
        live.owner.backend.submit(flight.worker, attempt, report, release)
        seconds = attempt.definition.timeout
        if seconds is not None:
            fire = partial(self._timed_out, live, effect.step, flight, seconds)
            self._loop.timers.after(seconds, fire)
        if attempt.definition.heartbeat_timeout is not None:
            flight.context.heartbeat()
            self._listen(live, effect.step, flight, attempt.definition.heartbeat_timeout)

    def _listen(self, live: LiveRun, i: int, flight: InFlight, seconds: float) -> None:
        """Give an attempt up that has shown no life for so many seconds."""
        if live.in_flight.get(i) is not flight:
            return
        silent = (self._loop.clock.monotonic() - flight.context.beat_at) / 1e9
        if silent < seconds:
            again = partial(self._listen, live, i, flight, seconds)
            self._loop.timers.after(seconds - silent, again)
        else:
            self._timed_out(live, i, flight, seconds, "has shown no life for")

    def _interrupt(self, live: LiveRun, effect: Interrupt) -> None:
        flight = live.in_flight.get(effect.step)
        if flight is None or flight.interrupted:
            return
        flight.interrupted = True
        flight.context.cancel()
        fire = partial(self._give_up, live, effect.step, flight)
        self._loop.timers.after(live.owner.cancel_grace, fire)

    def _wake(self, live: LiveRun, effect: Wake) -> None:
        self._loop.timers.at(effect.due, partial(self._mature, live, effect.step, effect.due))

    def _mature(self, live: LiveRun, i: int, due: int) -> None:
        state = live.run.state
        if not self._loop.holds(live) or due not in (state.retrying.get(i), state.undo_at):
            return
        if i in state.retrying:
            live.mature(i, due)
        self._loop.touch(live)

    def _watch(self, live: LiveRun, effect: Watch) -> None:
        if live.watched != effect.deadline:
            live.watched = effect.deadline
            self._loop.timers.at(effect.deadline, partial(self._record, live, c.Expire()))

    # What comes back

    def _post_outcome(self, live: LiveRun, i: int, flight: InFlight, command: Any) -> None:
        ring = not live.owner.backend.here
        self._loop.post(partial(self._outcome, live, i, flight, command), ring=ring)

    def _post_release(self, live: LiveRun, flight: InFlight) -> None:
        self._loop.post(partial(self._release, live, flight), ring=not live.owner.backend.here)

    def post_report(
        self, run_id: str, i: int, attempt: int, done: float, total: float | None, text: str | None
    ) -> None:
        """Pass on how far an attempt is. Any thread."""
        self._loop.post(partial(self._progressed, run_id, c.Report(i, attempt, done, total, text)))

    def _outcome(self, live: LiveRun, i: int, flight: InFlight, command: c.Command | None) -> None:
        self._release(live, flight)
        if flight.held is not None:
            self._loop.grants.release(flight.held)  # also of one that was given up: now it is over
        if live.in_flight.get(i) is not flight:
            return  # given up before
        self.end(live, i)
        if isinstance(command, c.Delegate):
            if self._loop.holds(live):
                self._loop.families.delegate(live, command)
        elif command is not None:
            self._record(live, command)

    def _release(self, live: LiveRun, flight: InFlight) -> None:
        """Its worker is free for others; the attempt may go on without it."""
        if flight.worker is not None:
            live.owner.backend.release(flight.worker)
            flight.worker = None
            self._loop.hungry[live.owner.id] = live.owner

    def _progressed(self, run_id: str, command: c.Report) -> None:
        live = self._loop.runs.get(run_id)
        if live is not None:
            self._record(live, command)

    def _timed_out(
        self,
        live: LiveRun,
        i: int,
        flight: InFlight,
        seconds: float,
        said: str = "took longer than",
    ) -> None:
        if live.in_flight.get(i) is not flight:
            return
        how = self._abandon(live, i, flight)
        error = timed_out(flight.attempt, seconds, how, said)
        self._record(live, c.TimeOut(i, flight.attempt, error, random.random(), seconds))

    def _give_up(self, live: LiveRun, i: int, flight: InFlight) -> None:
        if live.in_flight.get(i) is flight:
            how = self._abandon(live, i, flight)
            self._record(live, c.Cancelled(i, flight.attempt, how))

    def _abandon(self, live: LiveRun, i: int, flight: InFlight) -> str:
        """Stop waiting for an attempt, whose process is killed, if it has one; whatever a thread
        or a coroutine returns comes too late."""
        return self.let_go(live, self.end(live, i))

    def let_go(self, live: LiveRun, flight: InFlight) -> str:
        """Cancel an attempt and give up on its worker; returns what became of it."""
        how = "abandoned"
        if flight.worker is not None:
            how = live.owner.backend.abandon(flight.worker)
            flight.worker = None
            self._loop.hungry[live.owner.id] = live.owner
        flight.context.cancel()
        if flight.held is not None and not flight.given:
            self._loop.grants.release(flight.held)  # it never began
            self._loop.wake()
        return how

    def _record(self, live: LiveRun, command: c.Command) -> None:
        if self._loop.holds(live):
            self._loop.record(live, decide(live.run, command, self._loop.now))


class LoopJournal:
    """The :class:`~semantica.pipeline.engine.journal.Journal` of an attempt in this process."""

    def __init__(self, loop: Loop, live: LiveRun, step: int, attempt: int) -> None:
        self._loop, self._live = loop, live
        self._step, self._attempt = step, attempt

    def checkpoint(self, key: str, value: Value) -> None:
        self._say(c.Checkpoint(self._step, self._attempt, key, value))

    def item(self, key: str, outcome: Value | ErrorInfo) -> None:
        self._loop.post(partial(self._record, c.Item(self._step, self._attempt, key, outcome)))

    def flush(self) -> None:
        self._say(None)

    def _say(self, command: c.Command | None) -> None:
        said: Future[bool] = Future()
        if not self._loop.post(partial(self._answer, command, said)) or not said.result():
            raise AttemptCancelled

    def _answer(self, command: c.Command | None, said: Future[bool]) -> None:
        """Answered after this turn's commit, and so after all that was said before."""
        current = self._live.run.state.running.get(self._step) == self._attempt
        held = self._loop.holds(self._live) and current
        if held and command is not None:
            self._record(command)
        self._loop.reply(said, held, self._live.run.stream)

    def _record(self, command: c.Command) -> None:
        if self._loop.holds(self._live):
            events = decide(self._live.run, command, self._loop.now)
            self._loop.record(self._live, events)
