"""Queued steps, steps skipped by a condition or helped by a fallback, as the tools show them."""

from __future__ import annotations

import io

import pytest
from projections.story import ERROR, Story

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.machines import StepStatus
from semantica.pipeline.projections.status import report
from semantica.pipeline.projections.timeline import timeline
from semantica.pipeline.tools.board import choose, counts
from semantica.pipeline.tools.follow import Follower
from semantica.pipeline.tools.gantt import Scale, bars_of, draw, remark
from semantica.pipeline.tools.live import PlainView
from semantica.pipeline.tools.mermaid import LOOKS, mermaid, of_run


@pytest.fixture
def story() -> Story:
    """One step in each of the states, after 10 s."""
    steps = {name: [] for name in ("helped", "falling", "passed", "queued", "again", "runs")}
    options = {"queued": {"resources": {"gpu": 1, "memory": 16e9}}}
    told = Story({**steps, "behind": ["passed"]}, options=options, fallbacks={"test": "m:f"})
    told.claim().start("helped", "falling", "passed", "again").after(1).fail("helped")
    told.tell(s.StepFallbackScheduled("helped")).after(1)
    told.tell(s.StepStarted("helped", 2, "w", fallback=True)).after(1).complete("helped")
    told.tell(s.StepSkipped("passed", "condition", attempt=1))
    told.tell(s.StepSkipped("behind", "condition", "passed"))
    told.fail("falling").tell(s.StepFallbackScheduled("falling"), s.StepQueued("queued"))
    return told.fail("again").retry("again", 1).tell(s.StepQueued("again")).start("runs").after(7)


def test_the_chart_tells_what_a_step_waits_for_and_what_helped_it(story: Story) -> None:
    rows = bars_of(story.run, timeline(story.store.read("run/r")), story.now)
    assert {bars.step: remark(bars, story.now) for bars in rows} == {
        "helped": "2.0 s in 2 with fallback",
        "falling": "3.0 s falling back",
        "passed": "3.0 s skipped",
        "again": "3.0 s waiting",
        "runs": "7.0 s running",
    }
    begin = rows[0].attempts[0].start
    scale = Scale(begin, story.now, 10)
    shown = {bars.step: "".join(cell for cell, _ in draw(bars, scale, story.now)) for bars in rows}
    assert shown["passed"] == "━━━       ", "a skip breaks nothing"
    assert shown["falling"] == "━━x┄┄┄┄┄┄┄"
    assert shown["again"] == "━━x┄┄┄┄┄┄┄"


def test_the_report_says_what_a_queued_step_waits_for(story: Story) -> None:
    steps = {step.name: step for step in report(story.run, story.now, {}.get).steps}
    assert steps["queued"].waits_for == "resources: 1 gpu, 1.6e+10 memory"
    assert steps["falling"].waits_for == "a free worker for its fallback"
    assert str(ERROR) in str(steps["falling"].error)
    assert steps["passed"].waits_for is steps["behind"].waits_for is None


def test_the_board_counts_them_and_shows_them_when_there_is_little_room(story: Story) -> None:
    assert counts(story.run) == {
        "pending": 1,
        "waiting": 2,
        "running": 1,
        "completed": 1,
        "skipped": 2,
    }
    steps = report(story.run, story.now, {}.get).steps
    shown = [step.status for step in choose(story.run, steps, 5)]
    assert shown[:3] == [StepStatus.RUNNING, StepStatus.WAITING, StepStatus.PENDING]


def test_the_graph_has_a_look_for_every_state(story: Story) -> None:
    assert set(StepStatus) <= set(LOOKS)
    assert f"classDef waiting {LOOKS['waiting']}" in mermaid(of_run(story.run))


def test_the_lines_name_skips_and_fallbacks(story: Story) -> None:
    story.tell(p.PipelinePauseRequested())
    stream = io.StringIO()
    PlainView([Follower(story.store, "r", new=True)], stream).tell(last=True)
    told = stream.getvalue().splitlines()
    assert "helped: its fallback is next" in told
    assert "passed skipped: its condition is false" in told
    assert not any("behind" in line for line in told)
