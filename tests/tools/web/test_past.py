"""Any moment of a run, as the window tells it, is what the events say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from contract.runs import batch, completed, opening
from tools.recorded import NAMES, restored
from tools.web.large import many_runs, talkative, wide_run

from semantica.pipeline.events.errors import RunNotFound
from semantica.pipeline.events.lines import Wanted
from semantica.pipeline.events.machines import StepStatus
from semantica.pipeline.events.pipeline import PipelineCompleted
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run
from semantica.pipeline.projections.graph import Graph
from semantica.pipeline.projections.run import Run
from semantica.pipeline.projections.timeline import timeline
from semantica.pipeline.tools.web import past as past_module
from semantica.pipeline.tools.web.bundles import bundles
from semantica.pipeline.tools.web.documents import graph_of
from semantica.pipeline.tools.web.past import Past
from semantica.pipeline.tools.web.reading import Reading


@pytest.mark.parametrize("name", NAMES)
def test_every_moment_of_every_recorded_history(name, tmp_path, monkeypatch):
    """Forwards, as a slider is drawn, back again, and to and fro."""
    monkeypatch.setattr(past_module, "NEAR", 3)
    monkeypatch.setattr(past_module, "BYTES", 10**9)
    store = restored(name, tmp_path / "log.db")
    row = next(iter(store.runs()), None)
    if row is None:  # it has been archived
        with pytest.raises(RunNotFound):
            Past(store, "r")
        return
    past = Past(store, row.run_id)
    past.catch_up()
    versions = list(range(1, past.version + 1))
    shuffled = random.Random(1).sample(versions, len(versions))
    for version in [*versions, *reversed(versions), *shuffled]:
        expected = load_run(store, row.run_id, snapshots=False, until=version)
        with past.at(version) as run:
            assert run.state == expected.state
    told = timeline(store.read(row.stream))
    assert [attempt for _, attempt, _ in past.attempts(0)] == told.attempts
    assert [e.version for e in past.envelopes(versions)] == versions
    store.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = tmp_path_factory.mktemp("large") / "log.db"
    many_runs(log, 300)
    wide_run(log, 700, progress=2)
    return log


def test_a_run_of_thousands_of_steps(large):
    store = SqliteStore(large)
    reading = Reading(store, "here")
    graph = reading.graph("wide")
    assert len(graph["steps"]) == 2102
    assert sorted(map(len, graph["boxes"])) == [1, 1, 700, 700, 700]
    assert sorted(i for box in graph["boxes"] for i in box) == list(range(2102))
    assert len(graph["ends"]) == 4
    now = reading.state("wide", None)
    running = chr(97 + list(StepStatus).index(StepStatus.RUNNING))
    assert now["states"][-1] == running and now["states"].count(running) == 1
    assert now["lost"] and now["event"]["type"] == "StepStarted"
    head = reading.timeline("wide", 0)
    assert len(head["bars"]) == 2102 + 7 and head["version"] == now["version"]
    assert reading.timeline("wide", head["version"])["bars"] == []
    interrupted = reading.events("wide", 0, 0, 3, "interrupted PARSE")
    assert interrupted["count"] == 7
    assert [one["step"] for one in interrupted["events"]] == ["parse-600", "parse-500", "parse-400"]
    version = interrupted["events"][0]["version"]
    then = reading.state("wide", version)
    assert then["event"] == {"at": then["at"], "type": "StepInterrupted", "step": "parse-600"}
    assert reading.moment_at("wide", then["at"])["version"] >= version
    assert reading.events("wide", version, 0, 5, "interrupted")["count"] == 7
    assert reading.events("wide", version - 1, 0, 5, "interrupted")["count"] == 6
    assert len(reading.rows()) == 301
    store.close()


def test_what_had_been_said_by_a_moment(tmp_path):
    """In pages, backwards; and onwards, as lines come."""
    log = tmp_path / "log.db"
    wide_run(log, 3)
    talkative(log, "wide", 25)
    store = SqliteStore(log)
    reading = Reading(store, "here")

    def said(version=None, count=10, **place):
        place = {"before": None, "after": None, **place}
        told = reading.lines("wide", version, Wanted(), count, **place)
        return [one["event"] for one in told["lines"]], told["more"], told["lines"]

    newest, more, lines = said()
    assert (newest, more) == ([f"line {n}" for n in range(15, 25)], True)
    earlier, more, _ = said(count=20, before=lines[0]["id"])
    assert (earlier, more) == ([f"line {n}" for n in range(15)], False)
    assert said(after=lines[0]["id"], count=3)[:2] == (["line 16", "line 17", "line 18"], True)
    assert said(after=lines[-1]["id"])[:2] == ([], False)
    assert said(version=1)[:2] == (["line 0"], False), "its events begin with the first line"
    assert said(count=0)[:2] == ([], True)
    assert lines[0]["step"] == "merge" and lines[0]["fields"] == {}
    with pytest.raises(RunNotFound):
        reading.lines("never", None, Wanted(), 1, before=None, after=None)
    store.close()


def test_what_happens_is_told_and_what_a_slider_marks_is_bounded(large):
    store = SqliteStore(large)
    past = Past(store, "wide")
    past.catch_up()
    marks = past.marks()
    assert [kind for _, kind in marks].count("retrying") == 7
    assert marks == sorted(marks)
    past._types[:] = ["StepFailed"] * 5000 + ["SignalReceived"]
    thinned = past.marks()
    assert len(thinned) <= past_module.MARKS and thinned[-1] == (5001, "suspended")
    store.close()


def test_a_clock_that_was_set_back_does_not_disorder_the_moments(tmp_path):
    store = SqliteStore(tmp_path / "log.db")
    store.append([opening("r", at=50), batch("r", 3, completed("a"), at=20)])
    store.append([batch("r", 4, PipelineCompleted((4,)), at=70)])
    reading = Reading(store, "here")
    times = [reading.moment("r", version)["at"] for version in range(1, 6)]
    assert times == sorted(times)
    assert [reading.moment_at("r", at / 1e6)["version"] for at in (1, 20, 60, 70)] == [1, 1, 4, 5]
    store.close()


def test_deep_and_manifold_graphs_stay_small(large):
    store = SqliteStore(large)
    definition = load_run(store, "wide").graph.definition
    step = definition.steps[0]
    replace = type(step)
    deep = tuple(
        replace(f"s{i}", f"kind-{i % 40}", (f"s{i - 1}",) if i else ()) for i in range(3000)
    )
    boxes = bundles(Graph(type(definition)("deep", deep)))
    assert len(boxes) <= 30 * 11
    assert sorted(i for box in boxes for i in box) == list(range(3000))
    drawn = graph_of(Run("r", type(definition)("deep", deep)))
    assert all(a != b for a, b in drawn["ends"]), "no box follows itself"
    assert len(drawn["ends"]) == len(drawn["edges"])
    few = bundles(Graph(type(definition)("few", deep[:250])))
    assert few == [[i] for i in range(250)]
    store.close()
