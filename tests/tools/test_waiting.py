"""Signals from the command line, and how suspended and undone steps look."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from contextlib import closing

import pytest
from projections.story import ERROR, Story
from rich.console import Console

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.codec import NONE
from semantica.pipeline.projections.status import report
from semantica.pipeline.projections.timeline import timeline
from semantica.pipeline.tools.board import counts, run_bar
from semantica.pipeline.tools.follow import Follower
from semantica.pipeline.tools.gantt import bars_of, remark
from semantica.pipeline.tools.live import PlainView
from semantica.pipeline.tools.mermaid import mermaid, of_run

FLOWS = """
from pathlib import Path
from semantica.pipeline import PipelineBuilder

def ask(context):
    context.log.info("asking")
    return context.wait_for("approve")

def nap(context):
    context.sleep(86400)

def undo(output):
    with (Path(__file__).parent / "undone").open("a") as file:
        file.write(f"{output}\\n")

def one():
    return "one"

def fail(data):
    raise ValueError("no good")

asks = PipelineBuilder("asks").add_step("ask", "ask", handler=ask)
naps = PipelineBuilder("naps").add_step("nap", "nap", handler=nap)
saga = (
    PipelineBuilder("saga")
    .add_step("one", "one", handler=one, compensate=undo)
    .add_step("fail", "fail", handler=fail)
)
"""


@pytest.fixture
def waiting(shell):
    """A process whose run waits for the signal "approve"."""
    (shell.flows / "waits.py").write_text(FLOWS)
    process = shell.start("run", "flows/waits.py:asks", "--run-id", "ask-1", "--output", "out.json")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if shell.log.exists() and "StepSuspended" in events_of(shell.log):
            return process
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"it is not suspended: {process.communicate()}")


def events_of(log):
    """The types of the events in a log that another process has made, or just makes."""
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
        try:
            return [kind for (kind,) in connection.execute("SELECT type FROM events")]
        except sqlite3.OperationalError:
            return []


def test_a_signal_reaches_the_process_that_executes_the_run(shell, waiting):
    (step,) = shell.json("status", "asks")["steps"]
    assert (step["status"], step["waits_for"]) == ("suspended", "the signal 'approve'")
    assert "waits for the signal 'approve'" in shell("status", "asks").stdout
    answer = shell.json("signal", "ask-1", "approve", '{"by": "me"}')
    assert (answer["run_id"], answer["answered"]) == ("ask-1", True)
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, err
    assert json.loads((shell.folder / "out.json").read_text()) == {"by": "me"}
    told = shell("events", "ask-1").stdout
    assert told.index("SignalReceived") < told.index("StepWoken")
    assert "completed" in shell.error("signal", "ask-1", "approve")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ask-1", "approve", "yes"), "VALUE is not JSON"),
        (("ask-1", "approve", "@none.json"), "cannot read none.json"),
        (("ask-1", ""), "printable text"),
        (("nobody", "approve"), "nobody"),
    ],
)
def test_a_signal_that_makes_no_sense(shell, waiting, words, told):
    assert told in shell.error("signal", *words)


# How it looks


@pytest.fixture
def suspended() -> Story:
    story = Story({"sleeps": [], "hears": [], "back": []}).claim()
    story.start("sleeps", "hears", "back").after(1)
    day = story.now + 86_400 * 10**9
    story.tell(s.StepSuspended("sleeps", 1, "1: sleep", 1.0, day))
    story.tell(s.StepSuspended("hears", 1, "1: wait_for go", 1.0, None, "go"))
    story.tell(s.StepSuspended("back", 1, "1: sleep", 1.0, story.now)).after(1)
    return story.tell(s.StepWoken("back", "1: sleep", value=NONE)).start("back").after(2)


@pytest.fixture
def undone() -> Story:
    options = {name: {"compensate": "m:undo"} for name in "abc"}
    steps = {"a": [], "b": [], "c": [], "fails": [], "never": ["fails"]}
    story = Story(steps, options=options, on_failure="rollback").claim()
    for name in "abc":
        story.start(name).after(1).complete(name)
    story.start("fails").fail("fails").tell(p.PipelineRollbackStarted("fails", ERROR))
    story.tell(s.StepCompensationStarted("c", 2, "w")).after(1)
    story.tell(s.StepCompensated("c", 2, 1.0), s.StepCompensationStarted("b", 2, "w")).after(1)
    story.tell(s.StepCompensationFailed("b", 2, ERROR, 1.0))
    return story


def remarks(story: Story) -> dict[str, str]:
    rows = bars_of(story.run, timeline(story.store.read("run/r")), story.now)
    return {bars.step: remark(bars, story.now) for bars in rows}


def test_suspended_steps(suspended: Story) -> None:
    assert remarks(suspended) == {
        "sleeps": "1.0 s suspended",
        "hears": "1.0 s suspended",
        "back": "3.0 s in 2 running",
    }
    assert counts(suspended.run) == {"running": 1, "suspended": 2}
    told = {
        step.name: step.waits_for
        for step in report(suspended.run, suspended.now, suspended.store.run).steps
    }
    assert told["sleeps"] == "its alarm in 86397 s"
    assert "classDef suspended" in mermaid(of_run(suspended.run))
    assert lines(suspended) >= {"sleeps waits for its alarm", "hears waits for the signal go"}


def test_undone_steps(undone: Story) -> None:
    assert remarks(undone) == {
        "a": "1.0 s",
        "b": "2.0 s in 2 not undone",
        "c": "2.0 s in 2 undone",
        "fails": "0.00 s failed",
    }
    assert counts(undone.run) == {
        "completed": 1,
        "failed": 1,
        "cancelled": 1,
        "compensated": 1,
        "compensation_failed": 1,
    }
    graph = mermaid(of_run(undone.run))
    assert "classDef compensated" in graph and "classDef compensation_failed" in graph
    assert lines(undone) >= {"undoing what was done", "c undone", f"b not undone: {ERROR}"}


def test_the_bar_has_room_for_every_step_once(suspended: Story, undone: Story) -> None:
    undone.tell(p.PipelineRollbackFailed("b", ERROR), p.PipelineRollbackResumed())
    undone.tell(s.StepCompensationStarted("b", 3, "w"))
    for story in (suspended, undone):
        sizes = [size for size, _, _ in run_bar(story.run).parts]
        assert min(sizes) >= 0
        assert sum(sizes) == len(story.run.state.steps)
        Console(file=io.StringIO(), width=40).print(run_bar(story.run))


def lines(story: Story) -> set[str]:
    stream = io.StringIO()
    PlainView([Follower(story.store, "r", new=True)], stream).tell(last=True)
    return set(stream.getvalue().splitlines())
