"""Damage of any kind to a log is reported where it is, and never a traceback."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from contract.runs import SECOND, batch, completed, define, opening, progressed, submission
from hypothesis import given, settings
from hypothesis import strategies as st
from making import of_run
from msgspec.structs import replace

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.codec import Value
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.errors import LogError
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.retention import retire
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.verify import Fault, Verification
from semantica.pipeline.projections.catchup import load_run, save_snapshot
from semantica.pipeline.projections.consistency import snapshot_faults

COLUMNS = ("stream", "version", "type", "schema", "at", "actor", "epoch", "encoding", "payload",
           "digest")  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A log with runs that go on, have ended and have left, a snapshot, and artifacts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.db"
        store = SqliteStore(path, durability="off")
        large = store.artifacts.put(b'"' + b"x" * 5000 + b'"')
        for run_id in ("r", "s", "t"):
            store.append([opening(run_id)])
            output = replace(completed("a"), output=Value(artifact=large, size=5002))
            store.append([batch(run_id, 3, *progressed(20), output, at=2 * SECOND)])
            store.append([batch(run_id, 24, p.PipelineCompleted((24,)), at=3 * SECOND)])
        definition = define({f"step-{n}": [] for n in range(200)})
        store.append([batch("u", 0, submission(definition, store.artifacts))])
        row = store.run("t")
        assert row is not None
        retire(store, row, None, actor="me", at=9)
        save_snapshot(store, load_run(store, "r"))
        store.close()
        yield path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return copied(whole, tmp_path)


def copied(whole: Path, folder: Path) -> Path:
    path = folder / "copy.db"
    shutil.copy(whole, path)
    shutil.copytree(f"{whole}.artifacts", f"{path}.artifacts", dirs_exist_ok=True)
    return path


def faults_of(path: Path, run_id: str | None = None) -> list[Fault]:
    store = SqliteStore(path, durability="off")
    try:
        checked = Verification(store, run_id)
        faults = list(checked.faults())
        broken = {fault.stream for fault in faults}
        streams = [stream for stream in checked.streams if stream not in broken]
        return faults + list(snapshot_faults(store, streams))
    finally:
        store.close()


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()


def test_a_whole_log_has_no_fault(copy: Path) -> None:
    assert faults_of(copy) == []
    assert faults_of(copy, "r") == []
    store = SqliteStore(copy)
    checked = Verification(store)
    assert list(checked.faults()) == []
    assert (checked.events, len(checked.streams), checked.artifacts) == (52, 4, 2)
    assert list(checked.stubs) == ["run/t"]
    store.close()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_one_changed_byte_of_any_column_is_reported_at_its_version(
    whole: Path, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = copied(whole, Path(folder))
        column = data.draw(st.sampled_from(COLUMNS))
        with closing(sqlite3.connect(path)) as connection:
            events = connection.execute(
                f"SELECT position, stream, version, {column} FROM events ORDER BY position"
            ).fetchall()
        position, _, version, value = data.draw(st.sampled_from(events))
        changed = flipped(value, data)
        try:
            change(path, f"UPDATE events SET {column} = ? WHERE position = ?", changed, position)
        except sqlite3.DatabaseError:
            return  # an index refuses it: two of one version, or no JSON any more
        faults = faults_of(path)
        here = [one for one in faults if one.version == version or one.position == position]
        assert here, f"{column} of {position}: {value!r} -> {changed!r}: {faults}"


def flipped(value: Any, data: st.DataObject) -> Any:
    """A value with one byte changed."""
    if isinstance(value, int):
        return value ^ (1 << data.draw(st.integers(0, 62)))
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    if isinstance(value, str):
        try:
            return raw.decode()
        except UnicodeDecodeError:  # SQLite keeps it as it is; so would a damaged page
            return bytes(raw)
    return bytes(raw)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_changed_byte_of_the_file_is_reported_or_harmless(
    whole: Path, data: st.DataObject
) -> None:
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    check_damaged(whole, bytes(content))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_file_that_is_cut_off_is_reported_or_harmless(whole: Path, data: st.DataObject) -> None:
    content = whole.read_bytes()
    check_damaged(whole, content[: data.draw(st.integers(1, len(content) - 1))])


def check_damaged(whole: Path, content: bytes) -> None:
    """Faults, or an error of ours, or the same events as before."""
    with tempfile.TemporaryDirectory() as folder:
        path = copied(whole, Path(folder))
        path.write_bytes(content)
        try:
            faults = faults_of(path)
        except LogError:
            return  # it cannot be opened as a log
        if not faults:
            assert everything(path) == everything(whole)


def everything(path: Path) -> tuple[list[Envelope], list[Any]]:
    store = SqliteStore(path, durability="off")
    try:
        return list(store.read_all()), store.runs()
    finally:
        store.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"DELETE FROM events WHERE {of_run('r')} AND version = 7",
         "run/r version 7 (position 8): version 7 is missing, 8 follows"),
        (f"DELETE FROM events WHERE {of_run('r')} AND version = 25",
         "run/r: the directory has status 'completed', not 'running'"),
        (f"DELETE FROM events WHERE {of_run('s')}",
         "run/s: the directory has a run of which there are no events"),
        ("UPDATE directory SET name = 'other' WHERE run_id = 'r'",
         "run/r: the directory has name 'other', not 'job' as its events do"),
        ("UPDATE directory SET status = 'dreaming' WHERE run_id = 'r'",
         "run/r: the directory says that run r is 'dreaming'"),
        ("DELETE FROM directory WHERE run_id = 's'", "run/s: the directory lacks it"),
        ("UPDATE snapshots SET data = replace(data, '\"status\":\"completed\"', "
         "'\"status\":\"cancelled\"')", "run/r version 25: its snapshot differs from its events"),
        ("UPDATE snapshots SET data = x'00'", "run/r version 25: its snapshot cannot be read"),
        ("UPDATE snapshots SET version = 900", "run/r version 900: its snapshot differs"),
        (f"UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE {of_run('r')} AND version = 9",
         "run/r version 9 (position 9): its payload is no text in UTF-8"),
        (f"UPDATE events SET version = 'x' WHERE {of_run('r')} AND version = 9",
         "run/r (position 9): its version is no int: 'x'"),
        ("UPDATE streams SET name = 'archive/other' WHERE name LIKE 'archive/%'",
         "its digest does not match its content"),
        (f"UPDATE events SET stream = 99 WHERE {of_run('r')} AND version = 9",
         "(position 9): its stream is no str: None"),
        ("UPDATE streams SET name = 'run/x' WHERE name = 'run/r'",
         "run/x version 1 (position 1): its digest does not match its content"),
        ("UPDATE streams SET name = 'run/t' WHERE name = 'run/s'",
         "run/t: there are events of it, though it left with 25 events"),
    ],
)  # fmt: skip
def test_every_fault_is_told_with_its_place(copy: Path, statement: str, told: str) -> None:
    change(copy, statement)
    faults = "\n".join(map(str, faults_of(copy)))
    assert told in faults


def test_the_check_goes_on_behind_a_fault(copy: Path) -> None:
    for version in (5, 12):
        change(copy, f"UPDATE events SET actor = 'eve' WHERE {of_run('r')} AND version = ?",
               version)  # fmt: skip
    change(copy, f"UPDATE events SET digest = zeroblob(32) WHERE {of_run('s')} AND version = 9")
    found = [(one.stream, one.version) for one in faults_of(copy)]
    assert found == [("run/r", 5), ("run/r", 12), ("run/s", 9)]
    assert [one.version for one in faults_of(copy, "r")] == [5, 12]


def test_an_event_that_no_law_allows_is_told(copy: Path) -> None:
    store = SqliteStore(copy)
    (refusal,) = store.append([batch("u", 1, *progressed(1), epoch=3)])
    assert refusal is None
    (refusal,) = store.append([batch("u", 2, *progressed(1), epoch=3)])
    store.close()
    assert store.run is not None and faults_of(copy) == [], "steps are the fold's affair"
    change(copy, "UPDATE directory SET status = ? WHERE run_id = 'u'", PipelineStatus.RUNNING)
    assert [one.stream for one in faults_of(copy)] == ["run/u"]


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_an_artifact_is_told_with_the_first_event_that_names_it(copy: Path, damage: str) -> None:
    (path,) = [one for one in Path(f"{copy}.artifacts").glob("*/*") if one.stat().st_size == 5002]
    if damage == "flip":
        path.write_bytes(b"y" + path.read_bytes()[1:])
    else:
        path.unlink()
    (fault,) = faults_of(copy)
    assert (fault.stream, fault.version) == ("run/r", 24)
    assert str(path) in fault.problem


def test_a_damaged_artifact_that_nothing_names_is_told(copy: Path) -> None:
    store = SqliteStore(copy)
    digest = store.artifacts.put(b"z" * 5000)
    store.close()
    path = Path(f"{copy}.artifacts") / digest[:2] / digest[2:]
    path.write_bytes(b"")
    (fault,) = faults_of(copy)
    assert fault.stream is None and f"artifact {path} is damaged" in str(fault)
