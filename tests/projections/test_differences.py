"""What is told of a run, how two differ, and where they first did."""

from __future__ import annotations

from contract.runs import define, value
from msgspec.structs import replace
from story import ERROR, Story

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.artifacts import digest_of
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.projections.account import Account, account, lineage
from semantica.pipeline.projections.difference import Difference, difference
from semantica.pipeline.projections.explanation import explain

DIAMOND = {"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]}


def told(story: Story) -> Account:
    return account(story.run, story.store.read("run/r"))


def finish(story: Story, step: str, output: str, inputs: tuple[int, ...] = ()) -> int:
    """Run a step; the version of its completion."""
    attempt = story.run.step(step).attempt + 1
    story.tell(s.StepStarted(step, attempt, "w", inputs)).after(1)
    story.tell(s.StepCompleted(step, attempt, value(output), 1.0))
    return story.run.state.version


def diamond(
    left: str = "L", definition: PipelineDefinition | None = None, data: str = "in"
) -> Story:
    story = Story(DIAMOND, definition=definition, data=value(data)).claim()
    load = finish(story, "load", "all")
    a, b = finish(story, "left", left, (load,)), finish(story, "right", "R", (load,))
    join = finish(story, "join", f"{left}R", (a, b))
    return story.tell(p.PipelineCompleted((join,)))


def test_an_account_has_what_was_made_of_what() -> None:
    done = told(diamond())
    assert done.outputs == ["join"]
    join = done.steps["join"]
    assert join.output is not None and join.output.digest == digest_of(b'"LR"')
    assert [one.step for one in join.inputs] == ["left", "right"]
    assert [one.name for one in lineage(done, "join")] == ["join", "left", "right", "load"]
    (source,) = done.steps["load"].inputs
    assert (source.step, source.version, source.digest) == (None, 0, digest_of(b'"in"'))


def test_an_account_has_every_process_and_what_people_did() -> None:
    story = Story({"a": []}).claim("one").tell(p.PipelinePauseRequested(), p.PipelinePaused())
    story.after(60).tell(p.PipelineClaimed("two", "other", 9, "2.0"), p.PipelineResumed(), epoch=2)
    story.tell(p.SignalReceived("approve", value("yes")), epoch=2)
    story.tell(s.StepStarted("a", 1, "w", backend="process", grants={"gpu": 1}), epoch=2)
    story.tell(s.StepFailed("a", 1, ERROR, 0.5), epoch=2)
    story.tell(s.StepRetryScheduled("a", 1, 2.5, story.now), epoch=2)
    done = told(story)
    assert [one.owner for one in done.processes] == ["one", "two"]
    (tried,) = done.steps["a"].tried
    assert tried.process is not None and (tried.process.pid, tried.process.code) == (9, "2.0")
    assert (tried.backend, tried.grants, tried.retry_in) == ("process", {"gpu": 1}, 2.5)
    assert (tried.outcome, tried.error, tried.category) == ("failed", "ValueError: no", "unknown")
    approved = next(act for act in done.acts if act.type == "SignalReceived")
    assert approved.actor == "tester" and approved.facts["value"].digest == digest_of(b'"yes"')


def compared(a: Story, b: Story) -> Difference:
    return difference(told(a), told(b))


def changed(found: Difference) -> dict[str, list[str]]:
    return {one.step: [str(change) for change in one.changes] for one in found.steps if one.changes}


def test_equal_runs_are_the_same_whatever_they_took() -> None:
    slow = Story(DIAMOND, data=value("in")).claim().after(100)
    load = finish(slow, "load", "all")
    b, a = finish(slow, "right", "R", (load,)), finish(slow, "left", "L", (load,))
    slow.tell(p.PipelineCompleted((finish(slow, "join", "LR", (a, b)),)))
    found = compared(diamond(), slow)
    assert found.same and not found.first and not changed(found)


def test_the_first_divergence_is_the_step_that_nothing_before_explains() -> None:
    found = compared(diamond(), diamond(left="X"))
    assert found.first == "left" and not found.same
    assert list(changed(found)) == ["left", "join"]
    assert [one.split(":")[0] for one in changed(found)["join"]] == ["input left", "output"]


def test_other_configuration_code_and_steps_are_told() -> None:
    before = diamond().definition
    load, left, right, join = before.steps
    load = replace(load, config={"size": 1, "gone": True})
    before = replace(before, steps=(load, left, right, join))
    now = (replace(load, config={"size": 2}, fingerprint="f"), left, right,
           replace(join, timeout=3.0))  # fmt: skip
    after = replace(before, steps=now)
    found = compared(diamond(definition=before), diamond(definition=after))
    assert found.first == "load"
    assert changed(found) == {
        "load": [
            "configuration gone: true -> (absent)",
            "configuration size: 1 -> 2",
            "code handler: (none) -> f",
        ],
        "join": ["definition timeout: (none) -> 3.0"],
    }


def test_of_steps_that_never_ran_the_one_before_is_the_first() -> None:
    before = define({"z": [], "a": ["z"]})
    after = replace(before, steps=tuple(replace(one, timeout=1.0) for one in before.steps))
    found = compared(Story({}, definition=before).claim(), Story({}, definition=after).claim())
    assert (found.first, list(changed(found))) == ("z", ["z", "a"])


def test_another_input_is_a_difference_of_the_run() -> None:
    found = compared(diamond(), diamond(data="other"))
    assert [change.what for change in found.run] == ["input"]
    assert list(changed(found)) == ["load"] and found.first == "load"


def test_a_failed_attempt_more_is_no_divergence_but_a_failure_is() -> None:
    tried = Story({"a": []}).claim().start("a").fail("a").retry("a", 1).after(1)
    tried.start("a").complete("a")
    plain = Story({"a": []}).claim().start("a")
    plain.tell(s.StepCompleted("a", 1, value("a 2"), 0.5))
    found = compared(plain, tried)
    assert found.same and changed(found) == {"a": ["attempts: 1 -> 2"]}
    failed = Story({"a": []}).claim().start("a").fail("a").tell(p.PipelineFailed("a", ERROR))
    found = compared(plain, failed)
    assert not found.same
    assert "error: (none) -> ValueError: no" in changed(found)["a"]


def why(story: Story, step: str | None = None) -> list[str]:
    found = explain(story.run, story.store.read("run/r"), story.now, {}.get, step)
    return list(found.because if step is None else found.steps[0].because)


def test_what_stands_in_the_way_is_at_the_bottom_of_the_waiting() -> None:
    story = Story(DIAMOND).claim()
    finish(story, "load", "all")
    story.start("left", "right").fail("left").retry("left", 20)
    assert why(story, "join") == [
        "2 steps before it are not done",
        "step 'left' waits for retry 1 in 20.0 s",
        "step 'right' runs since 0.0 s (attempt 1)",
    ]
    assert why(story)[-1] == "1 step will follow"
    story.complete("right").after(20).start("left").fail("left")
    story.tell(p.PipelineFailed("left", ERROR))
    assert why(story) == ["step 'left': ValueError: no", "1 step did not run because of it"]
    assert why(story, "left")[1] == "its retries are spent: it had 1 retry"
    assert why(story, "join")[1:] == ["step 'left' failed"]
