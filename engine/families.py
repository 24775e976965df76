"""Runs that are steps of other runs: begun, halted, woken, taken over and undone with those.

A family is a run with the runs of its steps, and of theirs. All of it has one owner, one epoch and
one commit: what a turn decides for one of them and what follows for another is recorded together
or not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..events.errors import AppendRefused, LogCorrupt
from ..events.machines import PIPELINE_TABLE, PipelineStatus, StepStatus
from ..events.pipeline import PipelineCompleted, PipelineFailed
from ..events.sealed_store import artifacts_under
from ..events.upcasters import Event
from ..projections.catchup import load_run
from ..projections.run import Run
from .core import commands as c
from .core import nesting
from .core.admission import goes_on, is_undone_inside
from .core.decide import decide, settle
from .live import LiveRun, Owner
from .model import Given
from .process import peak_memory
from .requests import claim_by
from .submission import new_id, submitted_as_step

if TYPE_CHECKING:
    from .loop import Loop

_NOTHING = Given()


class Families:
    """Part of a :class:`~semantica.pipeline.engine.loop.Loop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def of(self, live: LiveRun) -> list[LiveRun]:
        """The family of a run, as far as it is in motion here."""
        return [one for one in live.owner.runs.values() if one.root == live.root]

    # -- a turn ------------------------------------------------------------------------------

    def settle(self, touched: Iterable[LiveRun]) -> None:
        """What follows for these runs, and for those around them and within."""
        waiting = deque(touched)
        while waiting:
            live = waiting.popleft()
            if not self._loop.holds(live):
                continue
            with suppress(AppendRefused):  # lost, to somebody who has taken over a part of it
                waiting.extend(self._settle(live))

    def _settle(self, live: LiveRun) -> Iterator[LiveRun]:
        """The runs around it and within which it concerns."""
        if live.run.state.deadline:  # nothing more starts after it
            self._loop.record(live, decide(live.run, c.Expire(), self._loop.now))
        yield from self._reach_children(live)
        while events := settle(live.run, drained=self._drained(live)):
            self._loop.record(live, [_measured(event) for event in events])
            yield from self._reach_children(live)
        yield from self._tell_parent(live)

    def _reach_children(self, live: LiveRun) -> Iterator[LiveRun]:
        """Ask of the runs of its steps what is asked of a run; one that has ended meanwhile, when
        it could not be told, wakes its step."""
        if not live.run.state.delegated:
            return
        command = nesting.asked(live.run)
        if command is None and not live.all_touched:
            return
        for i, run_id in list(live.run.state.delegated.items()):
            status = self._status(run_id)
            if not status.active and status is not PipelineStatus.PAUSED:
                events = nesting.wake(live.run, i, self._run(run_id))
                self._loop.record(live, events)
                if events or not isinstance(command, c.Cancel) or status.finished:
                    continue
            if command is not None:
                child = self._hold(live, i)
                with suppress(c.Refused):  # what was asked of it before goes further
                    events = decide(child.run, command, self._loop.now)
                    self._loop.record(child, events)
                    if events:
                        yield child

    def _drained(self, live: LiveRun) -> bool:
        """Whether what its state asks of the runs of its steps is done."""
        children = live.run.state.delegated.values()
        if not children or nesting.asked(live.run) is None:
            return True
        return not any(self._status(child).active for child in children)

    def _tell_parent(self, live: LiveRun) -> Iterator[LiveRun]:
        """The end of a run wakes the step that it is; that of its rollback ends the undoing."""
        link = live.run.state.parent
        parent = self._loop.runs.get(link.run) if link is not None else None
        if link is None or parent is None:
            return
        i = parent.run.graph.index[link.step]
        events = nesting.undone(parent.run, i, live.run, self._loop.now)
        events = events or nesting.wake(parent.run, i, live.run)
        if events:
            self._loop.record(parent, events)
        if events or nesting.asked(parent.run) is not None:  # it may be drained now
            yield parent

    def _status(self, run_id: str) -> PipelineStatus:
        live = self._loop.runs.get(run_id)
        if live is not None:
            return live.run.status
        row = self._loop.patiently(partial(self._loop.store.run, run_id))
        if row is None:
            raise LogCorrupt(f"a step's run {run_id} is not in {self._loop.store.location}")
        return row.status

    def _run(self, run_id: str) -> Run:
        live = self._loop.runs.get(run_id)
        return live.run if live is not None else self._load(run_id)

    def _load(self, run_id: str) -> Run:
        return self._loop.patiently(partial(load_run, self._loop.store, run_id))

    # -- beginning and going on --------------------------------------------------------------

    def delegate(self, live: LiveRun, command: c.Delegate) -> None:
        """Have a step's run begin, or go on after another attempt at the step."""
        with suppress(AppendRefused):
            self._delegate(live, command)

    def _delegate(self, live: LiveRun, command: c.Delegate) -> None:
        i, now = command.step, self._loop.now
        before = live.run.state.steps[i].child
        old = self._run(before) if before is not None else None
        if old is not None and not nesting.is_resumable(old):
            old = None
        run_id = old.run_id if old is not None else new_id()
        self._loop.record(live, decide(live.run, replace(command, run=run_id), now))
        if i not in live.run.state.delegated:
            return  # it was handed back, since the run is halted
        seconds = live.run.graph.definition.steps[i].timeout
        deadline = None if seconds is None else now + int(seconds * 1e9)
        if old is None:
            self._begin(live, i, command, run_id, deadline)
        elif old.status is PipelineStatus.COMPLETED:
            self._loop.record(live, nesting.wake(live.run, i, old))
        else:
            child = self._hold(live, i)
            self._loop.record(child, nesting.go_on(child.run, now, deadline))
            self.resume(child)

    def _begin(
        self, live: LiveRun, i: int, command: c.Delegate, run_id: str, deadline: int | None
    ) -> None:
        event, definition = submitted_as_step(
            live.run,
            i,
            command.data,
            artifacts_under(self._loop.store, live.run.state.encoding),
            live.owner.id,
            deadline,
        )
        child = self._adopt(live, i, Run(run_id, definition))
        self._loop.record(child, [event])
        self._loop.record(child, decide(child.run, claim_by(live.owner.id), self._loop.now))

    def resume(self, live: LiveRun) -> None:
        """A run goes on after a pause, a stop or a failure, and with it what was halted in it.

        Raises:
            AppendRefused: Somebody else has taken the family over.
        """
        for i, run_id in list(live.run.state.delegated.items()):
            if self._status(run_id) in _HALTED:
                child = self._hold(live, i)
                with suppress(c.Refused):
                    self._loop.record(child, decide(child.run, c.Resume(), self._loop.now))
                self.resume(child)

    def _hold(self, live: LiveRun, i: int) -> LiveRun:
        """The run of a step, in this process, and its own with it.

        Raises:
            AppendRefused: Somebody else has taken it over, and all of the family, which is let go.
        """
        run_id = live.run.state.steps[i].child
        assert run_id is not None  # who asks has seen it
        child = self._loop.runs.get(run_id)
        if child is None:
            run = self._load(run_id)
            if run.state.epoch > live.epoch:
                refusal = AppendRefused(run.stream, f"epoch {run.state.epoch} has begun")
                self._loop.lose(live, refusal)
                raise refusal
            child = self._adopt(live, i, run)
            self._claim(child)
        return child

    def _adopt(self, live: LiveRun, i: int, run: Run) -> LiveRun:
        child = LiveRun(run, live.owner, live.epoch)
        child.root = live.root
        child.answers = live.answers
        child.handlers = dict(live.handlers.get(live.run.graph.name(i), _NOTHING).nested)
        self._loop.ownership.adopt(child)
        self._loop.touch(child)  # at the end of the turn it is let go again, if it has ended
        return child

    def _claim(self, child: LiveRun) -> None:
        """Take it over with its parent, unless that has been done, or it has ended."""
        state = child.run.state
        theirs = state.owner != child.owner.id or state.epoch < child.epoch
        if theirs and (state.status, "PipelineClaimed") in PIPELINE_TABLE:
            claimed = decide(child.run, claim_by(child.owner.id), self._loop.now)
            self._loop.record(child, claimed)
        self.claim_children(child)

    # -- ownership ---------------------------------------------------------------------------

    def claim_children(self, live: LiveRun) -> None:
        """A run was taken over, and with it those of its steps."""
        state = live.run.state
        undone = [i for i in state.running if is_undone_inside(live.run, i)]
        for i in [*state.delegated, *undone]:
            child = state.steps[i].child
            if child is not None and not self._status(child).finished:
                self._hold(live, i)

    def claim_with_parent(self, owner: Owner, run: Run) -> LiveRun:
        """Take over a run that is a step of another one: with that one.

        Raises:
            Refused: The other run is not at this step.
        """
        link = run.state.parent
        assert link is not None  # as who asks has seen
        parent = self._loop.runs.get(link.run)
        around = parent.run if parent is not None else self._load(link.run)
        step = around.step(link.step)
        undone = step.status is StepStatus.COMPENSATING
        if step.child != run.run_id or not (undone or step.status is StepStatus.SUSPENDED):
            raise c.Refused(f"{_apart(run, around)}; control that run")
        if parent is None:
            parent = self._loop.ownership.claim(owner, link.run, {}, around)
        return self._hold(parent, parent.run.graph.index[link.step])

    def admit(self, run: Run, command: c.Control) -> None:
        """See to it that a step's run does not go on while the run around it is halted, or after
        that has been told of its end.

        Raises:
            Refused: It would; the message names the run to resume.
        """
        link = run.state.parent
        if link is not None and isinstance(command, c.Resume):
            around = self._run(link.run)
            here = around.state.delegated.get(around.graph.index[link.step]) == run.run_id
            if not here or not goes_on(around):
                raise c.Refused(f"{_apart(run, around)}; resume that run")

    # -- undoing -----------------------------------------------------------------------------

    def undo(self, live: LiveRun, i: int) -> bool:
        """Have the next step to be undone undo what its run did; False: a function does that."""
        if not is_undone_inside(live.run, i):
            return False
        events = decide(live.run, c.Start(i, ""), self._loop.now)
        self._loop.record(live, events)
        if events:
            with suppress(AppendRefused):
                child = self._hold(live, i)
                self._loop.record(child, nesting.undo(child.run))
                self._claim(child)
                self._loop.post(partial(self._loop.touch, child))  # there may be nothing to undo
        return True


def _measured(event: Event) -> Event:
    """The end of a run says what this process took."""
    if isinstance(event, PipelineCompleted | PipelineFailed):
        return replace(event, memory=peak_memory())
    return event


_HALTED = (PipelineStatus.PAUSING, PipelineStatus.PAUSED, PipelineStatus.STOPPED)


def _apart(run: Run, around: Run) -> str:
    link = run.state.parent
    step = link.step if link is not None else ""
    return (
        f"run {run.run_id} ({run.state.name}) is step {step!r} of run {around.run_id} "
        f"({around.state.name}), which is {around.status}"
    )
