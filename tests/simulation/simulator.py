"""A deterministic simulation: one seed decides all that happens, and when.

Several processes, each the engine's real loop on a view of one log, have their turns when the
simulation says so. In between, attempts end in every way, time passes, clocks are set, people ask
for things, processes die and are stopped; see :mod:`simulation.world` for what the log does to
them. After every move all promises are checked; in the end there is peace, and every run must end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from simulation import scenario
from simulation.process import POOL, Broken, Process
from simulation.stage import stage
from simulation.watch import Watch
from simulation.workers import ENDINGS, Job, play
from simulation.world import SECOND, Crash, View, World

from semantica.pipeline.engine.core import commands as c
from semantica.pipeline.engine.live import Waiter
from semantica.pipeline.engine.result import PipelineFuture
from semantica.pipeline.events.codec import encode

MOVES = 120
RUNS = 3
ROUNDS = 400
"""Of peace, in which every run has to end."""


class Simulation(Watch):
    """See the module."""

    def __init__(self, seed: int) -> None:
        super().__init__(World(seed))
        self.world.meanwhile = self.others_go_on
        self.names = 0
        self.signals = 0

    # -- the whole ---------------------------------------------------------------------------

    def run(self) -> None:
        """Live through it. Raises AssertionError."""
        for _ in range(self.chance.randint(1, 3)):
            self.begin_process()
        self.world.peace = True
        first = self.processes[0].loop.grants.pool(POOL)
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
            definition = scenario.pipeline(self.chance, f"job {run_id}", self.chance.randint(1, 7))
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
        if self.chronicles:
            self.say(self.chance.choice(list(self.chronicles)), kind)

    def signal(self) -> None:
        if self.chronicles:
            run_id = self.chance.choice(list(self.chronicles))
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

    # -- workers -----------------------------------------------------------------------------

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
            if all(map(self.is_over, self.chronicles.values())):
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
        for run_id, chronicle in list(self.chronicles.items()):
            if chronicle.status in ("paused", "stopped"):
                self.say(run_id, c.Resume)
            elif chronicle.status == "running":
                for waited in list(chronicle.suspended.values()):
                    if waited.signal is not None and waited.due is None:
                        self.say(run_id, c.Signal, waited.signal)


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
