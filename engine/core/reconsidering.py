"""What other code would have decided on a history: whether an upgrade is safe.

The recorded events are gone through in order. Each that began a decision is turned back into its
command, and the command decided anew, in the state that the same events lead to with the other
definition. The first decision that comes out otherwise ends the comparison: what follows in the
history would not have happened. What handlers returned, raised, and how long they took is taken as
recorded; so are the times of the clock, the words of people, and which worker was free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from ...events import pipeline as p
from ...events import step as s
from ...events.definition import PipelineDefinition, StepDefinition
from ...events.errors import IllegalTransition
from ...events.machines import StepStatus
from ...projections.run import Run
from .admission import is_failing, is_undone_inside, may_start
from .commands import Refused
from .decide import decide, settle
from .recorded import command_of

CLOSE = 1e-6
"""Seconds by which two delays may differ that are the same: they were rounded."""


class Recorded(msgspec.Struct, frozen=True):
    """An event of the history, as it stands in its envelope."""

    version: int
    at: int
    epoch: int
    event: Any


class Divergence(msgspec.Struct, frozen=True):
    """Where the other code would have decided otherwise.

    Args:
        version: Of the first event that would not have been recorded.
        at: When it was.
        recorded: The types of events that were recorded from there on, as far as they are compared.
        decided: The types of those that would have been.
        reason: Why, in words.
    """

    version: int
    at: int
    recorded: tuple[str, ...]
    decided: tuple[str, ...]
    reason: str


def reconsider(
    run_id: str, before: PipelineDefinition, now: PipelineDefinition, history: Sequence[Recorded]
) -> Divergence | None:
    """Where ``history``, which was made with ``before``, would have gone another way with ``now``.

    Raises:
        IllegalTransition: The history is not a lawful one of ``before``.
    """
    trial = _Trial(run_id, before, now, history)
    while trial.place < len(history):
        divergence = trial.decide_next()
        if divergence is not None:
            return divergence
    return None


class _Trial:
    """Two states that are folded from the same events, with the old and the new definition."""

    def __init__(
        self,
        run_id: str,
        before: PipelineDefinition,
        now: PipelineDefinition,
        history: Sequence[Recorded],
    ) -> None:
        self._history = history
        self.before, self.now = Run(run_id, before), Run(run_id, now)
        self.place = 0
        """Of the next event, in the history."""

    def decide_next(self) -> Divergence | None:
        """Decide what comes next; the difference, or None after it was folded."""
        here = self._history[self.place]
        otherwise = self._otherwise(here)
        if otherwise:
            return self._divergence(0, [], otherwise)
        decided = self._decided(here)
        if not decided:
            return self._divergence(0, [], _why_not(self.now, here.event))
        for offset, event in enumerate(decided):
            place = self.place + offset
            recorded = self._history[place].event if place < len(self._history) else None
            if recorded is None or not _is_like(recorded, event):
                return self._divergence(offset, decided[offset:], "")
        for recorded in self._history[self.place : self.place + len(decided)]:
            try:
                self._fold(recorded)
            except IllegalTransition as error:
                return self._divergence(0, [], str(error))
            self.place += 1
        return None

    def _fold(self, recorded: Recorded) -> None:
        place = {"version": recorded.version, "at": recorded.at, "epoch": recorded.epoch}
        event = recorded.event
        self.before.apply(event, **place)
        if isinstance(event, p.PipelineSubmitted):
            own, old = self.now.graph.definition, self.before.graph.definition
            given = None if old.parallelism else event.parallelism
            event = replace(event, parallelism=own.parallelism or given)
        self.now.apply(event, **place)

    def _decided(self, here: Recorded) -> list[Any]:
        run, event = self.now, here.event
        if self._is_told(event):
            return [event]
        follows = self.place + 1 < len(self._history)
        after = self._history[self.place + 1].event if follows else None
        command = command_of(run, event, here.at, after, self.before)
        if command is not None:
            try:
                return list(decide(run, command, here.at))
            except Refused:
                return []
        if isinstance(event, _SETTLED):
            measured = getattr(event, "memory", None)
            return [
                replace(end, memory=measured) if hasattr(end, "memory") else end
                for end in settle(run)
            ]
        return []

    def _is_told(self, event: Any) -> bool:
        """What is no decision on this run, but on the one that it is forked from, within, or
        around."""
        run = self.now
        if isinstance(event, p.PipelineSubmitted):
            return True
        if isinstance(event, s.StepReused):
            submitted = self._history[0].event
            return bool(event.source == submitted.forked_from)
        if isinstance(event, p.PipelineRollbackStarted | p.PipelineRollbackResumed):
            return run.state.parent is not None
        i = run.graph.index.get(getattr(event, "step", None) or "")
        if i is None:
            return False
        if isinstance(event, s.StepWoken) and event.ended is not None:
            return i in run.state.delegated
        undone = isinstance(event, s.StepCompensated | s.StepCompensationFailed)
        return undone and is_undone_inside(run, i)

    def _otherwise(self, here: Recorded) -> str:
        """What the other definition makes of what a worker or a timer brought about, if it would
        not have come to that."""
        name = getattr(here.event, "step", None)
        if not isinstance(name, str) or not name or not type(here.event).__name__.startswith("S"):
            return ""
        if name not in self.now.graph.index:
            return f"there is no step {name!r} any more"
        old, new = (
            run.graph.definition.steps[run.graph.index[name]] for run in (self.before, self.now)
        )
        return _cut_short(here.event, old, new) or _made_otherwise(here.event, old, new)

    def _divergence(self, offset: int, decided: Sequence[Any], reason: str) -> Divergence:
        place = min(self.place + offset, len(self._history) - 1)
        here = self._history[place]
        beyond = self.place + offset >= len(self._history)
        rest = [] if beyond else [one.event for one in self._history[place:]]
        recorded = [type(event).__name__ for event in rest[: max(1, len(decided))]]
        now = [type(event).__name__ for event in decided]
        told = reason or f"{_told(rest[:1])} was recorded; now {_told(decided[:1])}"
        return Divergence(here.version, here.at, tuple(recorded), tuple(now), told)


_SETTLED = (
    p.PipelinePaused,
    p.PipelineStopped,
    p.PipelineCancelled,
    p.PipelineCompleted,
    p.PipelineFailed,
    p.PipelineRollbackStarted,
    p.PipelineRolledBack,
    p.PipelineRollbackFailed,
)


def _cut_short(event: Any, old: StepDefinition, new: StepDefinition) -> str:
    """Timeouts are by the clock: what took longer than it now may would not have ended so."""
    took = getattr(event, "duration", None)
    if took is None or isinstance(event, s.StepCompensated | s.StepCompensationFailed):
        return ""
    if isinstance(event, s.StepTimedOut):
        silent = took != old.timeout
        limit = new.heartbeat_timeout if silent else new.timeout
        if limit is None or limit > took:
            rest = "it has no such limit now" if limit is None else f"it may take {limit:g} s now"
            return f"step {new.name!r} was given up after {took:g} s; {rest}"
    elif new.timeout != old.timeout and new.timeout is not None and took > new.timeout:
        return f"step {new.name!r} took {took:g} s; now it is given up after {new.timeout:g} s"
    return ""


def _made_otherwise(event: Any, old: StepDefinition, new: StepDefinition) -> str:
    """What a step is, where that decides what happens."""
    name = new.name
    if isinstance(event, s.StepSuspended) and event.run is not None and new.pipeline is None:
        return f"step {name!r} is no pipeline any more"
    if isinstance(event, s.StepStarted):
        if new.executor not in (None, old.executor) and event.backend != new.executor:
            return f"step {name!r} would start in a {new.executor}, not in a {event.backend}"
        if new.resources != old.resources and dict(event.grants) != dict(new.resources):
            return f"step {name!r} would start with {_amounts(new)}, not with {_amounts(old)}"
        if event.cache is not None and new.cache is None:
            return f"the output of step {name!r} is not kept for the same work any more"
    if isinstance(event, s.StepReused) and _work(old) != _work(new):
        return f"step {name!r} does other work now, for which nothing was kept"
    if isinstance(event, s.StepSkipped) and event.attempt and new.when is None:
        return f"step {name!r} was skipped by its condition; it has none now"
    return ""


def _amounts(step: StepDefinition) -> str:
    return ", ".join(f"{much:g} {name}" for name, much in step.resources.items()) or "no resources"


def _work(step: StepDefinition) -> tuple[Any, ...]:
    return step.type, step.config, step.handler, step.fingerprint, step.cache is None


def _is_like(recorded: Any, decided: Any) -> bool:
    """Whether an event is the one that was recorded, but for what was rounded."""
    if type(recorded) is not type(decided):
        return False
    delay = getattr(recorded, "delay", None)
    if delay is not None:
        if abs(delay - decided.delay) > CLOSE * max(1.0, delay):
            return False
        return bool(replace(decided, delay=delay, due=recorded.due) == recorded)
    if isinstance(recorded, p.PipelineResumed):
        return bool(set(recorded.due) == set(decided.due))
    if isinstance(recorded, s.StepSuspended) and None not in (recorded.due, decided.due):
        return bool(replace(decided, due=recorded.due) == recorded)
    return bool(recorded == decided)


def _told(events: Sequence[Any]) -> str:
    """An event in a few words."""
    if not events:
        return "nothing more"
    (event,) = events
    facts = ("step", "attempt", "delay", "inputs", "reason")
    told = [f"{name} {getattr(event, name)}" for name in facts if getattr(event, name, None)]
    kind = type(event).__name__
    return f"{kind} ({', '.join(told)})" if told else kind


def _why_not(run: Run, event: Any) -> str:
    """Why what happened would not have happened."""
    state, kind = run.state, type(event).__name__
    if isinstance(event, _SETTLED) and state.unfinished and not is_failing(run):
        names = [
            run.graph.name(i)
            for i, step in enumerate(state.steps)
            if step.status not in (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED)
        ]
        return f"the run would not have ended yet ({kind}): {_listed(names)} has not been done"
    i = run.graph.index.get(getattr(event, "step", None) or "")
    if isinstance(event, s.StepStarted | s.StepQueued | s.StepReused) and i is not None:
        step, name = state.steps[i], event.step
        if step.remaining:
            behind = [
                run.graph.name(j)
                for j in run.graph.dependencies[i]
                if state.steps[j].status is not StepStatus.COMPLETED
            ]
            return f"step {name!r} would not have started: it waits for {_listed(behind)}"
        if not may_start(run):
            cap = state.parallelism
            more = f", at most {cap} at once" if cap is not None and not is_failing(run) else ""
            return f"step {name!r} would not have started: the run admits no further step{more}"
        return f"step {name!r} would not have started: it is {step.status}"
    if isinstance(event, s.StepRetryScheduled | s.StepCompensationRetryScheduled):
        return f"step {event.step!r} would not have been tried again"
    if isinstance(event, s.StepFallbackScheduled):
        return f"the fallback of step {event.step!r} would not have been called"
    if i is not None:
        return (
            f"{kind} of step {event.step!r} would not have followed: it is {state.steps[i].status}"
        )
    return f"{kind} would not have followed: the run is {state.status}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"step {shown}{more}" if len(names) == 1 else f"steps {shown}{more}"
