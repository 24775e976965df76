"""Histories of the past, replayed by the code of today."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import msgspec
import pytest
from histories.record import summary
from histories.record_pool import pool_summary, replayed
from invariants import check_history

from semantica.pipeline.engine.clock import SystemClock
from semantica.pipeline.engine.pool import SharedPool
from semantica.pipeline.events.envelope import Envelope, NewEvent, first_break
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.queueing import CLAIMS
from semantica.pipeline.events.retention import stubs
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import EVENT_TYPES, to_event
from semantica.pipeline.projections.catchup import load_run
from semantica.pipeline.projections.pool import Pool, pool_from_bytes, pool_to_bytes
from semantica.pipeline.projections.timeline import timeline

FOLDER = Path(__file__).parents[1] / "histories"
HISTORIES = sorted(FOLDER.glob("*.jsonl"))
POOLS = [path for path in HISTORIES if path.stem.endswith("-pool")]
STUBS = [path for path in HISTORIES if path.stem.endswith("-archived")]
CLAIMS_MADE = [path for path in HISTORIES if path.stem.endswith("-claims")]
RUNS = [path for path in HISTORIES if path not in (*POOLS, *STUBS, *CLAIMS_MADE)]


def envelopes(path: Path) -> list[Envelope]:
    recorded = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        fields |= {"payload": fields["payload"].encode(), "digest": bytes.fromhex(fields["digest"])}
        recorded.append(Envelope(**fields))
    return recorded


def stored(recorded: list[Envelope]) -> MemoryStore:
    store = MemoryStore()
    for e in recorded:
        event = NewEvent(e.type, e.schema, e.payload, e.encoding)
        batch = Batch(e.stream, e.version - 1, e.epoch, e.actor, e.at, [event])
        assert store.append([batch]) == [None]
    return store


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_history_still_folds_to_what_it_did(path: Path) -> None:
    recorded = envelopes(path)
    assert first_break(recorded) is None
    check_history(recorded)
    store = stored(recorded)
    assert [e.digest for e in store.read("run/r")] == [e.digest for e in recorded]
    expected = json.loads(path.with_suffix(".json").read_text())
    assert json.loads(json.dumps(summary(load_run(store, "r")))) == expected
    row = store.run("r")
    assert row is not None
    assert row.status == expected["status"]
    assert timeline(recorded).attempts


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_a_pools_history_still_folds_to_what_it_did(path: Path) -> None:
    recorded = envelopes(path)
    assert first_break(recorded) is None
    store = stored(recorded)
    assert [e.digest for e in store.read("resource/here")] == [e.digest for e in recorded]
    expected = json.loads(path.with_suffix(".json").read_text())
    for cut in range(len(recorded)):
        pool = pool_from_bytes("here", pool_to_bytes(replayed(recorded[:cut])))
        for e in recorded[cut:]:
            pool.apply(to_event(e), version=e.version, at=e.at)  # type: ignore[arg-type]
        assert json.loads(json.dumps(pool_summary(pool))) == expected
    shared = SharedPool(store, "here", SystemClock(), threading.Event())
    assert json.loads(json.dumps(pool_summary(Pool("here", shared.state)))) == expected


@pytest.mark.parametrize("path", STUBS, ids=lambda path: path.stem)
def test_stubs_of_the_past_are_still_understood(path: Path) -> None:
    recorded = envelopes(path)
    assert first_break(recorded) is None
    expected = json.loads(path.with_suffix(".json").read_text())
    store = stored(recorded)
    assert [msgspec.to_builtins(stub) for stub in stubs(store)] == expected["stubs"]
    found = store.archived("r")
    assert found is not None and found.digest == recorded[0].digest


@pytest.mark.parametrize("path", CLAIMS_MADE, ids=lambda path: path.stem)
def test_claims_of_the_past_are_still_understood(path: Path) -> None:
    recorded = envelopes(path)
    assert first_break(recorded) is None
    store = stored(recorded)
    expected = json.loads(path.with_suffix(".json").read_text())
    assert [list(to_event(e).runs) for e in store.read(CLAIMS)] == expected["claims"]


def test_the_histories_hold_every_event_of_the_law() -> None:
    assert {e.type for path in HISTORIES for e in envelopes(path)} == set(EVENT_TYPES)
