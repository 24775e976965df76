"""Who watches a simulation: what has been acknowledged, executed and answered, against the log."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
from simulation.process import Broken, Process
from simulation.promises import Chronicle, Stock
from simulation.workers import Job
from simulation.world import World

from semantica.pipeline.engine.attempt import Attempt
from semantica.pipeline.engine.context import AttemptCancelled
from semantica.pipeline.engine.core import commands as c
from semantica.pipeline.engine.requests import Submission
from semantica.pipeline.engine.result import PipelineFuture
from semantica.pipeline.events.codec import decode, text_of
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.errors import (
    AppendRefused,
    EngineClosed,
    LogUnavailable,
    RunNotFound,
)
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.pipeline import Parent, PipelineSubmitted
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.catchup import load_run

EXCUSES = (AppendRefused, EngineClosed, LogUnavailable, RunNotFound, c.Refused)
"""Answers that somebody may get."""


class Watch:
    """Sees everything, and fails at the first broken promise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.processes: list[Process] = []
        self.chronicles: dict[str, Chronicle] = {}
        self.stock = Stock(world.steady)
        self.position = 0
        self.executed: set[tuple[str, str, int]] = set()
        self.submissions: dict[str, Submission] = {}
        self.results: list[tuple[Process, PipelineFuture]] = []
        self.asked: list[tuple[Process, Future[Any], Callable[[], None]]] = []
        """What was asked, and what must be so once it has been answered."""
        self.marks: dict[tuple[str, str, str], Any] = {}
        """Checkpoints that have been acknowledged."""

    # -- what is acknowledged, executed and given --------------------------------------------

    def is_known(self, run_id: str, command: Any, actor: str) -> None:
        """What was acknowledged is in the history or on its way, unless it changes nothing."""
        chronicle = self.chronicles[run_id]
        if isinstance(command, c.Signal):
            inbox = {item.actor for item in self.world.store.inbox()}
            status = chronicle.run.status
            over = status.finished and status is not PipelineStatus.FAILED
            over = over or "stopped" in chronicle.statuses
            assert actor in chronicle.actors | inbox or over, f"a signal of {actor} was lost"

    def execute(self, attempt: Attempt) -> bool:
        """A worker gets an attempt; returns whether it will hang."""
        self.read_on()
        context = attempt.context
        key = context.run_id, context.step, attempt.number
        chronicle = self.chronicles[context.run_id]
        assert key not in self.executed, f"{key} is executed twice"
        assert key[1:] in chronicle.started, f"{key} is executed before it is recorded"
        self.executed.add(key)
        undone = chronicle.status in ("rolling_back", "rolled_back", "rollback_failed")
        for (run_id, step, name), value in self.marks.items():
            if (run_id, step) == key[:2] and not undone and step not in chronicle.completed:
                assert context.checkpoints[name] == value, "a checkpoint was lost"
        return self.chance.random() < 0.08

    def compare(self, job: Job, given: Any) -> None:
        """A handler gets what its dependencies gave, as it is recorded."""
        context = job.attempt.context
        _, inputs = self.chronicles[context.run_id].started[context.step, job.attempt.number]
        artifacts = self.world.store.artifacts
        if not isinstance(inputs, dict):
            assert given == decode(inputs, artifacts), "what is undone is not what was done"
            return
        recorded = {name: decode(value, artifacts) for name, value in inputs.items()}
        step = self.chronicles[context.run_id].steps[context.step]
        if not step.dependencies:
            data = self.chronicles[context.run_id].submitted.data
            assert given == decode(data, artifacts), "a root gets the run's data"
        elif len(step.dependencies) == 1:
            assert [given] == list(recorded.values())
        else:
            assert given == recorded

    def is_saved(
        self, run_id: str, step: str, what: str, key: str, said: Future[bool], value: Any
    ) -> None:
        chronicle = self.chronicles[run_id]
        if not said.result():
            return  # it was told that it is too late
        if what == "checkpoint":
            assert chronicle.checkpoints[step, key] == value, "an acknowledged checkpoint is lost"
            self.marks[run_id, step, key] = value
        else:
            assert (step, key) in chronicle.items, "an acknowledged item is lost"

    # -- after every move --------------------------------------------------------------------

    def read_on(self) -> None:
        """Read what is new in the log, event by event."""
        fresh = list(self.world.store.read_all(self.position))
        for envelope in fresh:
            kind, _, name = envelope.stream.partition("/")
            if kind == "resource":
                self.stock.read((envelope,))
                continue
            if name not in self.chronicles:
                self.chronicles[name] = Chronicle(name, self.definition(envelope), envelope)
            self.chronicles[name].follow([envelope])
        self.position += len(fresh)

    def definition(self, first: Envelope) -> PipelineDefinition:
        submitted = to_event(first)
        assert isinstance(submitted, PipelineSubmitted)
        text = text_of(submitted.definition, self.world.store.artifacts)
        return msgspec.json.decode(text, type=PipelineDefinition)

    def is_over(self, chronicle: Chronicle) -> bool:
        """Whether a run has ended, for good if it is no step of one that may be resumed."""
        parent = chronicle.submitted.parent
        if parent is None or chronicle.run.status.finished:
            return chronicle.run.status.finished
        return not chronicle.run.status.active and self.is_over(self.chronicles[parent.run])

    def check_family(self, run_id: str, chronicle: Chronicle) -> None:
        """What a run and the step that it is promise one another."""
        for name, waited in chronicle.suspended.items():
            if waited.run is not None:
                child = self.chronicles[waited.run]
                assert child.submitted.parent == Parent(run_id, name)
        link = chronicle.submitted.parent
        if link is None:
            return
        around, state = self.chronicles[link.run], chronicle.run.state
        step = around.run.step(link.step)
        if state.status == "rolling_back":
            assert (around.status, step.status) == ("rolling_back", "compensating")
        elif chronicle.run.status.active:
            assert around.run.status.active, f"{state.status} within what is {around.status}"
            assert around.suspended[link.step].run == run_id, "a run goes on without its step"
        if chronicle.run.status.active:
            assert (state.owner, state.epoch) == (around.run.state.owner, around.run.state.epoch)
        if state.status == "completed" and around.status == "running":
            assert step.status != "suspended", "it was not told of the end"

    def check(self) -> None:
        """All that always holds."""
        self.read_on()
        for run_id, chronicle in self.chronicles.items():
            row = self.world.store.run(run_id)
            state = chronicle.run.state
            assert row is not None
            assert (row.status, row.owner, row.epoch) == (state.status, state.owner, state.epoch)
            assert chronicle.in_flight == {
                chronicle.run.graph.name(i): number for i, number in state.running.items()
            }
            self.check_family(run_id, chronicle)
        for process in self.processes:
            if not process.busy:
                self.compare_states(process)
        self.hear_answers()

    def compare_states(self, process: Process) -> None:
        for live_run in process.loop.runs.values():
            replayed = self.chronicles[live_run.run.run_id].run.state
            known = live_run.run.state
            assert not live_run.pending and live_run.recorded == known.version
            if known.version == replayed.version:
                assert known == replayed, "the live state differs from the replayed one"
            else:
                assert live_run.epoch < replayed.epoch, "somebody else has written to the run"

    def hear_answers(self) -> None:
        waiting = []
        for process, reply, told in self.asked:
            if not reply.done():
                waiting.append((process, reply, told))
            elif reply.exception() is None:
                told()
            elif not isinstance(reply.exception(), (*EXCUSES, AttemptCancelled)):
                raise Broken("a strange answer") from reply.exception()
        self.asked = waiting
        for _, future in self.results:
            if future.done() and future.exception() is None:
                status = future.result().status
                assert status.finished or status is PipelineStatus.STOPPED
                assert status in self.chronicles[future.run_id].statuses, "a made-up result"
            elif future.done() and not isinstance(future.exception(), EXCUSES):
                raise Broken("a strange result") from future.exception()

    def check_the_end(self) -> None:
        store = self.world.store
        for process, future in self.results:
            if process in self.processes:
                told = f"who waits for {future.run_id} at {process.name} was forgotten"
                assert future.done(), told
        for process, _, _ in self.asked:
            assert process not in self.processes, "a question was not answered"
        for process in self.processes:
            assert not process.loop.runs
            free, size = len(process.team._free), process.team.max_workers
            assert free == size, f"of {size} workers of {process.name} {free} are free"
        living = {process.name for process in self.processes}
        assert not self.stock.held_by(living), "something is still held"
        for run_id, chronicle in self.chronicles.items():
            replayed = load_run(store, run_id, snapshots=False).state
            assert replayed == load_run(store, run_id).state == chronicle.run.state
        rows = store.runs()
        store.rebuild()
        assert store.runs() == rows, "the directory cannot be rebuilt"
