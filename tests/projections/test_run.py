"""The fold: what is ready, what is kept, what a resume resets, and what it refuses."""

from __future__ import annotations

import pytest
from contract.runs import claim, completed, started
from story import ERROR, Story

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.envelope import NewEvent
from semantica.pipeline.events.errors import (
    IllegalTransition,
    LogCorrupt,
    RunNotFound,
    UnknownEvent,
)
from semantica.pipeline.events.machines import PipelineStatus, StepStatus
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.store import Batch, Snapshot
from semantica.pipeline.projections.catchup import (
    SNAPSHOT_BYTES,
    from_snapshot,
    load_run,
    save_snapshot,
    snapshot_due,
    take_snapshot,
)
from semantica.pipeline.projections.run import FOLD

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_ready_steps_go_by_priority_then_first_come_first_served() -> None:
    steps: dict[str, list[str]] = {
        "low": [],
        "first": [],
        "second": [],
        "high": [],
        "late": ["low"],
    }
    story = Story(steps, options={"low": {"priority": -1}, "high": {"priority": 5}}).claim()
    order = []
    while (name := story.next_ready()) is not None:
        order.append(name)
        story.start(name)
    assert order == ["high", "first", "second", "low"]
    story.complete("low")
    assert story.next_ready() == "late"


def test_an_interrupted_step_queues_again_behind_its_equals() -> None:
    story = Story({"a": [], "b": []}).claim().start("a")
    story.tell(s.StepInterrupted("a", 1))
    assert story.next_ready() == "b"
    story.start("b")
    assert story.next_ready() == "a"


def test_a_step_is_ready_when_the_last_of_its_dependencies_is_done() -> None:
    story = Story(DIAMOND).claim().start("a").complete("a").start("b", "c").complete("b")
    assert story.next_ready() is None
    story.complete("c")
    assert story.next_ready() == "d"


def test_an_output_leaves_memory_when_its_last_dependent_is_done() -> None:
    story = Story(DIAMOND).claim().start("a").complete("a").start("b", "c").complete("b")
    assert story.run.step("a").output is not None, "c may still fail and need it again"
    story.complete("c")
    assert story.run.step("a").output is None
    story.start("d").complete("d")
    kept = [name for name in DIAMOND if story.run.step(name).output is not None]
    assert kept == ["d"], "the output of a sink is the run's"


def test_a_resume_resets_what_failed_and_keeps_what_is_done() -> None:
    story = Story({"a": [], "b": [], "c": ["b"], "d": []}, on_failure="continue").claim()
    story.start("a").complete("a").start("b").after(1).fail("b")
    story.tell(s.StepSkipped("c", "upstream", "b"), p.PipelineFailed("b", ERROR))
    assert (story.run.state.skipped, len(story.run.state.failed)) == (1, 1)
    story.after(10).tell(p.PipelineResumed())
    status = [step.status for step in story.run.state.steps]
    assert status == [StepStatus.COMPLETED, *[StepStatus.PENDING] * 3]
    b = story.run.step("b")
    assert (b.error, b.retries, b.first_at, b.attempt) == (None, 0, 0, 1), "attempts only rise"
    state = story.run.state
    assert (state.skipped, state.failed, state.cause, state.ended_at) == (0, {}, None, 0)
    story.start("b")
    assert story.run.step("b").attempt == 2


def test_a_resume_sets_the_timers_of_waiting_retries() -> None:
    story = Story({"a": [], "b": []}).claim().start("a").fail("a").retry("a", 30)
    story.tell(p.PipelinePauseRequested(), p.PipelinePaused()).after(100)
    due = story.now + 5
    story.tell(p.PipelineResumed({"a": due}))
    assert story.run.state.retrying == {0: due}
    assert story.run.step("a").status is StepStatus.RETRYING
    assert story.run.state.halted_at == 0


def test_counts_and_metrics_add_up() -> None:
    story = Story({"a": [], "b": []}).claim().start("a", "b").fail("a").retry("a", 1)
    done = completed("b")
    story.tell(s.StepCompleted("b", 1, done.output, 0.5, metrics={"documents": 3, "bytes": 2**60}))
    story.start("a")
    story.tell(s.StepCompleted("a", 2, done.output, 0.5, metrics={"documents": 4}))
    assert story.run.state.metrics == {"documents": 7, "bytes": 2**60}
    assert (story.run.state.completed, story.run.state.retried) == (2, 1)
    assert load_run(story.store, "r").state == story.run.state


@pytest.mark.parametrize(("version", "epoch"), [(3, 1), (5, 1), (1, 1), (4, 0), (0, 9)])
def test_a_gap_in_versions_or_a_fallen_epoch_is_refused(version: int, epoch: int) -> None:
    story = Story({"a": []}).claim().start("a")
    before = take_snapshot(story.run)
    with pytest.raises(IllegalTransition, match=f"version {version} of epoch {epoch}"):
        story.run.apply(completed("a"), version=version, at=1, epoch=epoch)
    assert take_snapshot(story.run) == before


@pytest.mark.parametrize(
    "event", [started("x"), completed("x"), completed("a", 2), s.StepProgressed("a", 9, 1)]
)
def test_an_event_of_an_unknown_step_or_another_attempt_is_refused(event) -> None:  # type: ignore[no-untyped-def]
    story = Story({"a": []}).claim().start("a")
    before = take_snapshot(story.run)
    with pytest.raises(IllegalTransition, match=type(event).__name__):
        story.tell(event)
    assert take_snapshot(story.run) == before


@pytest.fixture
def long_story() -> Story:
    """Every kind of thing happens."""
    story = Story(DIAMOND | {"e": []}, on_failure="continue", retry=None).claim()
    story.start("a").after(1).tell(s.StepProgressed("a", 1, 1, 2, "half")).complete("a")
    story.start("b", "c").after(2).fail("b").retry("b", 5).after(5).start("b")
    story.tell(p.PipelinePauseRequested()).complete("b").tell(s.StepTimedOut("c", 1, ERROR, 3.0))
    story.tell(s.StepSkipped("d", "upstream", "c"), p.PipelinePaused())
    story.tell(claim("engine-2"), epoch=2).tell(p.PipelineResumed(), epoch=2)
    story.tell(started("e"), s.StepInterrupted("e", 1), started("e", 2), epoch=2)
    story.tell(p.PipelineCancelRequested(), s.StepCancelled("e", 2, "abandoned"), epoch=2)
    return story.tell(p.PipelineCancelled(), epoch=2)


def test_the_state_is_a_snapshot_and_the_events_after_it_at_every_version(
    long_story: Story,
) -> None:
    for version in range(1, long_story.run.state.version + 1):
        early = load_run(long_story.store, "r", snapshots=False, until=version)
        assert early.state.version == version
        copy = from_snapshot("r", long_story.definition, take_snapshot(early))
        assert copy.state == early.state
        save_snapshot(long_story.store, early)
        assert load_run(long_story.store, "r").state == long_story.run.state


def test_a_state_of_the_past_ignores_a_later_snapshot(long_story: Story) -> None:
    save_snapshot(long_story.store, long_story.run)
    early = load_run(long_story.store, "r", until=2)
    assert (early.state.version, early.status) == (2, PipelineStatus.RUNNING)
    late = load_run(long_story.store, "r", until=10**6)
    assert late.state == long_story.run.state


@pytest.mark.parametrize(
    "snapshot",
    [Snapshot(2, FOLD + 1, b"{}"), Snapshot(2, FOLD, b"nonsense"), Snapshot(2, FOLD, b'{"x":')],
)
def test_a_snapshot_of_another_fold_or_a_damaged_one_is_ignored(
    long_story: Story, snapshot: Snapshot
) -> None:
    long_story.store.save_snapshot("run/r", snapshot)
    assert load_run(long_story.store, "r").state == long_story.run.state


def test_snapshots_are_far_apart_and_the_larger_the_farther() -> None:
    run = Story({"a": []}).run
    assert not snapshot_due(run)
    run.state.version = 10_000
    assert snapshot_due(run)
    run.saved = (1, 0)
    assert not snapshot_due(run)
    run.state.version = 100_000
    run.saved = (50_000, 50_001 * SNAPSHOT_BYTES)
    assert not snapshot_due(run)
    run.saved = (50_000, 50_000 * SNAPSHOT_BYTES)
    assert snapshot_due(run)


def test_an_unknown_run_is_named() -> None:
    with pytest.raises(RunNotFound, match=r"no run with the id or name 'nowhere' in :memory:"):
        load_run(MemoryStore(), "nowhere")


def test_a_damaged_run_is_named() -> None:
    story = Story({"a": []})
    late = Batch("run/r", 1, 1, "x", 1, [NewEvent("StepDreamt", 1, b"{}")])
    story.store.append([late])
    with pytest.raises(UnknownEvent, match="event 2 of run/r is a StepDreamt"):
        load_run(story.store, "r")
    headless = MemoryStore()
    headless.append(
        [
            Batch(
                "run/h",
                0,
                1,
                "x",
                1,
                [NewEvent("StepStarted", 1, b'{"step":"a","attempt":1,"worker":"w"}')],
            )
        ]
    )
    with pytest.raises(LogCorrupt, match="run/h does not begin with PipelineSubmitted"):
        load_run(headless, "h")


def test_a_chain_declared_in_reverse_is_folded_without_recursion() -> None:
    size = 20_000
    story = Story({f"s{n}": [f"s{n - 1}"] if n else [] for n in reversed(range(size))})
    story.claim()
    for n in range(50):
        assert story.next_ready() == f"s{n}"
        story.start(f"s{n}").complete(f"s{n}")
    story.tell(p.PipelineCancelRequested(), p.PipelineCancelled())
    assert story.run.state.cancelled == size - 50
