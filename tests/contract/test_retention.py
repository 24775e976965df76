"""What leaves a log: a stream and all that hangs on it at once, and artifacts that nobody needs."""

from __future__ import annotations

import threading
import time

import pytest
from contract.runs import SECOND, batch, completed, opening
from msgspec.structs import replace

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.errors import AppendRefused, LogCorrupt
from semantica.pipeline.events.retention import retire, stubs, sweep
from semantica.pipeline.events.sealed_store import as_stored
from semantica.pipeline.events.store import Batch, Snapshot, Store
from semantica.pipeline.events.stub import ARCHIVE, RunArchived
from semantica.pipeline.events.upcasters import to_event, to_new
from semantica.pipeline.events.verify import Verification


def finished(store: Store, run_id: str, at: int = SECOND) -> Envelope:
    """A run that has ended; returns its last event."""
    store.append([opening(run_id, at=at)])
    work = replace(completed("a"), cache=f"key of {run_id}")
    store.append([batch(run_id, 3, work, p.PipelineCompleted((4,)), at=at)])
    head = store.head(f"run/{run_id}")
    assert head is not None
    return head


def stub(head: Envelope, after: int = 0) -> Batch:
    run_id = head.stream.partition("/")[2]
    told = RunArchived(run_id, "job", "completed", 1, 2, head.version, head.digest.hex())
    return Batch(ARCHIVE, after, 0, "tester", SECOND, [to_new(told)])


def test_the_head_is_the_newest_event(store: Store) -> None:
    assert store.head("run/r") is None
    finished(store, "r")
    assert store.head("run/r") == list(store.read("run/r"))[-1]


def test_a_run_leaves_with_all_that_hangs_on_it(store: Store) -> None:
    head, _ = finished(store, "r"), finished(store, "s")
    store.save_snapshot("run/r", Snapshot(3, 1, b"{}"))
    store.send("run/r", b"{}", actor="me", at=1)
    item = store.send("run/s", b"{}", actor="me", at=1)
    before = [e for e in store.read_all() if e.stream != "run/r"]
    assert store.retire(head, stub(head)) is None
    assert list(store.read("run/r")) == [] and store.head("run/r") is None
    assert store.run("r") is None and [row.run_id for row in store.runs()] == ["s"]
    assert store.load_snapshot("run/r") is None
    assert [one.id for one in store.inbox()] == [item]
    assert store.cached("key of r") is None and store.cached("key of s") is not None
    *rest, last = store.read_all()
    assert rest == before, "nothing else has changed"
    assert store.archived("r") == last and to_event(last).events == 5
    assert store.archived("s") is None
    store.rebuild()
    assert store.run("r") is None and store.archived("r") == last
    assert list(Verification(store).faults()) == []


def test_nothing_follows_in_a_stream_that_has_left(store: Store) -> None:
    head = finished(store, "r")
    assert store.retire(head, stub(head)) is None
    for late in (opening("r"), batch("r", 5, p.PipelineResumed())):
        (refusal,) = store.append([late])
        assert isinstance(refusal, AppendRefused)
        assert "it was archived" in str(refusal)
    assert [e.stream for e in store.read_all()] == [ARCHIVE]


def test_positions_are_never_given_twice(store: Store) -> None:
    head = finished(store, "r")
    store.retire(head, stub(head))
    finished(store, "s")
    positions = [e.position for e in store.read_all()]
    assert positions == [6, 7, 8, 9, 10, 11]
    assert [e.position for e in store.read_all(after=9)] == [10, 11]


def test_who_has_looked_too_early_changes_nothing(store: Store) -> None:
    early, other = finished(store, "r"), finished(store, "s")
    assert store.retire(other, stub(other)) is None
    before = list(store.read_all())
    refusal = store.retire(early, stub(early, after=0))  # another stub is there by now
    assert refusal is not None and refusal.stream == ARCHIVE
    stale = replace(early, version=4)
    refusal = store.retire(stale, stub(early, after=1))
    assert refusal is not None and refusal.stream == "run/r"
    assert list(store.read_all()) == before and store.run("r") is not None


def test_a_run_of_which_the_chain_is_broken_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(store, "r")
    row = store.run("r")
    assert row is not None
    read = as_stored(store).read

    def changed(stream: str, after: int = 0):  # type: ignore[no-untyped-def]
        return (replace(e, actor="mallory") if e.version == 4 else e for e in read(stream, after))

    monkeypatch.setattr(as_stored(store), "read", changed)
    with pytest.raises(LogCorrupt, match="run/r was not archived: the digest of version 4"):
        retire(store, row, None, actor="me", at=1)
    assert store.run("r") == row and store.archived("r") is None


def test_what_has_not_ended_stays(store: Store) -> None:
    store.append([opening("r")])
    row = store.run("r")
    assert row is not None
    assert retire(store, row, None, actor="me", at=1) is None
    assert store.run("r") == row


def test_many_leave_at_once_and_every_stub_is_there(store: Store) -> None:
    for number in range(12):
        finished(store, f"r{number}")

    def leave(numbers: range) -> None:
        for number in numbers:
            row = store.run(f"r{number}")
            assert row is not None
            assert retire(store, row, None, actor="me", at=1) is not None

    threads = [threading.Thread(target=leave, args=(range(n, 12, 3),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.run for one in stubs(store)) == sorted(f"r{n}" for n in range(12))
    assert list(Verification(store).faults()) == []
    assert store.runs() == []


# Artifacts


def naming(store: Store, run_id: str, content: bytes) -> str:
    """A finished run that names an artifact."""
    digest = store.artifacts.put(content)
    finished(store, run_id)
    text = f'{{"step":"a","n":1,"of":"{digest}"}}'.encode()
    event = to_new(p.SignalReceived("x", completed("a").output))
    event = type(event)(event.type, event.schema, text)
    store.append([Batch(f"pool/{run_id}", 0, 1, "me", 1, [event])])
    return digest


LATER = 10**9 * 3600


def test_artifacts_that_anything_names_stay(store: Store) -> None:
    inner = store.artifacts.put(b"i" * 5000)
    outer = naming(store, "r", b'{"shards":["%b"]}' % inner.encode())
    asked = store.artifacts.put(b"a" * 5000)
    store.send("run/r", b'{"value":"%b"}' % asked.encode(), actor="me", at=1)
    orphan = store.artifacts.put(b"o" * 5000)
    now = time.time_ns()
    assert sweep(store, now - LATER) == (0, 0), "it was put within the time of grace"
    assert sweep(store, now + LATER, dry_run=True) == (1, 5000)
    assert set(store.artifacts.digests()) == {inner, outer, asked, orphan}
    assert sweep(store, now + LATER) == (1, 5000)
    assert set(store.artifacts.digests()) == {inner, outer, asked}
    assert store.artifacts.get(inner) == b"i" * 5000
    with pytest.raises(LogCorrupt, match="missing"):
        store.artifacts.get(orphan)


def test_what_is_put_again_just_then_stays(store: Store) -> None:
    digest = store.artifacts.put(b"x" * 5000)
    early = time.time_ns() + 1
    while time.time_ns() <= early:
        pass
    assert store.artifacts.size(digest, time.time_ns() + LATER) == 5000
    assert store.artifacts.put(b"x" * 5000) == digest
    assert store.artifacts.discard(digest, early) == 0
    assert store.artifacts.get(digest) == b"x" * 5000
    assert store.artifacts.touch(digest)
    assert not store.artifacts.touch("0" * 64)


def test_what_an_event_names_while_it_is_swept_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The references are looked up again when nobody else can append."""
    digest = store.artifacts.put(b"x" * 5000)
    locked = as_stored(store).locked

    def late():  # type: ignore[no-untyped-def]
        event = to_new(p.SignalReceived("x", completed("a").output))
        text = b'{"of":"%b"}' % digest.encode()
        store.append([Batch("pool/p", 0, 1, "me", 1, [type(event)(event.type, 1, text)])])
        return locked()

    monkeypatch.setattr(as_stored(store), "locked", late)
    assert sweep(store, time.time_ns() + LATER) == (0, 0)
    assert store.artifacts.get(digest)


def test_nobody_appends_while_it_is_locked(store: Store) -> None:
    order: list[str] = []

    def append() -> None:
        store.append([opening("r")])
        order.append("appended")

    with store.locked():
        thread = threading.Thread(target=append)
        thread.start()
        thread.join(0.2)
        order.append("unlocked")
    thread.join()
    assert order == ["unlocked", "appended"]


def test_a_compact_log_holds_the_same(store: Store) -> None:
    large = completed("a")
    store.append([opening("r")])
    for version in range(3, 203):
        store.append([batch("r", version, p.SignalReceived("x", large.output))])
    head, _ = store.head("run/r"), finished(store, "s")
    assert head is not None
    store.retire(head, stub(head))
    before = list(store.read_all())
    assert store.compact() >= 0
    assert list(store.read_all()) == before
    finished(store, "t")
    assert list(Verification(store).faults()) == []
