"""Encrypted runs: no file of a log holds anything of them in clear, and all works as it does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine.encrypted import INNER, WORD, everything, found, large, telling
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    LogError,
    MissingKey,
    PipelineBuilder,
    RunConflict,
    RunFailed,
    UnreadableValue,
    subscribe,
)
from semantica.pipeline.events.sealed_store import as_stored
from semantica.pipeline.events.verify import Verification
from semantica.pipeline.projections.catchup import load_run, save_snapshot


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def run_all(engine: ExecutionEngine, run_id: str = "r", *, ends: bool = True) -> Any:
    on_failure: Any = "stop" if ends else "rollback"
    future = engine.execute_pipeline_async(
        everything(ends=ends), WORD, run_id=run_id, encrypt=True, on_failure=on_failure
    )
    until(lambda: engine._open().store.run(run_id))
    engine.signal(run_id, f"{WORD} agrees", [WORD] * 1000)
    return future.result(60)


def key_files(log: Path) -> list[Path]:
    return sorted(log.with_name(f"{log.name}.keys").iterdir())


def test_no_file_of_a_log_holds_anything_of_an_encrypted_run(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine(max_workers=4)
    done = run_all(engine)
    assert done.success, done.errors
    assert done.output["asks"] == [WORD] * 1000
    assert any(WORD in warning for warning in done.warnings)
    undone = run_all(engine, "undone", ends=False)
    assert undone.status == "rollback_failed"
    assert WORD in str(undone.errors)
    store = engine._open().store
    for row in engine.runs():
        save_snapshot(store, load_run(store, row.run_id))
    with subscribe(log, "reader", follow=False) as records:
        assert WORD not in str([record.event for record in records])
    assert found(log.parent) == []  # with the WAL as it is while the engine works
    engine.close()
    assert found(log.parent) == []
    kinds = {path.suffix or path.name for path in log.parent.rglob("*") if path.is_file()}
    assert ".db" in kinds and ".key" in kinds  # something was searched


def test_what_is_recorded_is_read_back_with_the_key(make_engine: MakeEngine, log: Path) -> None:
    run_all(make_engine()).raise_for_status()
    again = make_engine()
    assert again.execute_pipeline(everything(), WORD, run_id="r").output["asks"] == [WORD] * 1000
    kinds = {envelope.encoding.partition(":")[0] for envelope in again.history("r")}
    assert kinds == {"aesgcmsiv"}
    assert WORD in str([envelope.payload for envelope in again.history("r")])
    store = again._open().store
    save_snapshot(store, load_run(store, "r"))
    assert load_run(store, "r").state == load_run(store, "r", snapshots=False).state
    assert store.load_snapshot("run/r").data != as_stored(store).load_snapshot("run/r").data  # type: ignore[union-attr]
    assert list(Verification(store).faults()) == []


def test_what_handlers_say_is_encrypted_too(make_engine: MakeEngine, log: Path) -> None:
    engine = make_engine()
    run_all(engine)
    store = engine._open().store
    (first, *_) = [line for line in store.lines.read("r") if "saying" in line.event]
    assert first.fields["about"] == WORD
    kept = [line for line in as_stored(store).lines.read("r") if line.id == first.id]
    assert WORD not in str(kept)
    (key,) = key_files(log)
    key.rename(log.with_name("away"))
    closed = [line for line in store.lines.newest("r", 100) if line.id == first.id]
    assert [(line.step, line.level, line.event) for line in closed] == [
        (first.step, "info", "(encrypted)")
    ]
    log.with_name("away").rename(key)
    assert WORD in str(engine.lines("r"))


def test_keys_lie_outside_of_the_log_one_for_each_run(make_engine: MakeEngine, log: Path) -> None:
    engine = make_engine()
    for run_id in ("a", "b"):
        nested = PipelineBuilder().add_step("n", pipeline=INNER).build("p")
        engine.execute_pipeline(nested, 1, run_id=run_id, encrypt=True).raise_for_status()
    engine.execute_pipeline(nested, 1).raise_for_status()
    files = key_files(log)
    assert len(files) == 2
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    named = {row.run_id: engine.history(row.run_id)[0].encoding for row in engine.runs()}
    assert len(set(named.values())) == 3  # theirs, with those of their steps, and json
    secret = files[0].read_bytes().partition(b'"key":"')[2][:40]
    assert secret not in log.read_bytes()


def test_keys_may_lie_elsewhere(
    make_engine: MakeEngine, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_KEYS", str(tmp_path / "safe" / "keys"))
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    engine.execute_pipeline(pipeline, encrypt=True).raise_for_status()
    assert [path.suffix for path in (tmp_path / "safe" / "keys").iterdir()] == [".key"]
    assert not log.with_name(f"{log.name}.keys").exists()


def test_equal_values_of_two_runs_are_stored_twice_and_of_one_run_once(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("a", "t", handler=large, dependencies=[])
    pipeline.add_step("b", "t", handler=large, dependencies=[])
    for run_id in ("r", "q"):
        engine.execute_pipeline(pipeline.build("p"), 1, run_id=run_id, encrypt=True)
    engine.execute_pipeline(pipeline.build("p"), 1)
    assert len(list(log.with_name(f"{log.name}.artifacts").glob("*/*"))) == 3


def test_a_cache_is_neither_served_by_an_encrypted_run_nor_does_it_serve_one(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large, cache=3600).build("p")
    for encrypt in (True, False, True):
        engine.execute_pipeline(pipeline, encrypt=encrypt).raise_for_status()
        newest = engine.runs()[0].run_id
        assert "StepReused" not in {one.type for one in engine.history(newest)}
    engine.execute_pipeline(pipeline).raise_for_status()
    assert "StepReused" in {one.type for one in engine.history(engine.runs()[0].run_id)}


def test_the_same_run_is_joined_and_another_one_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    data = ["x" * 10_000]
    first = engine.execute_pipeline(pipeline, data, run_id="r", encrypt=True)
    for encrypt in (True, False):  # what it was begun with holds
        assert engine.execute_pipeline(pipeline, data, run_id="r", encrypt=encrypt).output == (
            first.output
        )
    with pytest.raises(RunConflict, match="another input"):
        engine.execute_pipeline(pipeline, ["y" * 10_000], run_id="r", encrypt=True)
    engine.execute_pipeline(pipeline, data, run_id="clear")
    with pytest.raises(RunConflict, match="is not encrypted"):
        engine.execute_pipeline(pipeline, data, run_id="clear", encrypt=True)
    with pytest.raises(TypeError, match="encrypt"):
        engine.execute_pipeline(pipeline, encrypt="yes")  # type: ignore[arg-type]


def test_a_fork_has_the_key_of_its_origin(make_engine: MakeEngine, log: Path) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("a", "t", handler=large)
    pipeline.add_step("b", "t", handler=telling, told=WORD)
    engine.execute_pipeline(pipeline.build("p"), WORD, run_id="r", encrypt=True)
    forked = engine.fork("r", overrides={"b": {"told": f"{WORD} else"}}, run_id="f").result(60)
    assert forked.output == {WORD: f"{WORD} else"}
    assert "StepReused" in {one.type for one in engine.history("f")}
    assert len(key_files(log)) == 1
    assert found(log.parent) == []
    assert engine.erase("r").runs == ("r", "f")
    assert engine.get_status("f") == "erased"


DIES = """
import os, sys
sys.path.insert(0, sys.argv[2])
from semantica.pipeline import ExecutionEngine, PipelineBuilder
from engine.test_encryption import slow

if __name__ == "__main__":
    engine = ExecutionEngine(sys.argv[1])
    pipeline = PipelineBuilder().add_step("a", "t", handler=slow, folder=sys.argv[3])
    pipeline.add_step("n", pipeline=PipelineBuilder().add_step("b", "t", handler=slow,
        folder=sys.argv[3]).build("inner"))
    engine.execute_pipeline(pipeline.build("p"), "patient-4711", run_id="r", encrypt=True)
"""


def slow(data: Any, context: Context, folder: str) -> list[Any]:
    """Dies within the second step, in its first attempt, after some of its items."""
    known = context.checkpoint("at")
    if context.step == "b" and known is None:
        context.checkpoint("at", [WORD] * 1000)
        list(context.map(str, [WORD]))
        os.kill(os.getpid(), 9)
    with (Path(folder) / "executed").open("a") as file:
        file.write(f"{context.step}\n")
    return [data, known, WORD]


def test_a_killed_process_loses_nothing_of_an_encrypted_run(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    script = tmp_path / "dies.py"
    script.write_text(DIES)
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, script, log, tests, tmp_path], timeout=100)
    assert done.returncode == -9
    assert found(log.parent) == []
    moved = log.with_name("away")
    keys = log.with_name(f"{log.name}.keys")
    keys.rename(moved)
    (refused,) = make_engine().recover()
    with pytest.raises(MissingKey, match=r"run r is encrypted.*is not in"):
        refused.result(60)
    moved.rename(keys)
    (future,) = make_engine().recover()
    result = future.result(60)
    assert result.output == [["patient-4711", None, WORD], [WORD] * 1000, WORD]
    assert (tmp_path / "executed").read_text() == "a\nb\n"
    assert found(log.parent) == []


def test_a_command_to_another_process_is_encrypted(make_engine: MakeEngine, log: Path) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    engine.execute_pipeline(pipeline, run_id="r", encrypt=True)
    store = engine._open().store
    store.send("run/r", f'{{"type":"Signal","name":"{WORD}"}}'.encode(), actor="me", at=1)
    assert found(log.parent) == []
    assert WORD.encode() in store.inbox()[-1].command
    key_files(log)[0].rename(log.with_name("away"))
    assert WORD.encode() not in store.inbox()[-1].command
    with pytest.raises(MissingKey):
        store.send("run/r", b"{}", actor="me", at=1)


# -- without the key -------------------------------------------------------------------------


def test_without_its_key_a_run_shows_what_happened_and_nothing_of_it(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine()
    run_all(engine)
    states = [(one.name, one.status, one.attempt) for one in engine.report("r").steps]
    bars = [(one.step, one.start, one.end, one.outcome) for one in engine.timeline("r").attempts]
    (key,) = key_files(log)
    key.rename(log.with_name("away"))
    assert [(one.name, one.status, one.attempt) for one in engine.report("r").steps] == states
    told = [(one.step, one.start, one.end, one.outcome) for one in engine.timeline("r").attempts]
    assert told == bars
    assert engine.get_status("r") == "completed"
    assert WORD not in str([one.payload for one in engine.history("r")])
    assert list(Verification(engine._open().store).faults()) == []
    for attempt in (
        lambda: engine.execute_pipeline(everything(), WORD, run_id="r"),
        lambda: engine.attach("r").result(60).output,
        lambda: engine.fork("r", from_step="told"),
        lambda: engine.erase("r"),
    ):
        with pytest.raises((MissingKey, UnreadableValue), match="key"):
            attempt()
    log.with_name("away").rename(key)
    assert engine.attach("r").result(60).output["asks"] == [WORD] * 1000


def test_a_key_that_is_lost_while_its_run_goes_on_costs_that_run_alone(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    engine = make_engine()

    def loses(data: object) -> None:
        key_files(log)[0].unlink()

    def other(data: object) -> int:
        until(lambda: future.done())
        return 1

    lost = PipelineBuilder().add_step("s", "t", handler=loses).build("lost")
    future = engine.execute_pipeline_async(lost, encrypt=True)
    kept = PipelineBuilder().add_step("s", "t", handler=other).build("kept")
    assert engine.execute_pipeline(kept).output == 1
    with pytest.raises(MissingKey, match="the key"):
        future.result(60)


@pytest.mark.parametrize("content", [b"", b"{}", b"no key", b'{"format":"x"}'])
def test_a_damaged_key_is_named(make_engine: MakeEngine, log: Path, content: bytes) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    engine.execute_pipeline(pipeline, run_id="r", encrypt=True)
    engine.close()
    (key,) = key_files(log)
    key.write_bytes(content)
    with pytest.raises(LogError, match=rf"{key.name} holds no key"):
        make_engine().get_progress("r")


def test_the_library_is_named_where_it_is_missing(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    engine.execute_pipeline(pipeline).raise_for_status()
    with pytest.raises(MissingKey, match=r"pip install 'semantica-pipeline\[encrypt\]'"):
        engine.execute_pipeline(pipeline, encrypt=True)
    assert len(engine.runs()) == 1


# -- erasing ---------------------------------------------------------------------------------


def test_an_erased_run_keeps_its_events_and_nobody_can_read_them(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine()
    done = run_all(engine)
    children = tuple(row.run_id for row in engine.runs() if row.parent)
    before = [one.digest for one in as_stored(engine._open().store).read("run/r")]
    assert engine.erase("r", dry_run=True).runs == ("r", *children)
    assert key_files(log)
    erased = engine.erase("r")
    assert erased.runs == ("r", *children)
    assert key_files(log) == []
    assert {row.status for row in engine.runs()} == {"erased"}
    history = engine.history("r")
    assert [one.digest for one in history[:-1]] == before
    assert history[-1].type == "PipelineErased"
    assert history[-1].actor
    assert WORD not in str([one.payload for one in history])
    assert list(Verification(engine._open().store).faults()) == []
    assert engine.erase("r").runs == ("r",)  # doing it again finishes, and changes nothing
    assert len(engine.history("r")) == len(history)
    result = engine.attach("r").result(60)
    assert not result.success
    assert result.errors[0].startswith("the run was erased")
    with pytest.raises(RunFailed, match="erased"):
        result.raise_for_status()
    assert not engine.resume_pipeline("r")
    assert not engine.signal("r", "go")
    assert done.success


def test_what_is_active_or_not_encrypted_is_not_erased(make_engine: MakeEngine, log: Path) -> None:
    engine = make_engine()
    waiting = PipelineBuilder().add_step("s", "t", handler=waits).build("p")
    future = engine.execute_pipeline_async(waiting, run_id="r", encrypt=True)
    until(lambda: engine.get_progress("r")["status"] == "running")
    with pytest.raises(LogError, match=r"run r \(p\) is running and would be erased"):
        engine.erase("r")
    assert key_files(log)
    engine.signal("r", "go")
    assert future.result(60).success
    clear = PipelineBuilder().add_step("s", "t", handler=large).build("p")
    engine.execute_pipeline(clear, run_id="clear")
    with pytest.raises(LogError, match="is not encrypted, so that it cannot be erased"):
        engine.erase("clear")
    engine.erase("r")


def waits(data: object, context: Context) -> Any:
    return context.wait_for("go")


def test_a_stopped_run_may_be_erased_and_does_not_go_on(make_engine: MakeEngine) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=waits).build("p")
    future = engine.execute_pipeline_async(pipeline, run_id="r", encrypt=True)
    until(lambda: "StepSuspended" in {one.type for one in engine.history("r")})
    engine.stop_pipeline("r")
    assert future.result(60).status == "stopped"
    engine.erase("r")
    assert not engine.resume_pipeline("r")
    assert engine.recover() == []


# -- elsewhere -------------------------------------------------------------------------------


def test_an_export_is_as_closed_as_the_log_and_opens_with_its_key(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    engine = make_engine()
    run_all(engine)
    closed, open_ = tmp_path / "out" / "closed.zip", tmp_path / "out" / "open.zip"
    assert engine.export_runs(closed, "r").keys == 0
    assert engine.export_runs(open_, "r", with_keys=True).keys == 1
    for name in ("closed", "open"):
        folder = tmp_path / name
        subprocess.run([sys.executable, "-m", "zipfile", "-e", closed, folder], check=True)
        assert found(folder) == []
    there = make_engine(log=tmp_path / "there" / "log.db")
    with pytest.raises(LogError, match="is encrypted, and its key is neither here"):
        there.import_runs(closed)
    there.import_runs(closed, allow_pickle=True)
    assert there.get_status("r") == "completed"
    assert list(Verification(there._open().store).faults()) == []
    with pytest.raises((MissingKey, UnreadableValue)):
        _ = there.attach("r").result(60).output
    (key,) = key_files(log)
    (tmp_path / "there" / "log.db.keys").mkdir()
    (tmp_path / "there" / "log.db.keys" / key.name).write_bytes(key.read_bytes())
    assert there.attach("r").result(60).output["asks"] == [WORD] * 1000
    third = make_engine(log=tmp_path / "third" / "log.db")
    assert third.import_runs(open_).runs == 2
    assert third.attach("r").result(60).output["asks"] == [WORD] * 1000
    assert third.erase("r").runs
    erased = tmp_path / "out" / "erased.zip"
    assert third.export_runs(erased, "r", with_keys=True).keys == 0


def test_a_pickle_within_what_is_encrypted_is_seen_before_it_is_taken_in(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=pickled).build("p")
    engine.execute_pipeline(pipeline, run_id="r", encrypt=True).raise_for_status()
    path = tmp_path / "r.zip"
    engine.export_runs(path, "r", with_keys=True)
    there = make_engine(log=tmp_path / "there" / "log.db")
    with pytest.raises(LogError, match="holds a pickle"):
        there.import_runs(path)
    assert there.runs() == []
    assert not (tmp_path / "there" / "log.db.keys").exists()


def pickled(data: object) -> Any:
    return range(3)


def test_an_archive_gets_the_keys_of_what_is_moved(
    make_engine: MakeEngine, log: Path, tmp_path: Path
) -> None:
    engine = make_engine()
    run_all(engine)
    (key,) = key_files(log)
    archive = tmp_path / "old" / "archive.db"
    archive.parent.mkdir()
    assert engine.archive(older_than=0, to=archive)
    assert key_files(log) == []
    assert [one.name for one in key_files(archive)] == [key.name]
    assert found(tmp_path) == []
    engine.vacuum(grace=0)
    old = make_engine(log=archive)
    assert old.attach("r").result(60).output["asks"] == [WORD] * 1000
    old.erase("r")
    assert key_files(archive) == []
    old.close()


def test_a_vacuum_keeps_what_encrypted_runs_name_also_without_their_keys(
    make_engine: MakeEngine, log: Path
) -> None:
    engine = make_engine()
    run_all(engine)
    artifacts = log.with_name(f"{log.name}.artifacts")
    kept = sorted(artifacts.glob("*/*"))
    (key,) = key_files(log)
    key.rename(log.with_name("away"))
    assert engine.vacuum(grace=0).artifacts == 0
    log.with_name("away").rename(key)
    assert sorted(artifacts.glob("*/*")) == kept
    assert engine.attach("r").result(60).output["asks"] == [WORD] * 1000


def test_a_backup_has_no_keys(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    run_all(engine)
    engine.backup(tmp_path / "copy" / "log.db")
    assert found(tmp_path) == []
    assert not list((tmp_path / "copy").rglob("*.key"))
    copy = make_engine(log=tmp_path / "copy" / "log.db")
    assert copy.get_status("r") == "completed"
    assert WORD not in str([one.payload for one in copy.history("r")])
