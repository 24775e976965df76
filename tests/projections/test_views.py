"""What people see of a run: progress, report, metrics and timeline."""

from __future__ import annotations

import pytest
from contract.runs import SECOND, completed
from story import ERROR, Story

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.machines import PipelineStatus, StepStatus
from semantica.pipeline.projections.metrics import metrics
from semantica.pipeline.projections.progress import Progress, expected_durations, progress
from semantica.pipeline.projections.status import report
from semantica.pipeline.projections.timeline import timeline

CHAIN = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}


def seen(story: Story, expected: dict[str, float] | None = None) -> Progress:
    return progress(story.run, story.now, expected)


def test_progress_goes_from_nothing_to_all() -> None:
    story = Story(CHAIN)
    begun = seen(story)
    assert (begun.percentage, begun.status, begun.elapsed) == (0.0, PipelineStatus.PENDING, 0.0)
    assert begun.estimated_remaining is None, "nothing is known yet"
    story.after(100).claim().start("a").after(10)
    assert seen(story).running_steps == ("a",)
    assert seen(story).elapsed == pytest.approx(10), "waiting for an owner does not count"
    story.complete("a")
    half = seen(story)
    assert (half.percentage, half.completed_steps, half.total_steps) == (25.0, 1, 4)
    for name in "bcd":
        story.start(name).after(10).complete(name)
    story.tell(p.PipelineCompleted((6,))).after(1000)
    ended = seen(story)
    assert (ended.percentage, ended.estimated_remaining) == (100.0, 0.0)
    assert ended.elapsed == pytest.approx(40), "the clock of an ended run stands still"


def test_without_earlier_runs_the_average_so_far_foresees_the_rest() -> None:
    story = Story(CHAIN).claim().start("a").after(10).complete("a")
    assert seen(story).estimated_remaining == pytest.approx(30)


def test_earlier_durations_foresee_the_rest_at_the_pace_kept_so_far() -> None:
    expected = {"a": 10.0, "b": 100.0, "c": 1.0, "d": 1.0}
    story = Story(CHAIN).claim()
    assert seen(story, expected).estimated_remaining == pytest.approx(112)
    story.start("a").after(20).complete("a")
    assert seen(story, expected).estimated_remaining == pytest.approx(204), "twice as slow"
    story.start("b").after(100)
    assert seen(story, expected).estimated_remaining == pytest.approx((112 - 110) * 120 / 110)
    partly = {"a": 10.0}
    assert seen(story, partly).estimated_remaining == pytest.approx(20 * 120 / 20), "c, d: as usual"


def test_durations_of_a_run_foresee_the_next() -> None:
    story = Story(CHAIN).claim().start("a").after(10).complete("a").start("b").after(2).fail("b")
    assert expected_durations(story.run) == {"a": 10.0}


def test_skipped_steps_count_as_done_and_failed_ones_do_not() -> None:
    story = Story(CHAIN, on_failure="continue").claim().start("a").fail("a")
    story.tell(*[s.StepSkipped(name, "upstream", "a") for name in "bcd"])
    assert (seen(story).percentage, seen(story).failed_steps) == (75.0, 1)
    story.tell(p.PipelineFailed("a", ERROR)).tell(p.PipelineResumed())
    assert seen(story).percentage == 0.0


def test_a_pipeline_without_steps_is_complete() -> None:
    assert seen(Story({}).claim()).percentage == 100.0


def test_progress_reads_like_a_dict() -> None:
    now = seen(Story(CHAIN))
    assert now["total_steps"] == 4
    assert now.get("status") == "pending"
    assert (now.get("nonsense"), now.get("nonsense", 3)) == (None, 3)
    assert dict(now)["percentage"] == 0.0
    assert "elapsed" in now
    assert "__class__" not in now
    with pytest.raises(KeyError):
        now["__class__"]


def waits(story: Story) -> dict[str, str | None]:
    return {step.name: step.waits_for for step in report(story.run, story.now, {}.get).steps}


def test_a_report_says_what_each_step_waits_for() -> None:
    steps = {"a": [], "b": ["a"], "c": ["a", "b", "d"], "d": []}
    story = Story(steps).claim().start("a")
    assert waits(story) == {
        "a": None,
        "b": "step 'a'",
        "c": "step 'a' and 2 more",
        "d": "a free worker",
    }
    story.fail("a").retry("a", 30).after(10)
    assert waits(story)["a"] == "retry 1 in 20.0 s"
    story.tell(p.PipelinePauseRequested(), p.PipelinePaused())
    assert waits(story)["a"] == "retry 1, once the run goes on"
    assert waits(story)["d"] == "the run to go on"


def test_a_report_shows_what_runs_and_what_failed() -> None:
    story = Story({"a": [], "b": []}).claim("e1").start("a", "b").after(3)
    story.tell(s.StepProgressed("a", 1, 5, 10, "half")).fail("b").after(1)
    story.tell(p.PipelinePauseRequested())
    now = report(story.run, story.now, {}.get)
    assert (now.status, now.drained, now.owner, now.error) == ("pausing", False, "e1", None)
    a, b = now.steps
    assert (a.status, a.attempt, a.seconds) == (StepStatus.RUNNING, 1, pytest.approx(4))
    assert (a.done, a.total, a.message) == (5, 10, "half")
    assert (b.status, b.error, b.seconds) == ("failed", "ValueError: no", pytest.approx(3))
    story.complete("a").tell(p.PipelineFailed("b", ERROR))
    ended = report(story.run, story.now, {}.get)
    assert (ended.drained, ended.error) == (True, "ValueError: no")


def test_metrics_count_what_was_executed() -> None:
    story = Story({"a": [], "b": [], "c": ["b"]}, on_failure="continue").after(5).claim()
    story.start("a", "b").after(2).fail("a").retry("a", 1).after(1).start("a").after(4)
    done = completed("a", 2)
    story.tell(s.StepCompleted("a", 2, done.output, 4.0, metrics={"documents_processed": 12}))
    story.fail("b").tell(s.StepSkipped("c", "upstream", "b"))
    story.tell(p.PipelineFailed("b", ERROR, 1, 64.5)).after(1000)
    assert metrics(story.run, story.now) == {
        "documents_processed": 12,
        "total_time": pytest.approx(12),
        "steps_executed": 2,
        "steps_failed": 1,
        "steps_skipped": 1,
        "steps_retried": 1,
        "memory_used": 64.5,
        "step_durations": {"a": pytest.approx(4), "b": pytest.approx(7)},
    }


def test_a_timeline_tells_how_each_attempt_ended() -> None:
    story = Story({"a": [], "b": [], "c": [], "d": []}).claim().start("a", "b", "c").after(1)
    story.fail("a").retry("a", 1).tell(s.StepTimedOut("b", 1, ERROR), s.StepInterrupted("c", 1))
    story.after(1).start("a", "c", "d").after(1).complete("a")
    story.tell(p.PipelineCancelRequested(), s.StepCancelled("c", 2, "abandoned"))
    told = timeline(story.store.read("run/r"))
    assert [(x.step, x.attempt, x.outcome) for x in told.attempts] == [
        ("a", 1, "failed"),
        ("b", 1, "timed_out"),
        ("c", 1, "interrupted"),
        ("a", 2, "completed"),
        ("c", 2, "abandoned"),
        ("d", 1, "running"),
    ]
    first, last = told.attempts[0], told.attempts[-1]
    assert (first.end - first.start, first.error) == (SECOND, "ValueError: no")
    assert (last.end, last.error, last.worker) == (0, None, "worker-1")
    story.tell(s.StepCancelled("d", 1, "cooperative"), p.PipelineCancelled())
    told = timeline(story.store.read("run/r"))
    assert told.attempts[-1].outcome == "cancelled"
    assert [name for _, name in told.milestones] == [
        "PipelineSubmitted",
        "PipelineClaimed",
        "PipelineCancelRequested",
        "PipelineCancelled",
    ]
