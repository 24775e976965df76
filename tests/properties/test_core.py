"""The pure core against a shell that crashes, forgets, repeats itself and lies about the time.

Whatever happens, in whatever order, the invariants hold after every move, and from wherever it has
got to, a run that is left in peace ends.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

from contract.runs import completed as completion
from contract.runs import submission, value
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from properties.closed import folds_the_same
from properties.history import History
from properties.shell import COMPLETED, RUN, Shell, copy_of, is_done

from semantica.pipeline.engine.core import commands as c
from semantica.pipeline.engine.core.decide import decide, settle
from semantica.pipeline.engine.core.effects import Alarm
from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.definition import PipelineDefinition, RetryPolicy, StepDefinition
from semantica.pipeline.events.envelope import first_break
from semantica.pipeline.events.machines import PIPELINE_TABLE, PipelineStatus, StepStatus
from semantica.pipeline.events.upcasters import Event
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.projections.catchup import load_run, take_snapshot
from semantica.pipeline.projections.progress import progress
from semantica.pipeline.projections.run import Run

policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 3),
    initial_delay=st.sampled_from([0.0, 0.5, 60.0]),
    jitter=st.sampled_from([0.0, 0.5, 1.0]),
    max_elapsed=st.sampled_from([None, None, 90.0]),
)


@st.composite
def definitions(draw: st.DrawFn) -> PipelineDefinition:
    """Any graph of up to 12 steps, declared in any order."""
    size = draw(st.integers(1, 12))
    steps = []
    for i in range(size):
        before = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        steps.append(
            StepDefinition(
                f"s{i}",
                draw(st.sampled_from(["test", "sturdy"])),
                tuple(f"s{j}" for j in before),
                priority=draw(st.integers(0, 2)),
                retry=draw(st.none() | policies),
                at_most_once=draw(st.integers(0, 4)) == 0,
                compensate=draw(st.sampled_from([None, "module:undo", ""])),
            )
        )
    return PipelineDefinition("job", tuple(draw(st.permutations(steps))))


def error(retryable: bool, retry_after: float | None = None) -> ErrorInfo:
    return ErrorInfo("builtins.OSError", "no", retryable=retryable, retry_after=retry_after)


def outcomes(i: int, attempt: int, draw: float = 0.5) -> list[c.Command]:
    """Everything that can be said about an attempt."""
    return [
        c.Complete(i, attempt, value(f"{i}/{attempt}"), 0.5, 0.1, {"items": 1}),
        c.Fail(i, attempt, error(True, 60 * draw), draw),
        c.Fail(i, attempt, error(False), draw),
        c.TimeOut(i, attempt, error(True), draw),
        c.Report(i, attempt, 1, 2, "half"),
        c.Cancelled(i, attempt, "abandoned"),
        c.Yield(i, attempt, 0.5),
        c.Checkpoint(i, attempt, "so far", value("half")),
        c.Skip(i, attempt),
        c.Suspend(i, attempt, f"{attempt}: sleep", 0.5, 30.0),
        c.Suspend(i, attempt, f"{attempt}: wait_for go", 0.5, None, "go"),
        c.Suspend(i, attempt, f"{attempt}: wait_for go", 0.5, 40 * draw, "go"),
    ]


WAITS = [9, 10, 11]
"""Where these are among the outcomes."""
CONTROLS: list[c.Control] = [c.Pause(), c.Resume(), c.Stop(), c.Cancel()]
SIGNALS: list[c.Control] = [c.Signal("go", value("go")), c.Signal("else", value("else"))]
RESUMABLE = (
    PipelineStatus.PAUSED,
    PipelineStatus.STOPPED,
    PipelineStatus.FAILED,
    PipelineStatus.ROLLBACK_FAILED,
)
QUEUEABLE = RESUMABLE[:3]
BUSY = {"seed": st.integers(0, 2**16), "moves": st.integers(1, 12)}
"""Before most things that happen there is some work, chosen by a seed: drawing each move would
leave nothing to draw the rest from."""


class Core(RuleBasedStateMachine):
    """See the module."""

    @initialize(
        definition=definitions(),
        on_failure=st.sampled_from(["stop", "continue", "rollback"]),
        deadline=st.sampled_from([None, None, 100 * 10**9]),
        parallelism=st.sampled_from([None, 1, 2, 3]),
        retry=st.none() | policies,
        policies=st.dictionaries(st.just("sturdy"), policies),
        fallbacks=st.dictionaries(st.just("sturdy"), st.just("module:function")),
    )
    def submit(self, definition: PipelineDefinition, **fields: Any) -> None:
        submitted = submission(definition, data=value("input"), **fields)
        self.shell = Shell(definition, submitted)
        self.history = History(definition, submitted)
        self.past: list[tuple[int, int]] = []
        """Attempts that have been started, and may report again and again."""
        self.percentage = 0.0
        self.probed = self.sent = self.measured = 0

    @property
    def run(self) -> Run:
        return self.shell.run

    # -- what happens ------------------------------------------------------------------------

    @rule(**BUSY)
    def work(self, seed: int, moves: int) -> None:
        """Steps start, report and end, and time passes."""
        chance = Random(seed)
        for _ in range(moves):
            self.shell.claim_if_new()
            self.shell.now += chance.randrange(2_000_000_000)
            startable, flights = self.shell.startable(), self.shell.in_flight()
            if startable and (not flights or chance.random() < 0.6):
                self.start(chance.choice(startable), chance)
            elif flights:
                self.finish(*chance.choice(flights), chance)
            elif self.shell.is_late() and chance.random() < 0.5:
                self.shell.turn(c.Expire())
            elif self.shell.alarms() and chance.random() < 0.5:
                self.ring(chance.choice(self.shell.alarms()))
            elif self.shell.wanted() and chance.random() < 0.5:
                self.signal(chance)
            elif self.shell.timers():
                self.shell.now += 60_000_000_000
            elif self.shell.status in RESUMABLE and chance.random() < 0.3:
                self.shell.turn(c.Resume())
            self.hear_of_an_attempt_that_is_over(chance)
            self.check()

    def ring(self, alarm: Alarm) -> None:
        """The alarm of a suspended step, and that alarm again."""
        self.shell.now = max(self.shell.now, alarm.due)
        rouse = c.Rouse(alarm.step, alarm.due)
        self.shell.turn(rouse)
        assert decide(self.run, rouse, self.shell.now) == []

    def signal(self, chance: Random) -> None:
        """One of those that differ, so that their order shows."""
        self.sent += 1
        name = chance.choice(["go", "go", "else"])
        with suppress(c.Refused):
            self.shell.turn(c.Signal(name, value(f"{name} {self.sent}")))

    def start(self, i: int, chance: Random) -> None:
        """Or have it wait for resources; or, if it has waited, perhaps in vain."""
        waits = i in self.shell.queued()
        forward = self.shell.status is not PipelineStatus.ROLLING_BACK
        if forward and chance.random() < 0.2:
            denied = c.Deny(i, error(chance.random() < 0.3))
            assert self.shell.turn(denied if waits else c.Queue(i))
            return
        (_,) = self.shell.turn(c.Start(i, "worker"))
        self.past.append((i, self.run.state.steps[i].attempt))

    def finish(self, i: int, attempt: int, chance: Random) -> None:
        self.shell.turn(c.Report(i, attempt, 1, 2))
        if chance.random() < 0.3:
            self.shell.turn(c.Checkpoint(i, attempt, "so far", value(f"{attempt}")))
        if chance.random() < 0.1:
            self.signal(chance)
        ending = chance.choice([0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 6, 8, *WAITS])
        if self.shell.status is PipelineStatus.CANCELLING:
            ending = chance.choice([ending, 5])
        self.shell.turn(outcomes(i, attempt, chance.random())[ending])
        assert i not in self.run.state.running

    def hear_of_an_attempt_that_is_over(self, chance: Random) -> None:
        for i, attempt in chance.sample(self.past, min(2, len(self.past))):
            if self.run.state.running.get(i) != attempt:
                for outcome in outcomes(i, attempt):
                    assert decide(self.run, outcome, self.shell.now) == []

    @rule(command=st.sampled_from(CONTROLS), **BUSY)
    def control(self, command: c.Control, seed: int, moves: int) -> None:
        self.work(seed, moves)
        if isinstance(command, c.Cancel) and seed % 3:
            return  # what is cancelled is over: let most runs live longer
        try:
            self.shell.turn(command)
        except c.Refused as refused:
            assert RUN in str(refused)
            assert str(self.shell.status) in str(refused)

    @precondition(lambda self: self.shell.status in QUEUEABLE)
    @rule(**BUSY)
    def wait_in_a_queue(self, seed: int, moves: int) -> None:
        """A run that rests goes back to its queue, and may be told something there."""
        (queued,) = self.shell.turn(c.Enqueue())
        assert queued == p.PipelineQueued()
        assert decide(self.run, c.Resume(), self.shell.now) == []
        self.shell.now += seed * 10**6
        if seed % 2:
            self.signal(Random(seed))
        assert not self.shell.timers() and not self.shell.alarms(), "timers stand still"
        if seed % 3:
            self.work(seed, moves)

    @rule(name=st.sampled_from(["go", "else"]), **BUSY)
    def send(self, name: str, seed: int, moves: int) -> None:
        """Whether somebody waits for it or not."""
        self.work(seed, moves)
        self.signal(Random(seed))

    @rule(**BUSY)
    def expire(self, seed: int, moves: int) -> None:
        """The timer of the deadline fires, perhaps too early."""
        self.work(seed, moves)
        if seed % 4 == 0:
            self.shell.turn(c.Expire())

    @rule(lost=st.sampled_from([None, *CONTROLS]), **BUSY)
    def crash(self, lost: c.Control | None, seed: int, moves: int) -> None:
        """Perhaps with a decision that was folded, but not committed."""
        self.work(seed, moves)
        if lost:
            with suppress(c.Refused):
                self.shell.fold(decide(self.run, lost, self.shell.now))
        self.shell.crash()
        assert not self.run.state.running, "what the dead owner ran is over"

    @precondition(lambda self: self.shell.deposed)
    @rule(informed=st.booleans(), **BUSY)
    def an_old_owner_returns(self, informed: bool, seed: int, moves: int) -> None:
        self.work(seed, moves)
        run, epoch = self.shell.deposed[seed % len(self.shell.deposed)]
        if epoch == self.run.state.epoch:
            return
        before = list(self.shell.store.read_all()), self.shell.store.runs()
        events: list[Event] = [completion("s0"), *settle(run)]
        after = self.run.state.version if informed else run.state.version
        refusal = self.shell.append(after, epoch, events)
        assert refusal is not None
        assert "epoch" in str(refusal)
        assert before == (list(self.shell.store.read_all()), self.shell.store.runs())

    @rule(snapshot=st.booleans(), seconds=st.sampled_from([0.001, 1, 59, 3600]), **BUSY)
    def let_time_pass(self, snapshot: bool, seconds: float, seed: int, moves: int) -> None:
        self.work(seed, moves)
        self.shell.now += int(seconds * 1e9)
        if snapshot:
            self.shell.snapshot()

    # -- what always holds -------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        self.live_replayed_and_snapshot_with_tail_are_equal()
        self.the_history_keeps_every_promise()
        self.counters_are_what_counting_gives()
        self.the_next_step_is_the_best_that_is_ready()
        self.an_output_is_kept_exactly_as_long_as_it_is_needed()
        self.progress_falls_only_after_a_reset()
        self.whatever_is_asked_the_answer_is_lawful()

    def live_replayed_and_snapshot_with_tail_are_equal(self) -> None:
        replayed = load_run(self.shell.store, RUN, snapshots=False)
        assert replayed.state == self.run.state
        assert load_run(self.shell.store, RUN).state == self.run.state
        assert take_snapshot(copy_of(self.run)) == take_snapshot(self.run)

    def the_history_keeps_every_promise(self) -> None:
        self.history.read(self.shell.store.read(f"run/{RUN}", self.history.version))
        state = self.run.state
        assert self.history.status == state.status
        assert self.history.in_flight == {
            self.run.graph.name(i): attempt for i, attempt in state.running.items()
        }
        row = self.shell.store.run(RUN)
        assert row is not None
        assert (row.status, row.owner, row.epoch) == (state.status, state.owner, state.epoch)

    def counters_are_what_counting_gives(self) -> None:
        state = self.run.state
        status = [step.status for step in state.steps]
        assert state.completed == sum(one in COMPLETED for one in status)
        assert state.skipped == status.count(StepStatus.SKIPPED)
        assert state.cancelled == status.count(StepStatus.CANCELLED)
        assert len(state.failed) == status.count(StepStatus.FAILED)
        assert len(state.retrying) == status.count(StepStatus.RETRYING)
        undoing = status.count(StepStatus.COMPENSATING)
        assert len(state.running) == status.count(StepStatus.RUNNING) + undoing
        assert len(state.suspended) == status.count(StepStatus.SUSPENDED)
        assert sorted(i for waiting in state.awaiting.values() for i in waiting) == [
            i for i, step in enumerate(state.steps) if step.signal is not None
        ]
        assert all(state.awaiting.values())
        assert all(state.signals.values())
        assert len(state.waiting) == status.count(StepStatus.WAITING)
        assert state.metrics == ({"items": state.completed} if state.completed else {})

    def the_next_step_is_the_best_that_is_ready(self) -> None:
        ready, first = self.shell.ready(), self.run.next_ready()
        assert (first is not None) == bool(ready)
        if first is not None:
            priority = {i: self.run.graph.definition.steps[i].priority for i in ready}
            assert priority[first] == max(priority.values())

    def an_output_is_kept_exactly_as_long_as_it_is_needed(self) -> None:
        graph, steps = self.run.graph, self.run.state.steps
        for i, step in enumerate(steps):
            takers = [j for j in graph.dependents[i] if not is_done(steps[j])]
            undone = graph.definition.steps[i].compensate is not None
            needed = step.status in COMPLETED and (undone or takers or i in graph.sinks)
            needed = needed and step.status is not StepStatus.COMPENSATED
            assert (step.output is not None) == bool(needed)

    def progress_falls_only_after_a_reset(self) -> None:
        now = progress(self.run, self.shell.now)
        news = self.shell.store.read(f"run/{RUN}", self.measured)
        reset = any(envelope.type == "PipelineResumed" for envelope in news)
        assert now.percentage >= self.percentage or reset
        self.percentage, self.measured = now.percentage, self.run.state.version

    def whatever_is_asked_the_answer_is_lawful(self) -> None:
        """Every control, and everything that can be said about one step, on copies."""
        self.probed = (self.probed + 1) % len(self.run.state.steps)
        i = self.probed
        attempt = self.run.state.steps[i].attempt
        commands = [*CONTROLS, *SIGNALS, c.Expire(), c.Start(i, "worker"), *outcomes(i, attempt)]
        commands.append(c.Rouse(i, self.run.state.suspended.get(i, 0)))
        commands += [c.Enqueue(), c.Queue(i), c.Deny(i, error(False)), c.Deny(i, error(True))]
        if (self.run.state.status, "PipelineClaimed") in PIPELINE_TABLE:
            commands.append(c.Claim("owner", "host", 1, "1.0"))
        for command in commands:
            copy = copy_of(self.run)
            try:
                events = decide(copy, command, self.shell.now)
            except c.Refused:
                refusable = (c.Pause, c.Resume, c.Stop, c.Cancel, c.Signal, c.Enqueue)
                assert type(command) in refusable
                continue
            while events:
                for event in events:
                    version = copy.state.version + 1
                    copy.apply(event, version=version, at=self.shell.now, epoch=10**6)
                events = settle(copy)

    # -- what must happen in the end ---------------------------------------------------------

    def teardown(self) -> None:
        """Left in peace, every run ends."""
        if not hasattr(self, "shell"):
            return
        moves = 0
        while not self.shell.status.finished:
            self.move_on()
            moves += 1
            assert moves < 200, f"stuck in {self.shell.status}"
        self.the_history_keeps_every_promise()
        assert first_break(self.shell.store.read(f"run/{RUN}")) is None
        folds_the_same(self.run.graph.definition, self.shell.store.read(f"run/{RUN}"))

    def move_on(self) -> None:
        shell = self.shell
        if shell.status is PipelineStatus.PENDING:
            shell.claim()
        elif shell.status in (PipelineStatus.PAUSED, PipelineStatus.STOPPED):
            shell.turn(c.Resume())
        elif shell.in_flight():
            i, attempt = shell.in_flight()[0]
            cancelling = shell.status is PipelineStatus.CANCELLING
            shell.turn(outcomes(i, attempt)[5 if cancelling else 0])
        elif shell.startable():
            shell.turn(c.Start(shell.startable()[0], "worker"))
        elif shell.is_late():
            shell.turn(c.Expire())
        elif shell.timers():
            shell.now = min(timer.due for timer in shell.timers())
        elif shell.alarms():
            self.ring(shell.alarms()[0])
        else:
            assert shell.wanted(), f"stuck in {shell.status}: {list(shell.run.told)}"
            shell.turn(c.Signal(shell.wanted()[0], value("at last")))


TestCore = Core.TestCase
# To hunt a failure, add Phase.shrink: finding a small example may take minutes.
TestCore.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
