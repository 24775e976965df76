"""A deterministic simulation: one seed decides all that happens, and when.

Several processes, each the engine's real loop on a view of one log, have their turns when the
simulation says so. In between, attempts end in every way, time passes, clocks are set, people ask
for things, processes die and are stopped; see :mod:`simulation.world` for what the log does to
them. After every move all promises are checked; in the end there is peace, and every run must end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from simulation import scenario
from simulation.promises import Chronicle, Stock
from simulation.workers import ENDINGS, Job, Team, play
from simulation.world import SECOND, Closing, Crash, Hands, View, World

from semantica.pipeline.engine import attempt, live, loop, ownership, pool, stock, writing
from semantica.pipeline.engine.attempt import Attempt
from semantica.pipeline.engine.context import AttemptCancelled
from semantica.pipeline.engine.core import commands as c
from semantica.pipeline.engine.failure import FailureHandler
from semantica.pipeline.engine.live import Owner, Waiter
from semantica.pipeline.engine.loop import Loop
from semantica.pipeline.engine.requests import Submission
from semantica.pipeline.engine.result import PipelineFuture
from semantica.pipeline.events.codec import decode, encode
from semantica.pipeline.events.errors import (
    AppendRefused,
    EngineClosed,
    LogUnavailable,
    RunNotFound,
)
from semantica.pipeline.events.machines import PIPELINE_TABLE, PipelineStatus
from semantica.pipeline.events.resource import Ordering
from semantica.pipeline.projections import catchup
from semantica.pipeline.projections.catchup import load_run

POOL = "shop"
MOVES = 120
RUNS = 3
ROUNDS = 400
"""Of peace, in which every run has to end."""
EXCUSES = (AppendRefused, EngineClosed, LogUnavailable, RunNotFound, c.Refused)
"""Answers that somebody may get."""


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
        messages = self.loop._mailbox.collect(0)
        assert messages is not None
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


class Simulation:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.chance = self.world.chance
        self.world.meanwhile = self.others_go_on
        self.processes: list[Process] = []
        self.names = 0
        self.chronicles: dict[str, Chronicle] = {}
        self.stock = Stock(self.world.steady)
        self.position = 0
        self.executed: dict[tuple[str, str, int], str] = {}
        """By whom every attempt was executed."""
        self.submissions: dict[str, Submission] = {}
        self.results: list[tuple[Process, PipelineFuture]] = []
        self.asked: list[tuple[Process, Future[Any], Callable[[], None]]] = []
        """What was asked, and what must be so once it has been answered."""
        self.signals = 0
        self.marks: dict[tuple[str, str, str], Any] = {}
        """Checkpoints that have been acknowledged."""
        self.moves = 0
        self.steps = 0

    # -- the whole ---------------------------------------------------------------------------

    def run(self) -> None:
        """Live through it. Raises AssertionError."""
        for _ in range(self.chance.randint(1, 3)):
            self.begin_process()
        first = self.processes[0].loop.grants.pool(POOL)
        self.world.peace = True
        first.transact("somebody", scenario.supply)
        self.world.peace = False
        for _ in range(MOVES):
            self.move()
            self.check()
        self.world.peace = True
        self.make_peace()
        self.check_the_end()

    def move(self) -> None:
        """Something happens."""
        self.moves += 1
        kinds = list(WEIGHTS)
        kind = self.chance.choices(kinds, list(WEIGHTS.values()))[0]
        getattr(self, kind)()

    # -- processes ---------------------------------------------------------------------------

    def begin_process(self) -> Process:
        self.names += 1
        process = Process(self.world, f"p{self.names}", self.execute)
        self.processes.append(process)
        views = [one.view for one in self.processes]
        for one in self.processes:
            one.view.others = views
        return process

    def free(self) -> list[Process]:
        """Processes that can have a turn now."""
        now = self.world.mono
        return [one for one in self.processes if not one.busy and one.wakes_at <= now]

    def turn(self, process: Process | None = None) -> None:
        process = process or self.somebody()
        if process is None:
            return
        try:
            process.turn()
        except Crash:
            self.bury(process)
        if process.closing and process.name not in process.loop.owners:
            self.bury(process)

    def somebody(self) -> Process | None:
        free = self.free()
        return self.chance.choice(free) if free else None

    def others_go_on(self, view: View) -> None:
        """A process is stopped within an append, perhaps beyond its lease."""
        for _ in range(self.chance.randint(1, 8)):
            self.world.pass_time(self.chance.choice([0.0, 0.2, 2.0, 10.0]))
            if self.somebody() is None:
                continue
            self.chance.choice([self.turn, self.turn, self.finish, self.recover])()

    def bury(self, process: Process) -> None:
        self.processes.remove(process)
        self.world.dead.add(process.name)

    def crash(self) -> None:
        process = self.somebody()
        if process is not None:
            self.world.faults["crash"] += 1
            self.bury(process)

    def stop(self) -> None:
        """As a laptop that is closed."""
        process = self.somebody()
        if process is not None:
            self.world.faults["stopped"] += 1
            process.wakes_at = self.world.mono + self.chance.randint(1, 60) * SECOND

    def arrive(self) -> None:
        if len(self.processes) < 3:
            self.begin_process()

    def close(self) -> None:
        process = self.somebody()
        if process is not None and not process.closing:
            process.closing = True
            drain = self.chance.random() < 0.7
            close = process.loop.ownership.close
            process.loop.post(partial(close, process.owner, drain, lambda left: None))

    def recover(self) -> None:
        process = self.somebody()
        if process is not None and not process.closing:
            reply: Future[list[PipelineFuture]] = Future()
            self.ask(process, reply, lambda: None)
            ask = process.loop.ownership.recover
            process.loop.post(partial(ask, process.owner, {}, reply))

    # -- time --------------------------------------------------------------------------------

    def wait(self) -> None:
        self.world.pass_time(self.chance.choice([0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 40.0]))

    def wait_for_timer(self) -> None:
        """Until just before something is due."""
        process = self.somebody()
        due = process.loop.timers.next_in() if process is not None else None
        if due is not None and due < 500:
            self.world.pass_time(max(0.0, due - self.chance.random() * 0.005))

    def set_clock(self) -> None:
        if not self.world.steady:
            self.world.set_clock(self.chance.choice([-3600.0, -20.0, -1.0, 1.0, 20.0, 3600.0]))

    # -- people ------------------------------------------------------------------------------

    def submit(self) -> None:
        process = self.somebody()
        if process is None or process.closing:
            return
        known = [one for one in self.submissions.values() if one.given]
        if len(self.submissions) < RUNS:
            run_id = f"r{len(self.submissions) + 1}"
            definition = scenario.pipeline(self.chance, f"job {run_id}")
            asked = scenario.submission(self.world, run_id, process.name, definition)
            self.submissions[run_id] = asked
        elif known:
            asked = self.chance.choice(known)
        else:
            return
        waiter = Waiter(PipelineFuture(asked.run_id))
        self.results.append((process, waiter.future))
        process.loop.post(partial(process.loop.ownership.submit, process.owner, asked, waiter))

    def control(self) -> None:
        kind = self.chance.choices(list(CONTROLS), list(CONTROLS.values()))[0]
        if self.submissions:
            self.say(self.chance.choice(list(self.submissions)), kind)

    def signal(self) -> None:
        if self.submissions:
            run_id = self.chance.choice(list(self.submissions))
            self.say(run_id, c.Signal, self.chance.choice(["go", "stop"]))

    def say(self, run_id: str, kind: Any, name: str = "") -> None:
        process = self.somebody()
        if process is None or process.closing:
            return
        self.signals += 1
        actor = f"person {self.signals}"
        artifacts = self.world.store.artifacts
        command = kind(name, encode(self.signals, artifacts)) if kind is c.Signal else kind()
        reply: Future[None] = Future()
        told = partial(self.is_known, run_id, command, actor)
        self.ask(process, reply, told)
        post, asked = process.loop.post, process.loop.ownership.control
        post(partial(asked, process.owner, run_id, command, actor, {}, reply))

    def ask(self, process: Process, reply: Future[Any], told: Callable[[], None]) -> None:
        self.asked.append((process, reply, told))

    def is_known(self, run_id: str, command: Any, actor: str) -> None:
        """What was acknowledged is in the history or on its way, unless it changes nothing."""
        chronicle = self.chronicles[run_id]
        if isinstance(command, c.Signal):
            inbox = {item.actor for item in self.world.store.inbox()}
            over = chronicle.run.status.finished or "stopped" in chronicle.statuses
            assert actor in chronicle.actors | inbox or over, f"a signal of {actor} was lost"

    # -- workers -----------------------------------------------------------------------------

    def execute(self, attempt: Attempt) -> bool:
        """A worker gets an attempt; returns whether it will hang."""
        self.read_on()
        context = attempt.context
        key = context.run_id, context.step, attempt.number
        chronicle = self.chronicles[context.run_id]
        assert key not in self.executed, f"{key} is executed twice"
        assert key[1:] in chronicle.started, f"{key} is executed before it is recorded"
        self.executed[key] = f"epoch {chronicle.started[key[1:]][0]}"
        undone = chronicle.status in ("rolling_back", "rolled_back", "rollback_failed")
        for (run_id, step, name), value in self.marks.items():
            if (run_id, step) == key[:2] and not undone and step not in chronicle.completed:
                assert context.checkpoints[name] == value, "a checkpoint was lost"
        return self.chance.random() < 0.08

    def jobs(self) -> list[tuple[Process, Job]]:
        free = self.free()
        return [
            (one, job) for one in free for job in one.team.jobs if self.world.peace or not job.hangs
        ]

    def finish(self) -> None:
        """An attempt ends."""
        jobs = self.jobs()
        if not jobs:
            return
        process, job = self.chance.choice(jobs)
        process.team.jobs.remove(job)
        self.steps += 1
        if self.world.peace:
            ending, holds = "returns", True
        else:
            ending = self.chance.choices(list(ENDINGS), list(ENDINGS.values()))[0]
            holds = self.chance.random() < 0.7
            if job.attempt.context._asked_back and self.chance.random() < 0.4:
                ending = "hands back"
        given = play(job, ending, holds)
        if given is not None:
            self.compare(job, given)

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
            assert given == context.run_id, "a root gets the run's data"
        elif len(step.dependencies) == 1:
            assert [given] == list(recorded.values())
        else:
            assert given == recorded

    def speak(self) -> None:
        """A handler saves a checkpoint, records an item, or says how far it is."""
        jobs = self.jobs()
        if not jobs:
            return
        process, job = self.chance.choice(jobs)
        context = job.attempt.context
        what = self.chance.choice(["checkpoint", "item", "progress", "heartbeat"])
        if what == "progress":
            context.progress(job.marks, 10)
        elif what == "heartbeat":
            context.heartbeat()
        else:
            job.marks += 1
            key = f"{job.attempt.number}.{job.marks}"
            self.save(process, job, what, key)

    def save(self, process: Process, job: Job, what: str, key: str) -> None:
        """As the journal does, but for the waiting."""
        context, said = job.attempt.context, Future[bool]()
        value = encode(key, self.world.store.artifacts)
        command = None
        if what == "checkpoint":
            command = c.Checkpoint(job.attempt.step, job.attempt.number, key, value)
        else:
            context.journal.item(key, value)
        told = partial(self.is_saved, context.run_id, context.step, what, key, said, value)
        self.ask(process, said, told)
        process.loop.post(partial(context.journal._answer, command, said))  # type: ignore[attr-defined]

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

    # -- checks ------------------------------------------------------------------------------

    def read_on(self) -> None:
        """Read what is new in the log, event by event."""
        fresh = list(self.world.store.read_all(self.position))
        for envelope in fresh:
            kind, _, name = envelope.stream.partition("/")
            if kind == "resource":
                self.stock.read((envelope,))
                continue
            if name not in self.chronicles:
                definition = self.submissions[name].definition
                self.chronicles[name] = Chronicle(name, definition, envelope)
            self.chronicles[name].follow([envelope])
        self.position += len(fresh)

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

    # -- the end -----------------------------------------------------------------------------

    def make_peace(self) -> None:
        """Nothing goes wrong any more: every run ends."""
        for process in self.processes:
            process.wakes_at = 0
        for number in range(ROUNDS):
            if not any(not process.closing for process in self.processes):
                self.begin_process()
            for process in list(self.processes):
                self.turn(process)
            while self.jobs():
                self.finish()
            self.check()
            if all(one.run.status.finished for one in self.chronicles.values()):
                break
            if number % 4 == 0:
                self.help()
            long = number % 20 == 19  # clocks may have been set back, by hours in all
            self.world.pass_time(3600.0 if long else self.chance.choice([0.2, 2.0, 20.0]))
        else:
            stuck = {k: str(v.run.status) for k, v in self.chronicles.items()}
            raise Broken(f"after {ROUNDS} rounds of peace: {stuck}")
        for _ in range(40):  # whoever waits is told, and what is held is given back
            for process in list(self.processes):
                self.turn(process)
            while self.jobs():
                self.finish()
            self.world.pass_time(1.0)
        self.check()

    def help(self) -> None:
        """What people do for a run that does not go on by itself."""
        self.recover()
        for run_id, chronicle in self.chronicles.items():
            if chronicle.status in ("paused", "stopped"):
                self.say(run_id, c.Resume)
            elif chronicle.status == "running":
                for waited in list(chronicle.suspended.values()):
                    if waited.signal is not None and waited.due is None:
                        self.say(run_id, c.Signal, waited.signal)

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


WEIGHTS = {
    "turn": 40,
    "finish": 22,
    "wait": 10,
    "wait_for_timer": 6,
    "speak": 8,
    "submit": 5,
    "control": 3,
    "signal": 3,
    "recover": 2,
    "arrive": 1,
    "crash": 1,
    "stop": 1,
    "close": 0.4,
    "set_clock": 1,
}
CONTROLS = {c.Pause: 4, c.Resume: 6, c.Stop: 2, c.Cancel: 1.5}


class _Log:
    """The engine's own log: what it calls an exception is one."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **fields: None

    def exception(self, said: str, **fields: Any) -> None:
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, LogUnavailable):
            raise Broken(said) from error


@contextmanager
def stage() -> Iterator[None]:
    """Everything that would differ from run to run stands still."""
    still = SimpleNamespace(perf_counter=lambda: 0.0, thread_time=lambda: 0.0)
    before = random.getstate()
    with (
        mock.patch.multiple(catchup, SNAPSHOT_EVENTS=15),
        mock.patch.multiple(pool, SNAPSHOT_EVENTS=20, logger=_Log),
        mock.patch.multiple(loop, logger=_Log, peak_memory=lambda: 1.0),
        mock.patch.object(attempt, "time", still),
        mock.patch.object(ownership, "logger", _Log),
        mock.patch.object(writing, "logger", _Log),
        mock.patch.object(live, "logger", _Log),
        mock.patch.object(stock, "logger", _Log),
    ):
        yield
    random.setstate(before)


def simulate(seed: int) -> Simulation:
    """Live through the world of ``seed``.

    Raises:
        AssertionError: A promise was broken; the message ends with how to see it again.
    """
    random.seed(seed)
    simulation = Simulation(seed)
    with stage():
        try:
            simulation.run()
        except BaseException as error:
            error.add_note(f"seed {seed}: python tests/simulation/search.py --seed {seed}")
            raise
    return simulation
