"""Runs are carried away and taken in from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semantica.pipeline import ExecutionEngine, PipelineBuilder
from semantica.pipeline.tools.cli import cli


def number(data: object, value: int) -> int:
    if value < 0:
        raise ValueError("no good")
    return value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a log of two runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_LOG", "log.db")
    with ExecutionEngine("log.db") as engine:
        for name, value in (("sums", 1), ("failing", -1)):
            builder = PipelineBuilder(name).add_step("n", "number", handler=number, value=value)
            engine.execute_pipeline(builder.build(), run_id=name[0])
    return tmp_path


def told(*words: str, status: int = 0) -> str:
    """What a command says; of an error its one line."""
    done = CliRunner().invoke(cli, [*words])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.stderr


def as_json(*words: str) -> Any:
    return json.loads(told(*words, "--json"))


def test_runs_go_to_another_log_and_are_asked_there(folder: Path) -> None:
    made = as_json("export", "sums", "--output", "s.zip")
    assert (made["runs"], made["path"]) == (1, str(folder / "s.zip"))
    text = told("export", "--all", "--output", "all.zip")
    assert text.startswith(f"{folder}/all.zip: 2 runs, ")
    done = as_json("import", "all.zip", "--log", "other.db")
    assert (done["runs"], done["already"]) == (2, 0)
    text = told("import", "s.zip", "--log", "other.db")
    assert text == (
        "s.zip: 0 runs, 0 events, 0 artifacts, 0 lines of handlers; 1 runs were here already\n"
    )
    for command in (["timeline", "f"], ["status", "s"], ["graph", "f"]):
        assert as_json(*command, "--log", "other.db") == as_json(*command)
    assert told("events", "s", "--log", "other.db") == told("events", "s") != ""
    assert as_json("audit", "verify", "--log", "other.db")["ok"] is True


def test_what_cannot_be_meant_is_an_error(folder: Path) -> None:
    (folder / "x.zip").write_bytes(b"PK nonsense")
    for says, *words in (
        ("say which runs", "export", "--output", "y.zip"),
        ("say which runs", "export", "s", "--all", "--output", "y.zip"),
        ("say where to", "export", "s"),
        ("no run with the id or name 'none'", "export", "none", "--output", "y.zip"),
        ("x.zip exists", "export", "s", "--output", "x.zip"),
        ("x.zip is damaged, or no export", "import", "x.zip", "--log", "new.db"),
        ("none.zip does not exist", "import", "none.zip"),
        ("no log at", "import", "none.zip", "--log", "nowhere.db"),
    ):
        error = told(*words, status=2)
        assert error.startswith("error: ") and says in error, words
        assert error.count("\n") == 1
    assert not (folder / "nowhere.db").exists()
