"""Keeping a log small, and proving that it is whole."""

from __future__ import annotations

import sqlite3

from making import of_run

SUMS = "flows/flows.py:sums"


def test_runs_leave_and_are_still_known(shell):
    shell("run", SUMS, "--run-id", "first")
    shell("run", "flows/flows.py:failing", "--run-id", "bad", status=1)
    (told,) = shell.json("archive", "--older-than", "0s", "--to", "old.db", "--status", "completed",
                         "--dry-run")  # fmt: skip
    assert told["run"] == "first" and not (shell.folder / "old.db").exists()
    assert shell.json("archive", "--older-than", "1d", "--discard") == []
    moved = shell("archive", "--older-than", "0s", "--to", "old.db", "--status", "completed")
    assert "first" in moved.stdout and "bad" not in moved.stdout
    assert [one["run_id"] for one in shell.json("runs")] == ["bad"]
    assert [one["run"] for one in shell.json("runs", "--archived")] == ["first"]
    assert shell.json("runs", "--archived", "--status", "failed") == []
    for command in ("status", "events", "timeline", "graph", "pause", "resume"):
        assert f"moved to {shell.folder / 'old.db'}" in shell.error(command, "first")
    assert "first" in shell.error("run", SUMS, "--run-id", "first")
    assert "completed" in shell("status", "first", "--log", "old.db").stdout
    done = shell.json("vacuum", "--grace", "0s")
    assert done["artifacts"] == 0 and done["dry_run"] is False
    assert "would remove 0 artifacts" in shell("vacuum", "--dry-run").stdout
    whole = shell.json("audit", "verify", "--archives")
    assert (whole["ok"], whole["archived"], whole["listed"]) == (True, 1, [])
    (shell.folder / "old.db").unlink()
    gone = shell("audit", "verify", "--archives", status=1)
    assert "old.db that runs were moved to is not there" in gone.stdout
    assert shell("audit", "verify").stdout.startswith("whole: ")


def test_what_cannot_be_meant_is_an_error(shell):
    shell("run", SUMS)
    assert "say where to" in shell.error("archive", "--older-than", "1d")
    assert "not both" in shell.error("archive", "--older-than", "1d", "--discard", "--to", "x")
    assert "'3x' is no time such as 30d" in shell.error("archive", "--older-than", "3x")
    assert "only finished runs" in shell.error(
        "archive", "--older-than", "1d", "--discard", "--status", "paused"
    )
    assert "did you mean 'verify'" in shell.error("audit", "verfy")
    assert "no run with the id or name 'none'" in shell.error("audit", "verify", "none")


def test_every_fault_is_named_and_the_status_is_1(shell):
    shell("run", SUMS, "--run-id", "a")
    shell("run", SUMS, "--run-id", "b")
    assert shell.json("audit", "verify", "a")["events"] == len(
        shell("events", "a").stdout.splitlines()
    )
    connection = sqlite3.connect(shell.log)
    connection.execute(f"UPDATE events SET actor = 'eve' WHERE {of_run('a')} AND version = 4")
    connection.commit()
    connection.close()
    told = shell("audit", "verify", status=1).stdout
    assert "fault: run/a version 4 (position " in told
    assert "its digest does not match its content" in told
    assert told.splitlines()[-1].startswith("1 fault: ")
    (fault,) = shell.json("audit", "verify", status=1)["listed"]
    assert (fault["stream"], fault["version"]) == ("run/a", 4)
    assert shell("audit", "verify", "b").stdout.startswith("whole: ")


def test_a_file_that_is_no_log_any_more_is_a_fault(shell):
    shell("run", SUMS)
    content = shell.log.read_bytes()
    for damaged in (b"", content[:100], content[: len(content) // 2], b"?" + content[1:]):
        shell.log.write_bytes(damaged)
        told = shell.json("audit", "verify", status=1)
        assert not told["ok"] and str(shell.log) in told["listed"][0]["problem"]
    assert "no log at" in shell.error("audit", "verify", "--log", "elsewhere.db")
