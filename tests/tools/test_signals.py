"""Interruptions of every kind, and going on after them."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

CHAIN = "flows/flows.py:chain"


def ends(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_drains_and_says_how_to_go_on(shell, number):
    process = shell.start("run", CHAIN)
    shell.wait_for(2)
    process.send_signal(number)  # SIGHUP: its terminal was closed
    status, out, err = ends(process)
    assert status == 130
    assert "stopping: waiting for 1 step in flight; Ctrl-C again to kill; " in err
    assert f"continue with: semantica-pipeline recover --log {shell.log}" in err
    assert out == ""
    told = shell.json("status")
    assert (told["status"], told["executed_by"]) == ("running", None)
    completed = [step["name"] for step in told["steps"] if step["status"] == "completed"]
    assert completed == ["s0", "s1"]  # the one in flight has been waited for

    recovered = shell.json("recover")
    assert recovered["success"]
    assert shell.executed() == [f"s{i} 1" for i in range(8)]


def test_a_second_interruption_kills_at_once(shell):
    process = shell.start("run", "flows/flows.py:endless")
    shell.wait_for(1)
    process.send_signal(signal.SIGINT)
    while "stopping" not in process.stderr.readline():  # what is in flight is waited for
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _, err = ends(process)
    assert status == 130
    assert "killed" in err


def test_kill_and_recover_without_naming_the_pipeline_again(shell):
    """The steps' module is on no path, and one of the handlers is a lambda."""
    process = shell.start("run", "flows/flows.py:lambdas")
    shell.wait_for(2)
    process.kill()
    process.communicate()
    assert "running, lost" in shell("runs").stdout
    done = shell("recover")
    assert "lambdas completed: 5/5 steps" in done.stdout
    assert "'S3'" in done.stdout
    assert "s1 was interrupted and starts again" in done.stderr
    assert shell.executed() == ["s0 1", "s1 1", "s1 2", "s2 1", "s3 1"]
    assert "nothing to recover" in shell("recover").stdout


def test_a_run_that_cannot_go_on_here_is_left_alone(shell):
    process = shell.start("run", "flows/flows.py:lambdas")
    shell.wait_for(1)
    process.kill()
    process.communicate()
    (shell.folder / "moved").mkdir()
    (shell.flows / "flows.py").rename(shell.folder / "moved" / "flows.py")
    before = shell("events").stdout
    line = shell.error("recover")
    assert "cannot go on here: step 's0': cannot import 'flows:note'" in line
    assert "--path FOLDER" in line
    assert "--pipeline TARGET" in line
    assert shell("events").stdout == before
    # The folder is not enough: one handler is a lambda, which has no name.
    assert "step 'last'" in shell.error("recover", "--path", "moved")
    assert shell.json("recover", "--pipeline", "moved/flows.py:lambdas")["success"]


def test_origins_that_others_may_write_are_not_used(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(1)
    process.kill()
    process.communicate()
    shell.log.chmod(0o666)
    done = shell("recover", status=2)
    assert "may be written by others" in done.stderr
    shell.log.chmod(0o600)
    assert shell.json("recover", "--path", "flows")["success"]


def test_pause_and_resume_from_another_process(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(2)
    paused = shell.json("pause", "chain")
    assert paused["status"] in ("pausing", "paused")
    assert paused["answered"]
    assert shell.json("runs")[0]["executed_by"]["pid"] == process.pid
    told = shell.json("resume", "chain")
    assert told["executed_by"]["pid"] == process.pid
    status, out, err = ends(process)
    assert status == 0
    assert "chain completed: 8/8 steps" in out
    assert "pausing" in err
    assert "resumed" in err
    assert shell.executed() == [f"s{i} 1" for i in range(8)]


def test_a_paused_run_that_was_let_go_is_resumed_here(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(1)
    shell("pause", "chain")
    while shell.json("status")["status"] != "paused":
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    status, _, err = ends(process)
    assert status == 130
    assert "is paused" in err
    assert "semantica-pipeline resume" in err
    assert "nothing to recover" in shell("recover").stdout
    assert "chain completed: 8/8 steps" in shell("resume", "chain").stdout
    assert shell.executed() == [f"s{i} 1" for i in range(8)]


def test_stop_and_resume(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(2)
    shell("stop", "chain")
    status, out, _ = ends(process)
    assert status == 1
    assert "chain stopped" in out
    assert "semantica-pipeline resume" in out
    assert shell.json("resume", "chain")["success"]
    assert len(shell.executed()) == 8


def test_cancel_ends_for_good(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(1)
    shell("cancel", "chain")
    status, out, _ = ends(process)
    assert status == 1
    assert "chain cancelled" in out
    assert "is cancelled and cannot be resumed" in shell.error("resume", "chain")
    assert "cannot be paused" in shell.error("pause", "chain")


def test_nobody_recovers_what_a_living_process_executes(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(1)
    assert f"executed by process {process.pid}" in shell("recover", "chain").stdout
    assert ends(process)[0] == 0


def test_a_reader_that_has_seen_enough(shell):
    shell("run", CHAIN, "--set", "s0.seconds=0")
    reader, writer = os.pipe()
    os.close(reader)  # nobody reads from the start
    try:
        for words in (["events", "--json"], ["status"], ["runs"]):
            process = subprocess.run(
                shell._line(tuple(words)),
                stdout=writer,
                stderr=subprocess.PIPE,
                cwd=shell.folder,
                env=shell.environment,
                timeout=30,
            )
            assert (process.returncode, process.stderr) == (0, b"")
        # A run whose progress and result nobody reads still runs, and its status still counts.
        words = shell._line(("run", "flows/flows.py:failing"))
        process = subprocess.run(
            words,
            stdout=writer,
            stderr=writer,
            cwd=shell.folder,
            env=shell.environment,
            timeout=30,
        )
        assert process.returncode == 1
    finally:
        os.close(writer)
