"""A log that cannot be used, for now or for good: clear errors, nothing lost, and it goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import (
    ExecutionEngine,
    LogError,
    LogUnavailable,
    NotALog,
    PipelineBuilder,
)
from semantica.pipeline.events.errors import LogCorrupt
from semantica.pipeline.events.sqlite import SqliteStore


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize(
    ("size", "told"),
    [(2_000, "the log cannot be used; trying again"), (20_000, "done, and waits to be recorded")],
)
def test_a_full_disk_stops_the_work_loses_nothing_and_is_told(
    log: Path, size: int, told: str
) -> None:
    """RLIMIT_FSIZE stands for the full disk; it is lifted while the engine waits. Small outputs are
    in the log itself, larger ones beside it."""
    code = """
        import resource, signal, sys, threading
        from semantica.pipeline import ExecutionEngine, PipelineBuilder
        from semantica.pipeline.engine import loop

        log = sys.argv[1]
        engine = ExecutionEngine(log, max_workers=1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        executed = []

        def work(data, step):
            executed.append(step.name)
            if step.name == "s5":  # from now on nothing can be written
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            return step.name.ljust(BYTES)

        builder = PipelineBuilder()
        for i in range(10):
            builder.add_step(f"s{i}", "t", handler=work)
        future = engine.execute_pipeline_async(builder.build("full"))
        threading.Event().wait(1.0)
        assert not future.done()
        assert executed == [f"s{i}" for i in range(6)], executed
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        result = future.result(30)
        assert result.success, result.errors
        assert executed == [f"s{i}" for i in range(10)], executed
        engine.close()
        print("went on")
    """
    done = run_python(code.replace("BYTES", str(size)), log)
    assert done.stdout == "went on\n", done.stderr
    assert told in done.stderr


def test_a_log_that_another_program_locks_is_waited_for(log: Path) -> None:
    store = SqliteStore(log, busy_timeout=0.05)
    with ExecutionEngine(store) as engine:
        shell = sqlite3.connect(log, isolation_level=None, check_same_thread=False)

        def lock(data: Any) -> int:
            shell.execute("BEGIN IMMEDIATE")
            threading.Timer(0.3, shell.execute, ["ROLLBACK"]).start()
            return 1

        pipeline = PipelineBuilder().add_step("a", "t", handler=lock).add_step("b", "t").build()
        assert engine.execute_pipeline(pipeline).success
        shell.close()


def test_something_else_at_the_path_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but longer than a header" * 50)
    with pytest.raises(NotALog, match=r"notes.txt.*--log"):
        ExecutionEngine(text)
    assert text.read_text().startswith("not a database")
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    with pytest.raises(NotALog, match="another program"):
        ExecutionEngine(other)
    assert other.read_bytes() == before
    with pytest.raises(NotALog, match="folder"):
        ExecutionEngine(tmp_path)
    with pytest.raises(LogError, match="mysql"):
        ExecutionEngine("mysql://somewhere/log")


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code = """
        import os, sys
        from semantica.pipeline import ExecutionEngine, LogUnavailable
        import semantica.pipeline.events.sqlite  # while the interpreter's files can be read
        os.setuid(65534)
        try:
            ExecutionEngine("/proc/pipeline.db" if sys.argv[1] == "proc" else sys.argv[1])
        except LogUnavailable as error:
            print(error)
    """
    done = run_python(code, "proc", cwd="/")
    assert "cannot create the log /proc/pipeline.db" in done.stdout, done.stderr
    assert "--log" in done.stdout


def test_a_damaged_log_fails_its_runs_with_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    with ExecutionEngine(path) as engine:
        for _ in range(20):
            engine.execute_pipeline(PipelineBuilder().add_step("s", "t").build("run"), "x" * 1000)
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096 * 4)
    with pytest.raises(LogError, match="damaged") as raised, ExecutionEngine(path) as engine:
        engine.execute_pipeline(PipelineBuilder().add_step("s", "t").build("run"))
    assert isinstance(raised.value, LogCorrupt)
    assert ".recover" in str(raised.value)


def test_another_durability_in_the_same_process_is_refused(
    make_engine: MakeEngine, log: Path
) -> None:
    make_engine()
    with pytest.raises(LogError, match="durability='full'"):
        ExecutionEngine(log, durability="off")


def test_an_engine_is_refused_after_a_fork(log: Path) -> None:
    code = """
        import os, sys
        from semantica.pipeline import ExecutionEngine, LogError, PipelineBuilder
        engine = ExecutionEngine(sys.argv[1])
        pipeline = PipelineBuilder().add_step("s", "t").build("p")
        engine.execute_pipeline(pipeline)
        if os.fork() == 0:
            try:
                engine.execute_pipeline(pipeline)
            except LogError as error:
                print(error, flush=True)
            sys.exit(0)
        os.wait()
        assert engine.execute_pipeline(pipeline).success
    """
    done = run_python(code, log)
    assert "before a fork" in done.stdout and done.returncode == 0, done.stderr


def test_an_unusable_log_is_told_at_once() -> None:
    with pytest.raises(LogUnavailable, match="/proc"):
        ExecutionEngine("/proc/1/nowhere/pipeline.db")
