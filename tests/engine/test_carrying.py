"""Runs are carried to another log: whole, provably the same, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.runs import batch, completed, opening
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    LogCorrupt,
    LogError,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
)
from semantica.pipeline.engine.carried import has_pickle
from semantica.pipeline.engine.importing import import_runs
from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.retention import again
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Store
from semantica.pipeline.events.verify import Verification
from semantica.pipeline.projections.catchup import load_run, take_snapshot
from semantica.pipeline.projections.recording import envelope_of


def large(data: object, context: Context) -> list[str]:
    context.log.info("large indeed", of=data)
    return [f"{data}" * 10_000]


def length(data: list[str]) -> int:
    return len(data[0])


def odd(data: object) -> object:
    return type("Odd", (), {}) and Opaque()


class Opaque:
    """Neither JSON nor a dataclass: it is pickled."""

    def __init__(self) -> None:
        self.inner = {1}

    def __reduce__(self) -> tuple[object, ...]:
        return Opaque, ()


def broken(data: object) -> None:
    raise ValueError("no")


def work(name: str = "p") -> Pipeline:
    steps = [
        PipelineStep("large", "t", handler=large),
        PipelineStep("last", "t", handler=length, dependencies=["large"]),
    ]
    return Pipeline(name, steps)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "target.db", durability="off")
    yield store
    store.close()


@pytest.fixture
def exported(engine: ExecutionEngine, tmp_path: Path) -> Path:
    """A file with four runs: two that ended well, one within another, one that failed."""
    engine.execute_pipeline(work(), 1, run_id="first")
    nested = PipelineBuilder().add_step("inner", pipeline=work("inner")).build("outer")
    engine.execute_pipeline(nested, 2, run_id="second")
    bad = Pipeline("bad", [PipelineStep("broken", "t", handler=broken)])
    engine.execute_pipeline(bad, run_id="third")
    file = tmp_path / "runs.zip"
    made = engine.export_runs(file)
    assert (made.runs, made.artifacts) == (4, 2)
    return file


def bring(store: Store, file: Path, *, allow_pickle: bool = False) -> tuple[int, int, int]:
    done = import_runs(store, file, allow_pickle=allow_pickle, now=time.time_ns())
    return done.runs, done.already, done.events


def state(store: Store) -> dict[str, bytes]:
    return {row.run_id: take_snapshot(load_run(store, row.run_id)) for row in store.runs()}


def lines(store: Store, run_id: str) -> list[object]:
    return [(one.step, one.event, one.fields) for one in store.lines.read(run_id)]


def content(store: Store) -> object:
    """All that an import could change."""
    said = [lines(store, row.run_id) for row in store.runs()]
    return said, [*store.read_all()], store.runs(), sorted(store.artifacts.digests())


def altered(file: Path, name: str, change: object) -> Path:
    """A copy of the file in which ``change`` made something else of one member."""
    copy = file.with_name("altered.zip")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as made:
        for member in source.namelist():
            data = source.read(member)
            if member.startswith(name):
                data = change(data)  # type: ignore[operator]
            if data is not None:
                made.writestr(member, data)
    return copy


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_same_runs_are_in_the_other_log(
    engine: ExecutionEngine, exported: Path, target: SqliteStore, kind: str
) -> None:
    source, store = engine._open().store, MemoryStore() if kind == "memory" else target
    assert bring(store, exported) == (4, 0, len([*source.read_all()]))
    for row in source.runs():
        assert store.run(row.run_id) == row
        here, there = ([*one.read(row.stream)] for one in (source, store))
        assert [e.digest for e in here] == [e.digest for e in there]
        assert [(e.version, e.at, e.payload) for e in here] == [
            (e.version, e.at, e.payload) for e in there
        ]
        assert lines(store, row.run_id) == lines(source, row.run_id)
    assert lines(store, "first") == [("large", "large indeed", {"of": 1})]
    assert state(store) == state(source)
    assert list(Verification(store).faults()) == []
    before = content(store)
    assert bring(store, exported) == (0, 4, 0), "importing twice changes nothing"
    assert content(store) == before
    other = ExecutionEngine(store)
    assert other.execute_pipeline(work(), 1, run_id="first").output == 10_000
    other.close()


def test_the_same_runs_give_the_same_bytes(
    engine: ExecutionEngine, exported: Path, target: SqliteStore, tmp_path: Path
) -> None:
    target.append([opening("before")])  # other positions than in the source
    bring(target, exported)
    again = tmp_path / "again.zip"
    with ExecutionEngine(target) as other:
        other.export_runs(again, "first", "second", "third")
    assert again.read_bytes() == exported.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LogError, match="exists; name a new file"):
        engine.export_runs(again)
    child = next(row.run_id for row in engine.runs() if row.parent)
    with pytest.raises(LogError, match="is a step of run second; export that one"):
        engine.export_runs(tmp_path / "child.zip", child)
    assert engine.export_runs(tmp_path / "two.zip", "outer").runs == 2


def test_a_changed_byte_is_refused_or_means_nothing(
    engine: ExecutionEngine, exported: Path, tmp_path: Path
) -> None:
    whole, refused = exported.read_bytes(), 0
    expected, damaged = state(engine._open().store), tmp_path / "damaged.zip"
    places = [*range(0, len(whole), 41), *range(len(whole) - 400, len(whole))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 0x11
        damaged.write_bytes(changed)
        store = MemoryStore()
        try:
            bring(store, damaged)
        except LogError as error:
            refused += 1
            assert str(damaged) in str(error)
            assert content(store) == content(MemoryStore())
        else:  # a zip tells the time and the name of its maker, too
            assert state(store) == expected
    assert refused > len(places) // 2
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:size])
        with pytest.raises(LogCorrupt, match="is damaged, or no export of runs"):
            bring(MemoryStore(), damaged)


@pytest.mark.parametrize(
    ("member", "change", "says"),
    [
        ("events", lambda text: text.replace(b"first", b"fi4st", 1), "event 1 of run first"),
        ("events", lambda text: text.replace(b'"actor":"', b'"actor":"x', 1), "another content"),
        ("events", lambda text: text.split(b"\n", 1)[1], "event 1 of run first is missing"),
        ("events", lambda text: text + text.splitlines()[-1] + b"\n", "events of no run"),
        ("events", lambda text: text[:-300], "events.jsonl line"),
        ("artifacts", lambda data: data[:-1] + b"!", "has another content"),
        ("artifacts", lambda data: None, "is missing"),
        ("events", lambda text: None, "does not hold what an export does"),
        ("manifest", lambda text: text.replace(b'"failed"', b'"completed"'), "manifest says"),
        ("manifest", lambda text: text.replace(b'"runs"', b'"run"'), "manifest.json: "),
        ("manifest", lambda text: text.replace(b'"version": 2', b'"version": 3'), "upgrade"),
        ("manifest", lambda text: text.replace(b'"version": 2', b'"version": 1'), "version 2"),
        ("logs", lambda text: None, "logs.jsonl belongs to version 2"),
        ("logs", lambda text: text.replace(b"info", b"loud", 1), "line 1: it is no line of a han"),
        ("logs", lambda text: text.replace(b'{\\"', b'[{\\"', 1), "logs.jsonl line 1"),
        ("logs", lambda text: text.replace(b"first", b"fourth"), "lines of no run"),
        ("logs", lambda text: text + text.splitlines()[0] + b"\n", "in no order"),
    ],
)
def test_a_changed_file_says_where(
    exported: Path, target: SqliteStore, member: str, change: object, says: str
) -> None:
    before = content(target)
    with pytest.raises(LogError, match=says):
        bring(target, altered(exported, member, change))
    assert content(target) == before


def test_a_clash_changes_nothing(
    engine: ExecutionEngine, exported: Path, target: SqliteStore, tmp_path: Path
) -> None:
    target.append([opening("third")])
    before = content(target)
    with pytest.raises(LogError, match="another history of run third"):
        bring(target, exported)
    assert content(target) == before
    engine.archive(older_than=0, to=None)
    with pytest.raises(LogError, match="run first was archived from"):
        bring(engine._open().store, exported)


def test_a_run_that_went_on_is_continued(target: SqliteStore, tmp_path: Path) -> None:
    source, files = MemoryStore(), [tmp_path / "1.zip", tmp_path / "2.zip"]
    source.append([opening("r")])
    with ExecutionEngine(source) as engine:
        engine.export_runs(files[0], "r")
        source.append([batch("r", 3, completed("a"), p.PipelineCompleted((4,)))])
        engine.export_runs(files[1], "r")
    assert bring(target, files[0]) == (1, 0, 3)
    assert bring(target, files[1]) == (1, 0, 2)
    assert bring(target, files[0]) == (0, 1, 0), "an older file has nothing new"
    assert state(target) == state(source)


def test_lines_that_are_missing_are_brought_with_the_next_import(
    engine: ExecutionEngine, exported: Path, target: SqliteStore
) -> None:
    """As after a kill between the events and the lines, or of a file of an older version."""
    older = altered(exported, "logs", lambda text: None)
    older = altered(older.rename(older.with_name("older.zip")), "manifest",
                    lambda text: text.replace(b'"version": 2', b'"version": 1'))  # fmt: skip
    assert bring(target, older)[0] == 4
    assert lines(target, "first") == []
    assert bring(target, exported) == (0, 4, 0)
    source = engine._open().store
    for row in source.runs():
        assert lines(target, row.run_id) == lines(source, row.run_id)


def test_an_unfinished_run_is_recovered_in_the_other_log(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    waits = (
        PipelineBuilder()
        .add_step("large", "t", handler=large)
        .add_step("asks", "t", handler=asks)
        .build("asks")
    )
    future = engine.execute_pipeline_async(waits, 3, run_id="r")
    while engine.report("r").steps[1].status != "suspended":
        time.sleep(0.01)
    engine.export_runs(tmp_path / "r.zip")
    with ExecutionEngine(tmp_path / "other.db") as other:
        other.import_runs(tmp_path / "r.zip")
        (recovered,) = other.recover()
        other.signal("r", "go", 5)
        assert recovered.result(20).output == 50_000
        assert sum(e.type == "StepStarted" for e in other.history("r")) == 3, "large ran once"
    engine.signal("r", "go", 1)
    assert future.result(20).output == 10_000


def asks(data: list[str], context: object) -> int:
    return int(context.wait_for("go")) * len(data[0])  # type: ignore[attr-defined]


def test_pickles_of_others_are_not_taken_in_unasked(
    engine: ExecutionEngine, target: SqliteStore, tmp_path: Path
) -> None:
    engine.execute_pipeline(Pipeline("odd", [PipelineStep("odd", "t", handler=odd)]))
    file = tmp_path / "odd.zip"
    engine.export_runs(file)
    with pytest.raises(LogError, match=r"event 4 of run .* holds a pickle"):
        bring(target, file)
    assert target.runs() == []
    assert bring(target, file, allow_pickle=True)[0] == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":[{"!":"pickle","v":""}]}', True),
        (b'{ "\\u0021" : "p\\u0069ckle" }', True),
        (b'{"a":"{\\"!\\":\\"pickle\\"}"}', False),
        (b"pickle", False),
    ],
)
def test_a_pickle_is_found_however_it_is_spelt(text: bytes, found: bool) -> None:
    assert has_pickle(text) is found


KILLED = """
import os, sys, time
from pathlib import Path
from semantica.pipeline.engine.importing import import_runs
from semantica.pipeline.events.sqlite import SqliteStore

class Dying(SqliteStore):
    def _append_all(self, connection, batches):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return super()._append_all(connection, batches)

left = int(sys.argv[3])
store = Dying(sys.argv[1])
import_runs(store, Path(sys.argv[2]), allow_pickle=False, now=time.time_ns())
"""


@pytest.mark.parametrize(("pages", "there"), [(1, set()), (2, {"long"})])
def test_killed_on_the_way_no_run_is_there_in_part(
    tmp_path: Path, pages: int, there: set[str]
) -> None:
    source, file, log = MemoryStore(), tmp_path / "r.zip", tmp_path / "killed.db"
    source.append([opening("long")])
    saved = [p.SignalReceived(f"s{n}", completed("a").output) for n in range(600)]
    source.append([batch("long", 3, *saved)])
    source.append([opening("short", at=2 * 10**9)])
    with ExecutionEngine(source) as engine:
        engine.export_runs(file)
    killed = subprocess.run([sys.executable, "-c", KILLED, log, file, str(pages)], timeout=60)
    assert killed.returncode == -9
    store = SqliteStore(log)
    assert {row.run_id for row in store.runs()} == there
    assert list(Verification(store).faults()) == []
    bring(store, file)
    assert state(store) == state(source)
    store.close()


def test_lines_are_json_for_other_tools(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        first = json.loads(archive.read("events.jsonl").splitlines()[0])
        manifest = json.loads(archive.read("manifest.json"))
    assert (first["type"], json.loads(first["payload"])["name"]) == ("PipelineSubmitted", "p")
    assert [one["run"] for one in manifest["runs"]][:2] == ["first", "second"]


NO_RUNS = {"schema-1-pool", "schema-1-archived", "schema-1-within", "schema-1-claims"}
"""Of pools, stubs and claims; and a step of a run, without that run."""
HISTORIES = Path(__file__).parents[1] / "histories"


@pytest.mark.parametrize(
    "history",
    [one for one in sorted(HISTORIES.glob("*.jsonl")) if one.stem not in NO_RUNS],
    ids=lambda one: one.stem,
)
def test_every_recorded_history_can_be_carried(history: Path, tmp_path: Path) -> None:
    lines = history.read_text().splitlines()
    source, store = MemoryStore(), MemoryStore()
    source.append([again(envelope_of(line)) for line in lines])
    with ExecutionEngine(source) as engine:
        engine.export_runs(tmp_path / "runs.zip")
    assert bring(store, tmp_path / "runs.zip", allow_pickle=True)[2] == len(lines)
    assert state(store) == state(source)
    assert [e.digest for e in store.read_all()] == [e.digest for e in source.read_all()]
