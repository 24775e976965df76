"""What an anchor that was made before shows of a log that is whole in itself."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from contract.runs import SECOND, batch, completed, opening, progressed
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.anchor import (
    Anchor,
    AnchorCheck,
    BadAnchor,
    anchor_of,
    is_authentic,
    read_anchor,
    sign,
)
from semantica.pipeline.events.envelope import GENESIS, Envelope, NewEvent, chain
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.retention import retire
from semantica.pipeline.events.verify import Fault, Verification

KEY = b"sixteen bytes or so"
RUNS = {"r": 12, "s": 3, "t": 0}
"""Progress events of runs; ``r`` and ``s`` are completed."""


def whole() -> MemoryStore:
    store = MemoryStore()
    for run_id, count in RUNS.items():
        store.append([opening(run_id)])
        if count:
            store.append([batch(run_id, 3, *progressed(count), completed("a"), at=2 * SECOND)])
            store.append([batch(run_id, 4 + count, p.PipelineCompleted((4 + count,)))])
    return store


def anchored(store: MemoryStore) -> Anchor:
    checked = Verification(store)
    assert list(checked.faults()) == []
    return anchor_of(
        checked.heads, log="a log", at=SECOND, actor="me", position=checked.position
    )  # fmt: skip


def faults(store: MemoryStore, *anchors: Anchor, run: str | None = None) -> list[Fault]:
    checks = [AnchorCheck(one, "the anchor", [f"run/{run}"] if run else None) for one in anchors]
    return list(Verification(store, run, checks).faults())


def forged(store: MemoryStore, stream: str, events: Sequence[Envelope]) -> MemoryStore:
    """The log with other events of a stream, and everything derived from them anew."""
    result = MemoryStore()
    for e in [one for one in store.read_all() if one.stream != stream] + list(events):
        event = NewEvent(e.type, e.schema, e.payload, e.encoding)
        made = msgspec.structs.replace(batch("", 0), stream=e.stream, after=e.version - 1)
        made = replace(made, epoch=e.epoch, actor=e.actor, at=e.at, events=[event])
        assert result.append([made]) == [None]
    return result


def place(fault: Fault) -> tuple[str | None, int | None]:
    return fault.stream, fault.version


def test_a_log_that_only_grew_is_what_it_was() -> None:
    store = whole()
    anchor = anchored(store)
    store.append([batch("t", 3, completed("a"))])
    store.append([opening("u")])
    check = AnchorCheck(anchor, "the anchor")
    assert list(Verification(store, None, [check]).faults()) == []
    assert check.compared == 3


@given(st.data())
def test_one_changed_byte_of_an_event_is_told_at_its_version_anchored_or_not(
    data: st.DataObject,
) -> None:
    store = whole()
    anchor = anchored(store)
    index = data.draw(st.integers(0, len(store._log) - 1))
    event = store._log[index]
    column = data.draw(st.sampled_from(["type", "actor", "payload", "digest", "at", "epoch"]))
    value = getattr(event, column)
    if isinstance(value, int):
        changed: object = value ^ (1 << data.draw(st.integers(0, 40)))
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 127)) if isinstance(value, str) else 0xFF
        if isinstance(value, str) and max(raw) > 127:
            return
        changed = raw.decode() if isinstance(value, str) else bytes(raw)
    store._log[index] = replace(event, **{column: changed})
    found = [one for one in faults(store, anchor) if one.version is not None]
    assert [place(one) for one in found] == [(event.stream, event.version)], found
    assert "digest does not match" in found[0].problem


@given(st.data())
def test_a_tail_that_was_cut_off_is_told_from_where_on(data: st.DataObject) -> None:
    store = whole()
    anchor = anchored(store)
    run = data.draw(st.sampled_from(list(RUNS)))
    events = list(store.read(f"run/{run}"))
    left = data.draw(st.integers(0, len(events) - 1))
    cut = forged(store, f"run/{run}", events[:left])
    assert faults(cut) == [], "without the anchor nobody could know"
    (found,) = faults(cut, anchor)
    if left:
        assert place(found) == (f"run/{run}", left + 1)
        assert f"its newest {len(events) - left} events are cut off" in found.problem
    else:
        assert place(found) == (f"run/{run}", None)
        assert f"knows {len(events)} events of it" in found.problem
    assert [place(one) for one in faults(cut, anchor, run="s")] == (
        [place(found)] if run == "s" else []
    )


@given(st.data())
def test_a_history_that_was_written_anew_is_told_between_two_anchors(data: st.DataObject) -> None:
    store = whole()
    events = list(store.read("run/r"))
    first = data.draw(st.integers(1, len(events) - 1))
    early = anchored(forged(store, "run/r", events[:first]))
    late = anchored(store)
    changed = data.draw(st.integers(1, len(events)))
    rewritten = [
        replace(e, actor="eve") if e.version == changed else e
        for e in events
    ]  # fmt: skip
    log = forged(store, "run/r", rewritten)
    assert faults(log) == [], "without the anchor nobody could know"
    told = [place(one) for one in faults(log, early, late)]
    expected = [("run/r", first)] if changed <= first else []
    assert told == [*expected, ("run/r", len(events))]


def test_a_run_that_left_for_an_archive_was_not_cut_off() -> None:
    store = whole()
    anchor = anchored(store)
    row = store.run("r")
    assert row is not None
    retire(store, row, None, actor="me", at=9)
    assert faults(store, anchor) == []
    other = whole()
    row = other.run("r")
    assert row is not None
    head = other.head("run/r")
    assert head is not None
    heads = {**anchor.heads, "run/r": (head.version, "00" * 32)}
    retire(other, row, None, actor="me", at=9)
    (fault,) = faults(other, replace(anchor, heads=heads))
    assert place(fault) == ("run/r", head.version)
    assert "did not leave the log as" in fault.problem


def test_a_signature_is_that_of_the_key_and_of_every_byte() -> None:
    anchor = anchored(whole())
    assert not is_authentic(anchor, KEY)
    signed = sign(anchor, KEY)
    assert is_authentic(signed, KEY)
    assert not is_authentic(signed, b"another key of some bytes")
    again = read_anchor(msgspec.json.encode(signed), "a.json")
    assert is_authentic(again, KEY)
    shuffled = replace(again, heads=dict(reversed(again.heads.items())))
    assert is_authentic(shuffled, KEY), "the order of members means nothing in JSON"
    for change in (
        {"at": 2},
        {"actor": "eve"},
        {"log": "another"},
        {"position": 1},
        {"heads": {}},
        {"heads": {**anchor.heads, "run/r": (1, "00" * 32)}},
        {"mac": "00"},
    ):
        assert not is_authentic(replace(signed, **change), KEY), change
    with pytest.raises(BadAnchor, match="at least"):
        sign(anchor, b"short")


@given(st.data())
def test_a_file_that_is_no_anchor_is_refused_or_not_authentic(data: st.DataObject) -> None:
    text = bytearray(msgspec.json.encode(sign(anchored(whole()), KEY)))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    try:
        anchor = read_anchor(bytes(text), "a.json")
    except BadAnchor as error:
        assert str(error).startswith("a.json is ")
    else:
        assert not is_authentic(anchor, KEY)


def test_a_chain_that_is_known_to_be_broken_is_not_told_twice() -> None:
    store = whole()
    anchor = anchored(store)
    last = store._log[-1]
    assert last.version == anchor.heads[last.stream][0]
    store._log[-1] = replace(last, digest=GENESIS)
    assert len([one for one in faults(store, anchor) if one.stream == last.stream]) == 1
    event = NewEvent(last.type, last.schema, last.payload)
    before = store._log[-2].digest
    fits = chain(before, last.stream, last.version, last.at, last.actor, last.epoch, event)
    assert fits.hex() == anchor.heads[last.stream][1]
