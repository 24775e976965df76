"""The directory, the inbox and the members: what engines share besides the events."""

from __future__ import annotations

import pytest
from contract.runs import SECOND, batch, claim, completed, opening

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.store import Member, Store
from semantica.pipeline.events.values import ErrorInfo

ENDINGS = {
    "done": [completed("a"), p.PipelineCompleted((4,))],
    "failed": [p.PipelineFailed("a", ErrorInfo("E", "no"))],
    "halted": [p.PipelineStopRequested(), p.PipelineStopped()],
    "running": [],
}


@pytest.fixture
def filled(store: Store) -> Store:
    """Four runs, submitted a second apart, in four states."""
    for number, (run_id, events) in enumerate(ENDINGS.items(), start=1):
        fields = {"name": f"job-{number % 2}", "engine": f"e{number % 2}", "priority": number}
        store.append([opening(run_id, at=number * SECOND, **fields)])
        if events:
            store.append([batch(run_id, 3, *events, at=60 * SECOND)])
    return store


def test_the_directory_tells_what_the_events_told(filled: Store) -> None:
    row = filled.run("done")
    assert row is not None
    assert (row.run_id, row.name, row.status) == ("done", "job-1", PipelineStatus.COMPLETED)
    assert (row.engine, row.owner, row.epoch, row.priority) == ("e1", "e1", 1, 1)
    assert (row.submitted_at, row.changed_at) == (SECOND, 60 * SECOND)
    assert row.stream == "run/done"
    assert filled.run("unknown") is None


def test_a_takeover_changes_owner_and_epoch(filled: Store) -> None:
    filled.append([batch("running", 3, claim("e9"), epoch=4)])
    row = filled.run("running")
    assert row is not None
    assert (row.owner, row.epoch, row.engine) == ("e9", 4, "e0")
    assert [row.run_id for row in filled.runs(owner="e9")] == ["running"]


def found(store: Store, **wanted: object) -> list[str]:
    return [row.run_id for row in store.runs(**wanted)]  # type: ignore[arg-type]


def test_runs_are_listed_newest_first_and_filtered(filled: Store) -> None:
    assert found(filled) == ["running", "halted", "failed", "done"]
    assert found(filled, limit=2) == ["running", "halted"]
    assert found(filled, limit=0) == []
    assert found(filled, name="job-1") == ["halted", "done"]
    assert found(filled, engine="e0") == ["running", "failed"]
    assert found(filled, owner="e1", name="job-1", limit=1) == ["halted"]
    ended = [PipelineStatus.COMPLETED, PipelineStatus.FAILED]
    assert found(filled, statuses=ended) == ["failed", "done"]
    assert found(filled, statuses=[]) == []
    assert found(filled, name="'; DROP TABLE events; --") == []
    assert found(filled, name="") == []


def test_a_rebuilt_directory_is_the_same(filled: Store) -> None:
    before = filled.runs()
    filled.rebuild()
    assert filled.runs() == before
    assert filled.append([batch("running", 3, completed("a"))]) == [None]


def test_commands_wait_in_the_inbox_until_they_are_taken(store: Store) -> None:
    first = store.send("run/r", b'{"type":"Pause"}', actor="person@host", at=5)
    second = store.send("run/s", b'{"type":"Stop","why":"\xc3\xa4"}', actor="cli", at=6)
    assert second > first
    items = store.inbox()
    assert [item.id for item in items] == [first, second]
    assert (items[0].stream, items[0].actor, items[0].at) == ("run/r", "person@host", 5)
    assert items[1].command == b'{"type":"Stop","why":"\xc3\xa4"}'
    assert store.inbox(after=first) == items[1:]
    store.append([], taken=[first])
    assert store.inbox() == items[1:]


def test_an_inbox_id_is_never_given_twice(store: Store) -> None:
    """An owner asks for what came after the last id it has seen: a reused one would be missed."""
    first = store.send("run/r", b"{}", actor="cli", at=1)
    store.append([], taken=[first])
    second = store.send("run/r", b"{}", actor="cli", at=2)
    assert second > first
    assert [item.id for item in store.inbox(after=first)] == [second]


def member(name: str, expires: int) -> Member:
    return Member(name, "elsewhere", 42, expires, "/run/socket")


def test_a_member_is_alive_until_its_lease_lapses(store: Store) -> None:
    assert not store.alive("e1", 0)
    store.join(member("e1", 100))
    assert store.members() == [member("e1", 100)]
    assert store.alive("e1", 99)
    assert not store.alive("e1", 100), "a lease ends when it says"
    store.join(member("e1", 200))
    assert store.members() == [member("e1", 200)], "joining again renews"
    assert store.alive("e1", 150)


def test_who_has_left_is_gone_at_once(store: Store) -> None:
    store.join(member("e1", 100))
    store.join(member("e2", 100))
    store.leave("e1")
    store.leave("never-joined")
    assert [one.id for one in store.members()] == ["e2"]
    assert not store.alive("e1", 0)
    store.join(member("e1", 300))
    assert store.alive("e1", 299), "and may come back"


def test_nobody_elses_change_is_no_news(store: Store) -> None:
    store.news()
    store.append([opening("r")])
    assert not store.news()


def test_closing_twice_does_nothing(store: Store) -> None:
    store.close()
    store.close()
