"""Every command that looks back, on every recorded history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from projections.test_histories import FOLDER
from tools.recorded import NAMES, Here, restored

from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import EVENT_TYPES
from semantica.pipeline.projections.account import account, lineage
from semantica.pipeline.projections.catchup import load_run, save_snapshot
from semantica.pipeline.projections.explanation import _WORDS
from semantica.pipeline.projections.timeline import timeline
from semantica.pipeline.tools.replay.moments import moment_of


@pytest.fixture(params=NAMES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def here(name: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """No command of these changes the log."""
    log = tmp_path_factory.mktemp("recorded") / "log.db"
    store = restored(name, log)
    save_snapshot(store, load_run(store, "r"))
    store.close()
    return Here(log)


def summary(name: str) -> dict[str, object]:
    return dict(json.loads((FOLDER / f"schema-1-{name}.json").read_text()))


def narrowed_version(here: Here, moment: str) -> int:
    store = SqliteStore(here.log)
    try:
        return moment_of(store, f"r@{moment}").version
    finally:
        store.close()


def test_replay_builds_what_is_stored(here: Here, name: str) -> None:
    told = here.json("replay", "r")
    assert told["same"], told
    what = {one["what"] for one in told["projections"]}
    assert what == {"chain", "state", "directory", "snapshot", "timeline",
                    "view runs", "view steps", "view failures"}  # fmt: skip
    assert "replayed: the same" in here("replay", "r").stdout


def test_each_moment_has_its_state(here: Here, name: str) -> None:
    last = summary(name)["version"]
    assert isinstance(last, int)
    end = here.json("replay", "r", "--to", str(last))
    assert (end["status"], end["version"]) == (summary(name)["status"], last)
    first = here.json("replay", "r", "--to", "1")
    assert first["status"] == "pending"
    assert {step["status"] for step in first["steps"]} == {"pending"}
    recorded = here.json("events", "r")
    for e in recorded:  # to the microsecond, which these were recorded at
        moment = datetime.fromtimestamp(e["at"] / 1e9, UTC).isoformat()
        told = narrowed_version(here, moment)
        assert told == max(one["version"] for one in recorded if one["at"] <= e["at"])
    stages = here.json("replay", "r", "--step")
    assert [one["version"] for one in stages] == list(range(1, last + 1))
    moves = [change for one in stages for change in one["changes"] if " -> " in change]
    assert moves[0] == "new -> pending"
    assert any(change.endswith(f"-> {summary(name)['status']}") for change in moves)
    assert "pending -> running" in here("replay", "r", "--step").stdout


def test_explain_tells_every_event_in_words(here: Here, name: str) -> None:
    told = here.json("explain", "r")
    assert told["status"] == summary(name)["status"]
    assert told["because"]
    steps = summary(name)["steps"]
    assert isinstance(steps, dict)
    versions = {one["version"] for one in told["history"]}
    for step in steps:
        (story,) = here.json("explain", "r", step)["steps"]
        assert story["status"] == steps[step][0]
        assert story["because"]
        assert all(one["text"] != one["type"] for one in story["history"])
        versions |= {one["version"] for one in story["history"]}
        assert step in here("explain", "r", step).stdout
    assert versions == set(range(1, told["history"][-1]["version"] + 1))


def test_a_run_does_not_differ_from_itself_but_from_its_past(here: Here, name: str) -> None:
    assert here.json("diff", "r", "r")["same"]
    told = here.json("diff", "r@1", "r", status=1)
    assert told["between"]["first"]["version"] == 2
    assert any(change["what"] == "status" for change in told["run"])
    assert "events lie between them" in here("diff", "r@2", "r", status=1).stdout


def test_the_report_tells_every_attempt_and_output(here: Here, name: str, tmp_path: Path) -> None:
    here("audit", "report", "r", "--output", str(tmp_path / "r.html"))
    here("audit", "report", "r", "--output", str(tmp_path / "r.md"))
    text, page = (tmp_path / "r.md").read_text(), (tmp_path / "r.html").read_text()
    store = SqliteStore(here.log)
    run, events = load_run(store, "r"), list(store.read("run/r"))
    told = account(run, events)
    attempts = timeline(events).attempts
    found = [(one.start, one.outcome) for step in told.steps.values() for one in step.tried]
    assert sorted(found) == sorted((one.start, one.outcome) for one in attempts)
    assert [act.version for act in told.acts] == [
        e.version for e in events if not e.type.startswith("Step")
    ]
    for step in told.steps.values():
        for shown in (text, page):
            assert step.output is None or step.output.digest in shown
    for output in told.outputs:
        assert next(lineage(told, output)).name == output
    assert "whole: " in text and told.digest in page
    store.close()


def test_drawings_are_drawings(here: Here, tmp_path: Path) -> None:
    for words in (("timeline", "r"), ("graph", "r", "--steps")):
        here(*words, "--output", str(tmp_path / "x.svg"))
        drawn = ElementTree.parse(tmp_path / "x.svg").getroot()
        assert drawn.tag.endswith("svg")
        titles = {one.text for one in drawn.iter() if one.tag.endswith("title")}
        assert titles
        here(*words, "--output", str(tmp_path / "x.html"))
        assert "<svg" in (tmp_path / "x.html").read_text()


def test_events_of_a_step_and_runs_with_an_error(here: Here, name: str) -> None:
    steps = summary(name)["steps"]
    assert isinstance(steps, dict)
    step = next(iter(steps))
    listed = here.json("events", "r", "--step", step)
    listed = listed if isinstance(listed, list) else [listed]
    assert {one["payload"]["step"] for one in listed} == {step}
    followed = here("events", "r", "--follow").stdout  # it is over, so this ends
    assert followed == here("events", "r").stdout
    recorded = json.dumps(here.json("events", "r"))
    rows = here.json("runs", "--error", "VALUEERROR: NO")
    assert len(rows) == ('"message": "no"' in recorded)
    assert here.json("runs", "--error", "nothing of the kind") == []


def test_every_event_of_a_run_has_words() -> None:
    of_runs = {kind for name, kind in EVENT_TYPES.items()
               if name.startswith(("Step", "Pipeline", "Signal"))}  # fmt: skip
    assert set(_WORDS) == of_runs
