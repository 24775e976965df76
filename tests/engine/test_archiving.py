"""Old runs leave a log: which ones, what stays of them, and what is answered about them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from making import MakeEngine, of_run

from semantica.pipeline import (
    ArchivedRun,
    Context,
    ExecutionEngine,
    LogCorrupt,
    LogError,
    Pipeline,
    PipelineStep,
    RunNotFound,
)
from semantica.pipeline.engine.retention import archive_faults
from semantica.pipeline.events.sealed_store import as_stored
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.verify import Verification
from semantica.pipeline.testing import SimulatedEngine


def large(data: int, context: Context) -> str:
    context.log.info("large indeed")
    return f"{data}" * 10_000


def length(data: str) -> int:
    return len(data)


def broken(data: object) -> None:
    raise ValueError("no")


def pipeline(name: str = "p", last: object = length, **options: object) -> Pipeline:
    steps = [
        PipelineStep("large", "t", handler=large, **options),  # type: ignore[arg-type]
        PipelineStep("last", "t", handler=last, dependencies=["large"]),  # type: ignore[arg-type]
    ]
    return Pipeline(name, steps)


def whole(engine: ExecutionEngine) -> bool:
    return list(Verification(engine._open().store).faults()) == []


def test_a_run_moves_to_another_log_unchanged(engine: ExecutionEngine, tmp_path: Path) -> None:
    engine.execute_pipeline(pipeline(), 1, run_id="old")
    history = engine.history("old")
    place = tmp_path / "old" / "archive.db"
    (planned,) = engine.archive(older_than=0, to=place, dry_run=True)
    assert not place.exists() and engine.history("old") == history
    (stub,) = engine.archive(older_than=0, to=place)
    assert stub == planned and engine.archived() == [stub]
    assert (stub.run, stub.name, stub.status, stub.to) == ("old", "p", "completed", str(place))
    assert (stub.events, stub.digest) == (len(history), history[-1].digest.hex())
    assert engine.runs() == [] and whole(engine)
    assert engine._open().store.lines.heads(0) == {}, "its lines have left with it"
    assert engine.vacuum(grace=3600).artifacts == 0, "the time of grace begins when it leaves"
    done = engine.vacuum(grace=0)
    assert (done.artifacts, done.artifact_bytes) == (1, 10_002)
    with ExecutionEngine(place) as archive:
        moved = archive.history("old")
        assert [(e.version, e.payload, e.digest) for e in moved] == [
            (e.version, e.payload, e.digest) for e in history
        ]
        assert [line.event for line in archive.lines("old")] == ["large indeed"]
        assert archive.attach("old").result(10).output == 10_000
        assert archive.fork("old", from_step="last").result(10).output == 10_000
        assert whole(archive)


def test_what_is_asked_about_an_archived_run(engine: ExecutionEngine, tmp_path: Path) -> None:
    engine.execute_pipeline(pipeline(), 1, run_id="old")
    engine.archive(older_than=0, to=tmp_path / "archive.db")
    told = r"run old \(p, completed\) is not in .*: its 7 events were moved to .*archive.db"
    for ask in (engine.get_status, engine.history, engine.report, engine.attach, engine.fork,
                engine.resume_pipeline, engine.pause_pipeline):  # fmt: skip
        for name in ("old", "p"):
            with pytest.raises(ArchivedRun, match=told):
                ask(name)
    with pytest.raises(ArchivedRun, match=told):
        engine.execute_pipeline(pipeline(), 1, run_id="old")
    with pytest.raises(RunNotFound, match="no run with the id or name 'never'") as unknown:
        engine.get_status("never")
    assert not isinstance(unknown.value, ArchivedRun)
    assert engine.execute_pipeline(pipeline(), 1).success, "of the same name, another run"


def test_which_runs_leave(tmp_path: Path) -> None:
    with SimulatedEngine(tmp_path / "log.db") as engine:
        waits = PipelineStep("w", "t", handler=lambda data, context: context.wait_for("go"))
        waiting = engine.execute_pipeline_async(Pipeline("waits", [waits])).run_id
        stopped = engine.execute_pipeline_async(Pipeline("waits", [waits])).run_id
        engine.stop_pipeline(stopped)
        paused = engine.execute_pipeline_async(Pipeline("waits", [waits])).run_id
        engine.pause_pipeline(paused)
        engine.execute_pipeline(pipeline("good"), 1, run_id="good")
        engine.execute_pipeline(pipeline("bad", broken), 1, run_id="bad")
        engine.advance(3600)
        engine.execute_pipeline(pipeline("good"), 1, run_id="young")

        def leaving(**options: object) -> set[str]:
            made = engine.archive(to=None, dry_run=True, **options)  # type: ignore[arg-type]
            return {stub.run for stub in made}

        assert leaving(older_than=0) == {"good", "bad", "young"}
        assert leaving(older_than=1800) == {"good", "bad"}
        assert leaving(older_than=1800, statuses=["failed"]) == {"bad"}
        assert leaving(older_than=0, name="good") == {"good", "young"}
        assert leaving(older_than=0, statuses="completed", name="bad") == set()
        with pytest.raises(ValueError, match=r"only finished runs .* not paused ones"):
            leaving(older_than=0, statuses=["paused"])
        with pytest.raises(ValueError, match="older_than must be a number from 0"):
            leaving(older_than=-1)
        assert [stub.to for stub in engine.archive(older_than=0, to=None)] == [None] * 3
        assert {row.run_id for row in engine.runs()} == {waiting, stopped, paused}
        assert whole(engine)
        with pytest.raises(ArchivedRun, match="were discarded"):
            engine.history("good")


def test_a_fork_and_a_cached_step_outlive_the_run_they_come_from(
    engine: ExecutionEngine, tmp_path: Path
) -> None:
    old = engine.execute_pipeline(pipeline(cache=3600), 1, run_id="old")
    fork = engine.fork("old", from_step="last", run_id="fork").result(10)
    cached = engine.execute_pipeline(pipeline("other", cache=3600), 1, run_id="cached")
    assert old.output == fork.output == cached.output == 10_000
    types = [e.type for e in engine.history("cached")]
    assert types.count("StepReused") == 1
    store = engine._open().store
    for run in ("fork", "cached"):  # these stay
        assert store.run(run) is not None
    row_ids = {row.run_id for row in engine.runs()} - {"old"}
    engine.archive(older_than=0, to=None, name="p", statuses=["completed"], dry_run=True)
    from semantica.pipeline.events.retention import retire

    row = store.run("old")
    assert row is not None
    assert retire(store, row, None, actor="me", at=1) is not None
    assert engine.vacuum(grace=0).artifacts == 0, "others name the output"
    assert {one.run_id for one in engine.runs()} == row_ids
    assert engine.attach("fork").result(10).output == 10_000
    assert engine.fork("cached", from_step="last").result(10).output == 10_000
    assert engine.execute_pipeline(pipeline("new"), 1).output == 10_000
    assert whole(engine)


def test_a_run_that_is_being_resumed_stays_or_goes_as_a_whole(
    engine: ExecutionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [True]

    def once(data: str) -> int:
        if fails.pop():
            raise ValueError("no")
        return len(data)

    engine.execute_pipeline(pipeline(last=once), 1, run_id="failed")
    fails.append(False)
    store = as_stored(engine._open().store)
    retire = store.retire

    def late(*args: object) -> object:
        assert engine.resume_pipeline("failed")
        return retire(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "retire", late)
    assert engine.archive(older_than=0, to=None) == []
    assert engine.attach("failed").result(10).output == 10_000
    assert whole(engine)


def test_engines_work_on_while_old_runs_leave(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(max_workers=4)
    go, entered = threading.Event(), threading.Event()

    def wait(data: str, context: Context) -> int:
        entered.set()
        assert go.wait(20)
        return len(data)

    for number in range(5):
        engine.execute_pipeline(pipeline(), number)
    future = engine.execute_pipeline_async(pipeline("busy", wait), 7)
    assert entered.wait(10)
    assert len(engine.archive(older_than=0, to=tmp_path / "archive.db")) == 5
    assert engine.vacuum(grace=0).artifacts == 5
    go.set()
    assert future.result(10).output == 10_000
    assert whole(engine)


def test_stubs_prove_the_archive(engine: ExecutionEngine, tmp_path: Path) -> None:
    place = tmp_path / "archive.db"
    for run_id in ("a", "b"):
        engine.execute_pipeline(pipeline(), 1, run_id=run_id)
    stubs = engine.archive(older_than=0, to=place)
    assert list(archive_faults(stubs)) == []
    connection = sqlite3.connect(place)
    connection.execute(f"DELETE FROM events WHERE {of_run('a')} AND version = 7")
    connection.execute(f"UPDATE events SET actor = 'eve' WHERE {of_run('b')} AND version = 3")
    connection.commit()
    connection.close()
    told = [str(fault) for fault in archive_faults(stubs)]
    assert told == [
        f"run/a: {place} has 6 of its 7 events",
        f"run/b: {place} is damaged at version 3",
    ]
    place.unlink()
    (fault,) = archive_faults(stubs)
    assert "is not there" in str(fault)


def test_damage_and_bad_places_lose_nothing(engine: ExecutionEngine, tmp_path: Path) -> None:
    engine.execute_pipeline(pipeline(), 1, run_id="old")
    store = as_stored(engine._open().store)
    assert isinstance(store, SqliteStore)
    with pytest.raises(LogError, match="is the log itself"):
        engine.archive(older_than=0, to=store.path)
    (tmp_path / "text").write_text("precious" * 1000)
    with pytest.raises(LogError, match="not a SQLite database"):
        engine.archive(older_than=0, to=tmp_path / "text")
    with ExecutionEngine(tmp_path / "other.db") as other:
        other.execute_pipeline(pipeline("other"), 2, run_id="old")
    with pytest.raises(LogError, match=r"other.db has another run under the id of run/old"):
        engine.archive(older_than=0, to=tmp_path / "other.db")
    (path,) = store.artifacts.folder.glob("*/*")
    content = path.read_bytes()
    path.write_bytes(b"!" + content[1:])
    for act in (lambda: engine.archive(older_than=0, to=tmp_path / "archive.db"),
                lambda: engine.vacuum(grace=0)):  # fmt: skip
        with pytest.raises(LogCorrupt, match="damaged"):
            act()
    path.write_bytes(content)
    assert engine.archived() == [] and whole(engine)
    assert len(engine.archive(older_than=0, to=tmp_path / "archive.db")) == 1


def test_a_run_that_is_a_step_leaves_with_its_run(engine: ExecutionEngine, tmp_path: Path) -> None:
    outer = Pipeline("outer", [PipelineStep("inner", "pipeline", pipeline=pipeline("inner"))])
    assert engine.execute_pipeline(outer, 1, run_id="outer").output == 10_000
    assert engine.archive(older_than=0, to=None, name="inner", dry_run=True) == []
    stubs = engine.archive(older_than=0, to=tmp_path / "archive.db", name="outer")
    assert [stub.name for stub in stubs] == ["outer", "inner"]
    assert engine.runs() == [] and whole(engine)
