"""A run in this process: its state, and what belongs to this process alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from ..events.codec import Value
from ..events.definition import StepDefinition
from ..events.envelope import CLEAR
from ..events.errors import LogCorrupt
from ..events.machines import PipelineStatus, StepStatus
from ..events.upcasters import Event
from ..projections.progress import progress
from ..projections.run import Run
from .attempt import Attempt
from .backends.backend import Backend
from .context import Context
from .core.admission import may_start, retry_policy
from .core.ordering import Rank, rank
from .failure import FailureHandler, fall_back
from .lines import AttemptLines
from .logger import logger
from .model import Given, fingerprint
from .notify import Notifier
from .requests import Submission
from .result import PipelineFuture

if TYPE_CHECKING:
    from .desks import Held
    from .resources import ResourceScheduler
    from .supply import Supply


MAX_REMEMBERED = 256
"""Pipelines whose handlers an engine keeps."""


class Waiter(msgspec.Struct):
    """Somebody who waits for a run: a future, and perhaps a progress callback."""

    future: PipelineFuture
    notifier: Notifier | None = None

    def resolve(self, outcome: Callable[[], None]) -> None:
        """Settle the future with ``outcome``, after every progress has been delivered."""
        if self.future.done():
            return
        if self.notifier is not None:
            self.notifier.close(outcome)
        else:
            outcome()


class InFlight(msgspec.Struct):
    """An attempt that is with a worker."""

    attempt: int
    worker: str | None
    """None once the attempt goes on without one."""
    context: Context
    lines: AttemptLines
    held: Held | None = None
    """Resources, until it is really over."""
    given: bool = False
    """Its worker has it."""
    interrupted: bool = False


class Owner:
    """An engine as the loop sees it: it owns runs under its id and carries them out."""

    def __init__(
        self,
        owner_id: str,
        backend: Backend,
        failures: FailureHandler,
        supply: Supply,
        *,
        executor: str,
        strict: bool,
        cancel_grace: float,
        log_level: str = "info",
    ) -> None:
        self.id = owner_id
        self.backend = backend
        self.failures = failures
        self.supply = supply
        self.executor = executor
        self.strict = strict
        self.cancel_grace = cancel_grace
        self.log_level = log_level
        """From which on lines of handlers are kept."""
        self.expires = 0
        """End of its lease, ns; 0 while it is no member of the log."""
        self.runs: dict[str, LiveRun] = {}
        self.queue: list[tuple[Rank, LiveRun]] = []
        """Heap of the runs that could start a step."""
        self.given: dict[str, Mapping[str, Given]] = {}
        """By the name of the pipeline, the newest last."""
        self.busy: Counter[str] = Counter()
        """Attempts in flight, by pipeline."""
        self.draining = False
        self.lent = 0
        """Workers that stand in for those whose handlers wait for a run of this owner."""
        self.let_go: Callable[[], None] | None = None
        """Ends what it has subscribed to."""

    def remember(self, pipeline: str, handlers: Mapping[str, Given]) -> None:
        """Keep what a pipeline brought along, for its runs that are resumed later here."""
        self.given.pop(pipeline, None)
        self.given[pipeline] = handlers
        if len(self.given) > MAX_REMEMBERED:
            del self.given[next(iter(self.given))]

    def scheduler(self) -> ResourceScheduler:
        """What it has of resources. Any thread."""
        return self.supply.attach(self)

    def close(self) -> None:
        """End its workers, once they are idle."""
        if self.let_go is not None:
            self.let_go()
        self.backend.close()

    def drain(self) -> None:
        """Begin nothing more, and ask for back what can be handed back."""
        self.draining = True
        for live in self.runs.values():
            for flight in live.in_flight.values():
                flight.context.ask_back(True)


class LiveRun:
    """A run that an owner in this process executes."""

    def __init__(
        self, run: Run, owner: Owner, epoch: int, handlers: Mapping[str, Given] | None = None
    ) -> None:
        self.run = run
        self.owner = owner
        self.epoch = epoch
        self.root = run.run_id
        """The outermost run around it, which it is owned, and lost, with."""
        self.handlers = {**owner.given.get(run.state.name, {}), **(handlers or {})}
        self.recorded = run.state.version
        """Version up to which the events are committed."""
        self.pending: list[tuple[str, list[Event]]] = []
        """Events decided since, by actor, in order."""
        self.touched: set[int] = set()
        self.all_touched = True
        self.in_flight: dict[int, InFlight] = {}
        self.submission: Submission | None = None
        """What began the run, if it was begun by this process."""
        self.answers = owner.failures.answers()
        """What is done about failures; of a run that was begun here, as it was then."""
        self.waiters: list[Waiter] = []
        self.warnings: list[str] = []
        """What was odd since this process has it; the run's own are in its state."""
        self.queued = False
        self.watched = 0
        """The deadline that a timer is set for, ns."""
        self._matured: list[tuple[int, int, int]] = []
        """Heap of ``(-priority, due, step)``; may hold retries that are planned otherwise now."""

    def begun_by(self, submission: Submission) -> None:
        """It is a new run, that somebody in this process asked for."""
        self.submission = submission
        self.owner.remember(submission.definition.name, submission.handlers)
        self.answers = submission.answers

    def record(self, events: list[Event], actor: str, now: int) -> None:
        """Fold the turn's events; they are committed, or the run forgotten, before it ends."""
        if not events:
            return
        index = self.run.graph.index
        for event in events:
            version = self.run.state.version + 1
            self.run.apply(event, version=version, at=now, epoch=self.epoch)
            step = getattr(event, "step", None)
            if type(event).__name__.startswith("Pipeline"):
                self.all_touched = True
            elif step is not None:  # else a signal: whom it wakes has an event of its own
                self.touched.add(index[step])
        if self.pending and self.pending[-1][0] == actor:
            self.pending[-1][1].extend(events)
        else:
            self.pending.append((actor, list(events)))

    def mature(self, i: int, due: int) -> None:
        """The retry that was planned for ``due`` may start."""
        priority = self.run.graph.definition.steps[i].priority
        heappush(self._matured, (-priority, due, i))

    def can_start(self) -> bool:
        """Whether another step could start now."""
        return self.next_step() is not None and may_start(self.run)

    def next_step(self) -> int | None:
        """The step that should start first: ready, or with a retry that is due."""
        if self.run.state.status == PipelineStatus.ROLLING_BACK:
            return self.run.state.undo[-1] if self.run.state.undo else None
        retrying, matured, ready = self.run.state.retrying, self._matured, self.run.state.ready
        # A pause moves the due time, so what had matured before it has to mature again.
        while matured and retrying.get(matured[0][2]) != matured[0][1]:
            heappop(matured)
        if matured and (not ready or matured[0][0] <= ready[0][0]):
            return matured[0][2]
        return ready[0][2] if ready else None

    def begin(self, i: int, flight: InFlight) -> None:
        """An attempt is with a worker."""
        self.in_flight[i] = flight
        self.owner.busy[self.run.state.name] += 1

    def end(self, i: int) -> InFlight:
        """An attempt is over for the run."""
        self.owner.busy[self.run.state.name] -= 1
        return self.in_flight.pop(i)

    def rank(self, order: int) -> Rank:
        """The run's place among those of its owner that could start a step."""
        state = self.run.state
        return rank(
            self.owner.supply.ordering,
            order=order,
            priority=state.priority,
            deadline=state.deadline,
            share=self.owner.busy[state.name],
        )

    def executor(self, i: int) -> str:
        """Where a step's next attempt is carried out; what runs instead of its handler, in a
        thread, which has it."""
        definition = self.run.graph.definition.steps[i]
        instead = self.run.state.steps[i].fallback or self.run.state.undo
        if instead or definition.pipeline is not None:
            return "thread"
        return definition.executor or self.owner.executor

    def cache_key(self, i: int) -> str | None:
        """What the work of a step is known by, if its output may serve again."""
        definition = self.run.graph.definition.steps[i]
        if definition.cache is None or self.run.state.steps[i].fallback or self.run.state.undo:
            return None
        if self.run.state.encoding != CLEAR:  # it would tell that two runs did the same work
            return None
        from .caching import cache_key  # few steps are cached

        inputs = self._inputs(i)
        named = [("", inputs)] if isinstance(inputs, Value) else sorted(inputs.items())
        return cache_key(definition, self._given(definition), named)

    def attempt(self, i: int, context: Context, closing: threading.Event) -> Attempt:
        """What a worker needs for the attempt at a step that has started."""
        definition = self.run.graph.definition.steps[i]
        if self._undoes(i):
            instead: Callable[..., Any] | None = self._undo(definition)
        else:
            instead = self._fallback(i) or self._told(i)
        return Attempt(
            step=i,
            number=context.attempt,
            definition=definition if definition.pipeline is None else _without_inner(definition),
            inputs=self._output(i) if self._undoes(i) else self._inputs(i),
            given=self._given(definition),
            rules=self.answers.rules,
            instead=instead,
            policy=retry_policy(self.run, i),
            artifacts=context.artifacts,
            allow_pickle=self.run.state.allow_pickle,
            strict=self.owner.strict,
            context=context,
            closing=closing,
            executor=self.executor(i),
        )

    def _inputs(self, i: int) -> Mapping[str, Value] | Value:
        """The recorded inputs of a step: one value, or several by the dependency's name."""
        state, graph = self.run.state, self.run.graph
        before = graph.dependencies[i]
        if not before:
            return state.data
        values: dict[str, Value] = {}
        for j in before:
            output = state.steps[j].output
            if output is None and state.steps[j].status is StepStatus.SKIPPED:
                continue  # by its condition
            if output is None:
                raise LogCorrupt(f"{self.run.stream}: no output of step {graph.name(j)!r}")
            values[graph.name(j)] = output
        return values if len(before) > 1 else values[graph.name(before[0])]

    def _given(self, definition: StepDefinition) -> Given:
        """What was given with the pipeline; a changed handler is worth a warning."""
        given = self.handlers.get(definition.name, _NOTHING)
        if definition.pipeline is not None:
            from .nested import hand_over  # few steps are pipelines

            return given._replace(handler=partial(hand_over, self.run.state.allow_pickle))
        if given.handler is not None and definition.fingerprint is not None:
            warning = f"step {definition.name!r}: its handler changed since the run was submitted"
            changed = fingerprint(given.handler) != definition.fingerprint
            if changed and warning not in self.warnings:
                self.warnings.append(warning)
                logger().warning(warning, run=self.run.run_id)
        return given

    def _undoes(self, i: int) -> bool:
        return self.run.state.steps[i].status is StepStatus.COMPENSATING

    def _output(self, i: int) -> Value:
        output = self.run.state.steps[i].output
        if output is None:
            raise LogCorrupt(f"{self.run.stream}: no output of step {self.run.graph.name(i)!r}")
        return output

    def _undo(self, definition: StepDefinition) -> Callable[..., Any]:
        """The undoing of a step, as the attempt at it."""
        from .undo import undo  # few runs are rolled back

        given = self.handlers.get(definition.name, _NOTHING).compensate
        return partial(undo, given or definition.compensate or "")

    def _fallback(self, i: int) -> Callable[..., Any] | None:
        """The fallback that is the attempt at this step, if it has come to that."""
        state, kind = self.run.state, self.run.graph.definition.steps[i].type
        step = state.steps[i]
        if not step.fallback or step.error is None:
            return None
        known = self.answers.fallbacks.get(kind, state.fallbacks[kind])
        return partial(fall_back, known, step.error)

    def _told(self, i: int) -> Callable[..., Any] | None:
        """What tells how the run of a step ended, if the step is a pipeline that was woken."""
        ended = self.run.state.steps[i].ended
        if ended is None:
            return None
        from .nested import tell  # few steps are pipelines

        return partial(tell, self.run.state.allow_pickle, ended)

    def publish(self, now: int) -> None:
        """Tell those who wait how far the run is."""
        notifiers = [waiter.notifier for waiter in self.waiters if waiter.notifier]
        if notifiers:
            current = progress(self.run, now)
            for notifier in notifiers:
                notifier.publish(current)

    def fail(self, error: Exception) -> None:
        """Tell those who wait that this process cannot go on with the run."""
        for waiter in self.waiters:
            waiter.resolve(partial(waiter.future.set_exception, error))

    @property
    def ended(self) -> bool:
        """The run is over for this process."""
        status = self.run.status
        return status.finished or status is PipelineStatus.STOPPED


def _without_inner(definition: StepDefinition) -> StepDefinition:
    return msgspec.structs.replace(definition, pipeline=None)


_NOTHING = Given()
