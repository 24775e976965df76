"""Several processes on one log: one owner at a time, also of a run whose owner was stopped."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import owner_processes as o
import pytest

from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import to_event

FAR = 30.0
"""Seconds that nothing here takes."""
RUNS = 4


def start(mode: str, log: Path, trace: object, runs: int = RUNS) -> subprocess.Popen[str]:
    command = "import owner_processes as o; o.main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, mode, str(log), str(trace), str(runs)],
        cwd=Path(o.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def says(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == line + "\n", process.stderr


def stop_outside_a_commit(process: subprocess.Popen[str], log: Path) -> None:
    """Commits are made under a lock: who waits for it is within none."""
    with log.with_name(log.name + "-lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)


def claims(store: SqliteStore, run_id: str) -> list[Any]:
    events = (e for e in store.read(f"run/{run_id}") if e.type == "PipelineClaimed")
    return [to_event(envelope) for envelope in events]


def check_executions(store: SqliteStore, trace: Path) -> None:
    """Every attempt was executed at most once, by the process whose turn it was."""
    pids: dict[tuple[str, str, str], int] = {}
    for run in store.runs():
        owner: Any = None
        for envelope in store.read(run.stream):
            event: Any = to_event(envelope)
            if envelope.type == "PipelineClaimed":
                owner = event
            elif envelope.type == "StepStarted":
                pids[run.run_id, event.step, str(event.attempt)] = owner.pid
            if owner is not None and envelope.type.startswith("Step"):
                assert envelope.actor == owner.owner, f"{envelope.actor} wrote, no owner any more"
    executed = [tuple(line.split()) for line in trace.read_text().splitlines()]
    assert Counter(line[:3] for line in executed).most_common(1)[0][1] == 1
    for run_id, step, attempt, pid in executed:
        assert pids[run_id, step, attempt] == int(pid), f"{step} was executed by no owner"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether a process is stopped")
def test_a_stopped_owner_loses_its_runs_and_can_do_nothing_more(
    log: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    trace = tmp_path / "trace"
    first = start("share", log, trace)
    processes.append(first)
    says(first, "begins")
    while not trace.exists() or len(trace.read_text().splitlines()) < 2 * RUNS:
        time.sleep(0.01)
    processes += [start("share", log, trace) for _ in range(2)]
    for process in processes[1:]:
        says(process, "begins")
    stop_outside_a_commit(first, log)
    store = SqliteStore(log)
    stopped_at = {run.run_id: run.epoch for run in store.runs()}
    others = [process.communicate(timeout=FAR) for process in processes[1:]]
    before = {run.run_id: len(list(store.read(run.stream))) for run in store.runs()}
    executed = trace.read_text()
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=FAR)
    assert first.returncode == 0, err
    outputs = [json.loads(told[0]) for told in (*others, (out, err))]
    assert outputs == [[i + o.LENGTH for i in range(RUNS)]] * 3
    assert {run.run_id: len(list(store.read(run.stream))) for run in store.runs()} == before
    late = trace.read_text().removeprefix(executed).splitlines()
    assert len(late) <= RUNS, "it began more than what it had in flight when it was stopped"
    taken_over = [run for run in store.runs() if run.epoch > stopped_at[run.run_id]]
    assert len(taken_over) == RUNS
    assert {claims(store, run.run_id)[0].pid for run in taken_over} == {first.pid}
    check_executions(store, trace)
    store.close()


def test_who_is_stopped_within_a_commit_is_named_and_nothing_is_lost(
    log: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    trace = tmp_path / "trace"
    SqliteStore(log).close()
    holder = start("hold", log, trace, 0)
    processes.append(holder)
    says(holder, "holds")
    other = start("share", log, trace, 1)
    processes.append(other)
    assert other.stderr is not None
    said = other.stderr.readline()
    assert "waiting for another process to finish its commit" in said
    assert f"holder_pid={holder.pid}" in said
    assert not trace.exists()
    holder.send_signal(signal.SIGCONT)
    out, err = other.communicate(timeout=FAR)
    assert other.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == [o.LENGTH]
    assert holder.wait(FAR) == 0
    assert trace.exists()
