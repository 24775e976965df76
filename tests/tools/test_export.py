"""Runs are carried away and taken in from the command line."""

from __future__ import annotations

SUMS = "flows/flows.py:sums"


def test_runs_go_to_another_log_and_are_asked_there(shell):
    shell("run", SUMS, "--run-id", "a")
    shell("run", "flows/flows.py:failing", "--run-id", "b", status=1)
    made = shell.json("export", "sums", "--output", "a.zip")
    assert (made["runs"], made["path"]) == (1, str(shell.folder / "a.zip"))
    assert shell("export", "--all", "--output", "all.zip").stdout.startswith(
        f"{shell.folder}/all.zip: 2 runs, "
    )
    done = shell.json("import", "all.zip", "--log", "other.db")
    assert (done["runs"], done["already"]) == (2, 0)
    told = shell("import", "a.zip", "--log", "other.db").stdout
    assert told == "a.zip: 0 runs, 0 events, 0 artifacts; 1 runs were here already\n"
    for command in (["timeline", "b"], ["status", "a"], ["graph", "b"]):
        assert shell.json(*command, "--log", "other.db") == shell.json(*command)
    events = [shell("events", "a", "--log", log).stdout for log in ("other.db", str(shell.log))]
    assert events[0] == events[1] != ""
    assert shell.json("audit", "verify", "--log", "other.db")["ok"] is True


def test_what_cannot_be_meant_is_an_error(shell):
    shell("run", SUMS, "--run-id", "a")
    assert "say which runs" in shell.error("export", "--output", "x.zip")
    assert "say which runs" in shell.error("export", "a", "--all", "--output", "x.zip")
    assert "say where to" in shell.error("export", "a")
    assert "no run with the id or name 'none'" in shell.error("export", "none", "--output", "x")
    (shell.folder / "x.zip").write_bytes(b"PK nonsense")
    assert "x.zip exists" in shell.error("export", "a", "--output", "x.zip")
    assert "x.zip is damaged, or no export" in shell.error("import", "x.zip", "--log", "new.db")
    assert "none.zip does not exist" in shell.error("import", "none.zip")
    assert "no log at" in shell.error("import", "none.zip", "--log", "nowhere.db")
    assert not (shell.folder / "nowhere.db").exists()
