"""What an append promises: all or nothing, in order, to one writer at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from contract.runs import batch, claim, completed, define, opening, progressed, started, submission
from msgspec.structs import replace

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.envelope import Envelope, first_break
from semantica.pipeline.events.errors import AppendRefused, IllegalTransition
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.store import Snapshot, Store
from semantica.pipeline.events.upcasters import to_event


def everything(store: Store) -> tuple[object, ...]:
    """All that can be asked of a log."""
    return list(store.read_all()), store.runs(), store.inbox(), store.load_snapshot("run/r")


def test_what_was_appended_is_read_as_it_was(store: Store) -> None:
    first, second = opening("r", at=7), batch("r", 3, completed("a"), epoch=2, actor="me", at=9)
    assert store.append([first]) == [None]
    assert store.append([second]) == [None]
    recorded = list(store.read("run/r"))
    assert [e.version for e in recorded] == [1, 2, 3, 4]
    assert [e.type for e in recorded] == [
        "PipelineSubmitted",
        "PipelineClaimed",
        "StepStarted",
        "StepCompleted",
    ]
    assert to_event(recorded[3]) == completed("a")
    last = recorded[3]
    assert (last.stream, last.at, last.actor, last.epoch) == ("run/r", 9, "me", 2)
    assert (last.schema, last.encoding) == (1, "json")
    assert [e.payload for e in recorded[:3]] == [e.payload for e in first.events]
    assert first_break(recorded) is None
    assert list(store.read("run/r", 2)) == recorded[2:]
    assert list(store.read("run/r", 4)) == []
    assert list(store.read("run/other")) == []


def test_the_position_is_that_of_the_newest_event(store: Store) -> None:
    assert store.position() == 0
    store.append([opening("r"), opening("s")])
    before = store.position()
    assert [e.position for e in store.read_all()][-1] == before
    store.append([batch("r", 3, completed("a"))])
    assert [e.position for e in store.read_all(before)] == [store.position()]


@pytest.mark.parametrize("after", [0, 2, 4])
def test_an_append_at_another_version_changes_nothing(store: Store, after: int) -> None:
    store.append([opening("r")])
    before = everything(store)
    (refusal,) = store.append([batch("r", after, completed("a"))])
    assert isinstance(refusal, AppendRefused)
    assert refusal.stream == "run/r"
    assert f"it is at version 3, not {after}" in str(refusal)
    assert everything(store) == before


def test_an_append_with_a_stale_epoch_changes_nothing(store: Store) -> None:
    store.append([opening("r"), batch("r", 3, claim("engine-2"), epoch=2)])
    before = everything(store)
    (refusal,) = store.append([batch("r", 4, completed("a"), epoch=1)])
    assert isinstance(refusal, AppendRefused)
    assert "epoch 1 is over, 2 has begun" in str(refusal)
    assert everything(store) == before


def test_the_same_epoch_may_go_on(store: Store) -> None:
    store.append([opening("r")])
    assert store.append([batch("r", 3, completed("a"), epoch=1)]) == [None]


def test_one_refused_batch_does_not_hold_up_the_others(store: Store) -> None:
    store.append([opening("lost")])
    answers = store.append(
        [opening("r"), batch("lost", 7, completed("a")), batch("r", 3, completed("a"))]
    )
    assert [type(answer) for answer in answers] == [type(None), AppendRefused, type(None)]
    assert len(list(store.read("run/r"))) == 4
    assert len(list(store.read("run/lost"))) == 3


def test_two_batches_of_one_stream_follow_each_other(store: Store) -> None:
    """Two actors in one turn of the loop: a person who pauses, an engine that goes on."""
    later = batch("r", 3, p.PipelinePauseRequested(), actor="person")
    assert store.append([opening("r"), later]) == [None, None]
    recorded = list(store.read("run/r"))
    assert [e.actor for e in recorded] == ["tester"] * 3 + ["person"]
    assert first_break(recorded) is None
    row = store.run("r")
    assert row is not None
    assert row.status is PipelineStatus.PAUSING


def test_what_follows_a_refused_batch_is_refused_too(store: Store) -> None:
    """Else the second half of a lost decision could be recorded without the first."""
    store.append([opening("r")])
    store.append([batch("r", 3, *progressed(2))])
    lost = [batch("r", 3, *progressed(2)), batch("r", 5, completed("a"))]
    answers = store.append(lost)
    assert [type(answer) for answer in answers] == [AppendRefused, AppendRefused]
    assert len(list(store.read("run/r"))) == 5


@pytest.mark.parametrize("illegal", [p.PipelineStopped(), p.PipelineCancelled(), claim()])
def test_an_illegal_event_in_one_batch_changes_nothing_at_all(store: Store, illegal) -> None:  # type: ignore[no-untyped-def]
    store.append([opening("r"), batch("r", 3, completed("a"), p.PipelineCompleted((4,)))])
    item = store.send("run/r", b"{}", actor="me", at=1)
    before = everything(store)
    with pytest.raises(IllegalTransition, match="pipeline in state completed"):
        store.append([opening("other"), batch("r", 5, illegal)], taken=[item])
    assert everything(store) == before
    assert store.run("other") is None
    assert store.append([opening("other")]) == [None], "the log goes on as if nothing had happened"


def test_a_run_begins_with_its_submission(store: Store) -> None:
    with pytest.raises(IllegalTransition, match="run/r: PipelineClaimed is not allowed"):
        store.append([batch("r", 0, claim())])


def test_commands_are_taken_in_the_transaction_of_the_append(store: Store) -> None:
    ids = [store.send("run/r", b"{}", actor="me", at=n) for n in range(3)]
    store.append([opening("r")], taken=ids[:2])
    assert [item.id for item in store.inbox()] == ids[2:]
    store.append([], taken=ids)
    assert store.inbox() == []


def test_positions_rise_over_all_streams_and_every_event_has_one(store: Store) -> None:
    for number in range(5):
        store.append([opening(f"r{number}")])
        store.append([batch(f"r{n}", 3 + number - n, *progressed(1)) for n in range(number + 1)])
    every = list(store.read_all())
    positions = [e.position for e in every]
    assert positions == sorted(set(positions))
    assert len(every) == 5 * 3 + 15
    middle = positions[10]
    assert list(store.read_all(middle)) == every[11:]


def test_reading_goes_on_over_many_pages(store: Store) -> None:
    store.append([opening("r"), opening("s")])
    for start in range(0, 2400, 400):
        store.append([batch(run, 3 + start, *progressed(400)) for run in ("r", "s")])
    assert [e.version for e in store.read("run/r")] == list(range(1, 2404))
    assert [e.version for e in store.read("run/r", 1001)] == list(range(1002, 2404))
    every = list(store.read_all())
    assert len(every) == len({e.position for e in every}) == 2 * 2403
    assert [e.version for e in every if e.stream == "run/s"] == list(range(1, 2404))
    assert first_break(store.read("run/s")) is None


def test_a_reader_is_not_disturbed_by_appends(store: Store) -> None:
    store.append([opening("r"), batch("r", 3, *progressed(1500))])
    reader = store.read("run/r")
    read: list[Envelope] = [next(reader)]
    store.append([batch("r", 1503, completed("a"))])
    read.extend(reader)
    assert [e.version for e in read][:1503] == list(range(1, 1504))


def test_threads_append_together_without_loss(store: Store) -> None:
    def write(number: int) -> list[AppendRefused | None]:
        answers = store.append([opening(f"r{number}")])
        for n in range(20):
            answers += store.append([batch(f"r{number}", 3 + n, *progressed(1))])
        return answers

    with ThreadPoolExecutor(6) as pool:
        answers = [answer for found in pool.map(write, range(6)) for answer in found]
    assert answers == [None] * len(answers)
    every = list(store.read_all())
    assert len({e.position for e in every}) == len(every) == 6 * 23
    assert all(first_break(store.read(f"run/r{number}")) is None for number in range(6))


def test_of_threads_that_race_for_one_version_exactly_one_wins(store: Store) -> None:
    store.append([opening("r")])

    def race(number: int) -> AppendRefused | None:
        (answer,) = store.append([batch("r", 3, started("a", number))])
        return answer

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(race, range(6)))
    assert answers.count(None) == 1
    assert len(list(store.read("run/r"))) == 4


def test_a_batch_of_a_large_definition_names_an_artifact(store: Store) -> None:
    definition = define({f"step-{n}": [] for n in range(500)})
    first = submission(definition, store.artifacts)
    assert first.definition.artifact is not None
    store.append([batch("r", 0, first)])
    (recorded,) = store.read("run/r")
    event = to_event(recorded)
    assert isinstance(event, p.PipelineSubmitted)
    assert len(store.artifacts.get(str(event.definition.artifact))) == event.definition.size


def test_snapshots_are_kept_apart_from_the_truth(store: Store) -> None:
    store.append([opening("r")])
    store.save_snapshot("run/r", Snapshot(3, 1, b"\x00state"))
    store.save_snapshot("run/s", Snapshot(9, 1, b"other"))
    assert store.load_snapshot("run/r") == Snapshot(3, 1, b"\x00state")
    store.save_snapshot("run/r", Snapshot(5, 2, b"newer"))
    assert store.load_snapshot("run/r") == Snapshot(5, 2, b"newer")
    assert store.load_snapshot("run/none") is None
    store.rebuild()
    assert store.load_snapshot("run/r") is None


def test_an_output_is_found_by_what_its_work_is_known_by(store: Store) -> None:
    """The newest of its kind; a run that is derived anew, or a snapshot, changes nothing."""
    work = completed("a")
    assert store.cached("key") is None
    for run_id in ("r", "s"):
        store.append([opening(run_id)])
        store.append([batch(run_id, 3, replace(work, cache="key"))])
    for _ in range(2):
        found = store.cached("key")
        assert found is not None and (found.stream, found.version) == ("run/s", 4)
        assert store.cached("other") is None
        store.rebuild()


def test_batches_of_a_unit_are_recorded_together_or_not_at_all(store: Store) -> None:
    store.append([opening("parent"), opening("other")])
    before = everything(store)
    together = [
        replace(batch("child", 0, submission(define({"a": []}))), unit="parent"),
        replace(batch("parent", 2, *progressed(1)), unit="parent"),  # it is at version 3
    ]
    child, parent = store.append(together)
    assert isinstance(child, AppendRefused)
    assert isinstance(parent, AppendRefused)
    assert (child.stream, parent.stream) == ("run/child", "run/parent")
    assert "it is at version 3, not 2" in str(child)
    assert everything(store) == before
    together[1] = replace(together[1], after=3)
    stale = batch("other", 1, *progressed(1))
    assert [answer is None for answer in store.append([stale, *together])] == [False, True, True]
    assert [row.run_id for row in store.runs()] != []
    assert len(list(store.read("run/child"))) == 1


def test_the_runs_that_are_steps_of_others_can_be_left_out(store: Store) -> None:
    nested = submission(define({"a": []}), parent=p.Parent("r", "clean"))
    store.append([opening("r"), batch("c", 0, nested)])
    assert {row.run_id: row.parent for row in store.runs()} == {"r": None, "c": "r"}
    assert [row.run_id for row in store.runs(roots=True)] == ["r"]
    store.rebuild()
    assert [row.run_id for row in store.runs(roots=True)] == ["r"]


def test_adopted_batches_are_recorded_all_or_none(store: Store) -> None:
    store.append([opening("there")])
    before = [*store.read_all()]
    with pytest.raises(AppendRefused, match="run/there"):
        store.adopt([[opening("a")], [opening("b"), opening("there")]])
    assert [*store.read_all()] == before and [row.run_id for row in store.runs()] == ["there"]
    with pytest.raises(IllegalTransition):
        store.adopt([[opening("a")], [batch("b", 0, p.PipelinePaused())]])
    assert [*store.read_all()] == before and store.run("a") is None
    store.adopt(iter([[opening("a")], [batch("a", 3, completed("a")), opening("b")]]))
    assert {row.run_id for row in store.runs()} == {"there", "a", "b"}
    head = store.head("run/a")
    assert head is not None and head.version == 4
