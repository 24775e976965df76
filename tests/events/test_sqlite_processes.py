"""Several processes, or handles, on one log; and processes that die, fork or run out of disk."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contract.runs import batch, claim, completed, opening
from events_processes import run, start

from semantica.pipeline.events.envelope import first_break
from semantica.pipeline.events.errors import AppendRefused
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Member

FAR = 2**62


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pipeline.db"


@pytest.fixture
def two(path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two handles on one file, as two processes have them."""
    pair = SqliteStore(path, durability="off"), SqliteStore(path, durability="off")
    yield pair
    for store in pair:
        store.close()


def test_of_two_handles_the_second_at_a_version_is_refused(
    two: tuple[SqliteStore, SqliteStore],
) -> None:
    one, other = two
    one.append([opening("r")])
    assert [e.version for e in other.read("run/r")] == [1, 2, 3], "seen at once"
    assert one.append([batch("r", 3, completed("a"))]) == [None]
    (refusal,) = other.append([batch("r", 3, claim("e2"), epoch=2)])
    assert isinstance(refusal, AppendRefused)
    assert other.append([batch("r", 4, claim("e2"), epoch=2)]) == [None]
    (refusal,) = one.append([batch("r", 5, completed("a"))])
    assert "epoch" in str(refusal)
    assert one.runs() == other.runs()


def test_news_tells_of_the_other_handles_changes_once(
    two: tuple[SqliteStore, SqliteStore],
) -> None:
    one, other = two
    one.news(), other.news()
    one.append([opening("r")])
    assert (one.news(), other.news()) == (False, True)
    assert (one.news(), other.news()) == (False, False)
    one.send("run/r", b"{}", actor="cli", at=1)
    assert (one.news(), other.news()) == (False, True)


def test_processes_append_at_the_same_time(path: Path) -> None:
    SqliteStore(path).close()
    code = """
    store, name = SqliteStore(path, durability="off"), sys.argv[2]
    store.append([opening(name)])
    for n in range(100):
        assert store.append([batch(name, 3 + n, *progressed(1))]) == [None]
    store.close()
    """
    processes = [start(code, path, f"r{number}") for number in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    store = SqliteStore(path)
    every = list(store.read_all())
    assert len({e.position for e in every}) == len(every) == 3 * 103
    assert all(first_break(store.read(f"run/r{number}")) is None for number in range(3))
    store.close()


def test_processes_create_one_log_at_the_same_time(path: Path) -> None:
    code = "store = SqliteStore(path); store.append([opening(sys.argv[2])]); store.close()"
    processes = [start(code, path, f"r{number}") for number in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    store = SqliteStore(path)
    assert len(store.runs()) == 4
    store.close()


def test_commits_of_several_processes_exclude_one_another(path: Path) -> None:
    """SQLite before 3.51.3 may corrupt the file when a commit meets another's checkpoint."""
    store = SqliteStore(path)
    other = os.open(path.with_name("pipeline.db-lock"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        append = pool.submit(store.append, [opening("r")])
        with pytest.raises(TimeoutError):
            append.result(0.2)
        fcntl.flock(other, fcntl.LOCK_UN)
        assert append.result(10) == [None]
    os.close(other)
    store.close()


def test_a_killed_process_is_known_to_be_dead_at_once(path: Path) -> None:
    store = SqliteStore(path)
    process = start(
        """
        import socket
        store = SqliteStore(path)
        store.join(Member("e1", socket.gethostname(), os.getpid(), 2**62))
        print("ready", flush=True)
        time.sleep(60)
        """,
        path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert store.alive("e1", 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not store.alive("e1", 1), "though its lease has ages to go"
    assert store.append([opening("r")]) == [None], "and it left no lock behind"
    store.close()


def test_a_new_engine_clears_away_the_dead(path: Path) -> None:
    run(
        """
        import socket
        store = SqliteStore(path)
        store.join(Member("dead", socket.gethostname(), os.getpid(), 2**62))
        os._exit(0)
        """,
        path,
    )
    store = SqliteStore(path)
    assert [member.id for member in store.members()] == ["dead"]
    store.join(Member("new", os.uname().nodename, os.getpid(), FAR))
    assert [member.id for member in store.members()] == ["new"]
    assert store.alive("new", 1)
    store.close()
    assert list(path.with_name("pipeline.db.engines").iterdir()) == []


def test_a_process_killed_between_commits_leaves_whole_transactions(path: Path) -> None:
    process = start(
        """
        store = SqliteStore(path, durability="normal")
        store.append([opening("r")])
        for n in range(100_000):
            store.append([batch("r", 3 + 3 * n, *progressed(3))])
            if n == 20:
                print("going", flush=True)
        """,
        path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    process.kill()
    process.communicate()
    store = SqliteStore(path)
    recorded = list(store.read("run/r"))
    assert len(recorded) >= 3 + 3 * 21, "what was acknowledged is there"
    assert len(recorded) % 3 == 0, "no transaction is there in part"
    assert first_break(recorded) is None
    store.close()


def test_use_after_a_fork_is_refused_and_harms_nothing(path: Path) -> None:
    output = run(
        """
        import threading
        store = SqliteStore(path)
        store.append([opening("r")])
        held = threading.Event()
        def hold():
            with store._reading():
                held.set()
                time.sleep(1)
        threading.Thread(target=hold, daemon=True).start()
        held.wait()  # the child inherits a lock that nobody will release
        child = os.fork()
        if child == 0:
            try:
                store.append([batch("r", 3, completed("a"))])
            except LogError as error:
                print(error, flush=True)
            store.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert store.append([batch("r", 3, completed("a"))]) == [None]
        store.close()
        """,
        path,
    )
    assert "opened before a fork; open it in the child" in output


def test_a_full_disk_is_transient_and_loses_nothing(path: Path) -> None:
    output = run(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = SqliteStore(path)
        store.append([opening("r")])
        big = batch("r", 3, *progressed(3000))
        size = max(os.stat(path).st_size, os.stat(path + "-wal").st_size) + 20_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        told = []
        for attempt in range(2):
            try:
                store.append([opening("s"), big])
            except LogUnavailable as error:
                told.append(error.transient)
        try:
            store.artifacts.put(b"x" * (size + 1))
        except LogUnavailable as error:
            told.append(error.transient)
        before = len(list(store.read_all()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        answers = store.append([opening("s"), big])
        assert answers == [None, None], answers
        whole = first_break(store.read("run/r")) is None
        count = len(list(store.read("run/r")))
        left = sum(len(files) for _, _, files in os.walk(path + ".artifacts"))
        store.close()
        print(json.dumps([told, before, whole, count, left]))
        """,
        path,
    )
    assert json.loads(output) == [[True, True, True], 3, True, 3003, 0]


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that any user can reach, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_must_not_be_written_is_named(everybodys: Path, mode: int) -> None:
    closed = everybodys / "closed"
    closed.mkdir()
    closed.chmod(mode)
    output = run(
        """
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            SqliteStore(path)
        except LogUnavailable as error:
            print(error)
        """,
        closed / "pipeline.db",
    )
    closed.chmod(0o755)
    assert f"{closed}/pipeline.db: Permission denied; choose another place" in output


def test_a_log_that_must_not_be_written_is_named(everybodys: Path) -> None:
    path = everybodys / "pipeline.db"
    SqliteStore(path).close()
    for file in everybodys.iterdir():
        file.chmod(0o444)
    everybodys.chmod(0o555)
    output = run(
        """
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            SqliteStore(path)
        except LogUnavailable as error:
            print(error)
        """,
        path,
    )
    everybodys.chmod(0o755)
    assert str(path) in output
    assert "permissions" in output
