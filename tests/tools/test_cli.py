"""What commands say, and the exit status they say it with."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from semantica.pipeline.engine.steps import registry
from semantica.pipeline.tools.cli import cli


@pytest.fixture
def inside(shell, monkeypatch):
    """The command line within this process, which is left as it was."""
    for key in [key for key in os.environ if key.startswith("PIPELINE_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIPELINE_LOG", str(shell.log))
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    yield
    sys.modules.pop("flows", None)


SUMS = "flows/flows.py:sums"
ROOT = Path(__file__).parents[2]


def test_a_run_from_start_to_end(shell):
    done = shell("run", SUMS)
    assert "sums completed: 3/3 steps" in done.stdout
    assert "output  3" in done.stdout
    assert "add completed in" in done.stderr
    assert "(3/3)" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no colours without a terminal

    told = shell("status").stdout
    assert "3/3 steps, 100 %" in told
    assert shell("status", "sums").stdout == told
    rows = shell.json("runs")
    assert [(row["name"], row["status"]) for row in rows] == [("sums", "completed")]
    assert rows[0]["run_id"] in shell("runs").stdout


def test_the_json_of_a_run(shell):
    done = shell("run", SUMS, "--json")
    told = json.loads(done.stdout)
    assert told["success"] is True
    assert told["status"] == "completed"
    assert told["errors"] == told["warnings"] == []
    assert told["metrics"]["steps_executed"] == 3
    assert told["run_id"] == shell.json("status")["run_id"]
    assert done.stderr == ""


def test_events_are_listed_and_chosen(shell):
    shell("run", SUMS)
    lines = shell("events", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "PipelineSubmitted"
    assert events[0]["payload"]["name"] == "sums"
    assert shell("events").stdout.count("\n") == len(events)
    completed = shell("events", "sums", "--type", "StepCompleted", "--limit", "2").stdout
    assert completed.count("StepCompleted") == completed.count("\n") == 2
    assert shell("events", "--after", str(len(events))).stdout == ""
    assert "did you mean 'StepFailed'" in shell.error("events", "--type", "StepFaild")


def test_a_failed_run(shell):
    done = shell("run", "flows/flows.py:failing", status=1)
    assert "failing failed" in done.stdout
    assert "semantica-pipeline resume" in done.stdout
    assert "error: step 'bad': ValueError: no good" in done.stderr
    told = shell.json("run", "flows/flows.py:failing", status=1)
    assert told["errors"] == ["step 'bad': ValueError: no good"]
    assert "ValueError: no good" in shell("status").stdout


def test_settings_data_and_output(shell):
    (shell.folder / "in.json").write_text('{"from": "a file"}')
    (shell.folder / "echo.yaml").write_text(
        "name: echo\nsteps:\n  - {name: a.b, type: none, handler: 'flows:number'}\n"
    )
    words = ("run", "echo.yaml", "--path", "flows", "--output", "out.json")
    shell(*words, "--set", "a.b.value=[1, 2]", "--name", "other")
    assert json.loads((shell.folder / "out.json").read_text()) == [1, 2]
    assert shell.json("status")["name"] == "other"
    shell(*words, "--set", "a.b.value=plain text")
    assert json.loads((shell.folder / "out.json").read_text()) == "plain text"
    (shell.folder / "same.json").write_text('{"steps": [{"name": "a", "type": "nothing"}]}')
    shell("run", "same.json", "--lenient", "--data", "@in.json", "--output", "out.json")
    assert json.loads((shell.folder / "out.json").read_text()) == {"from": "a file"}
    assert "cannot write the output" in shell(*words, "--output", "no/where", status=2).stderr


def test_the_configuration_counts_for_what_is_run(shell):
    (shell.folder / "letters").mkdir()
    (shell.folder / "letters" / "a.txt").write_text("Dear reader")
    config = shell.folder / "config.yaml"
    config.write_text("pipeline_templates: {rag_pipeline: {parallelism: 9}}")
    template = ("rag_pipeline", "--lenient", "--set", "ingest.source=letters")
    shell("run", *template, "--config", "config.yaml", "--run-id", "mine")
    submitted = shell.json("events", "mine", "--type", "PipelineSubmitted")
    assert submitted["payload"]["parallelism"] == 9
    config.write_text("pipeline: {max_worker: 3}")
    for words in (("run", SUMS), ("resume", "mine", "--pipeline", SUMS)):
        assert "did you mean 'max_workers'?" in shell.error(*words, "--config", "config.yaml")
    assert len(shell.json("runs")) == 1


def test_what_json_has_no_word_for_is_written_all_the_same(shell):
    shell("run", "flows/flows.py:odd", "--output", "out")
    assert json.loads((shell.folder / "out").read_text()) == [1, 2]


def test_a_run_id_never_runs_twice(shell):
    first = shell.json("run", SUMS, "--run-id", "mine")
    again = shell.json("run", SUMS, "--run-id", "mine")
    assert first["run_id"] == again["run_id"] == "mine"
    assert len(shell.json("runs")) == 1
    assert "exists with another definition" in shell.error(
        "run", "flows/flows.py:failing", "--run-id", "mine"
    )


def test_an_impossible_run_id(shell):
    assert "run_id" in shell.error("run", SUMS, "--run-id", "")
    assert shell.json("runs") == []


def test_handlers_may_write_and_log(shell):
    done = shell("run", "flows/flows.py:talking")
    assert "a word on standard output" in done.stdout
    assert "info: talk: a word in the log (answer=42)" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status"], "no log at"),
        (["runs"], "no log at"),
        (["resume", "x"], "no log at"),
        (["runn"], "no command 'runn'; did you mean 'run'?"),
        (["run", "--wrokers", "3"], "'--workers'"),
        (["run", SUMS, "--workers", "0"], "--workers"),
        (["run", SUMS, "--durability", "none"], "--durability"),
        (["run"], "'TARGET'"),
        (["run", "missing.yaml"], "missing.yaml does not exist"),
        (["run", "flows/flow.py:sums"], "did you mean 'flows/flows.py'?"),
        (["run", "flows/flows.py:sms"], "did you mean 'sums'?"),
        (["run", "flows/flows.py:not_one"], "is a int"),
        (["run", "flows/flows.py:raises"], "RuntimeError: not today"),
        (["run", "nowhere:at_all"], "No module named 'nowhere'"),
        (["run", "what ever"], "names no pipeline"),
        (["run", SUMS, "--set", "addd.value=1"], "did you mean 'add'?"),
        (["run", SUMS, "--set", "one=1"], "step.key=value"),
        (["run", SUMS, "--set", "one.deadline=1"], "cannot be set"),
        (["run", SUMS, "--data", "{"], "--data is not JSON"),
        (["run", SUMS, "--data", "@none.json"], "cannot read none.json"),
        (["run", SUMS, "--path", "none"], "none is not a folder"),
        (["run", SUMS, "--log", "."], "is a folder"),
        (["run", SUMS, "--log", "mysql://x"], "cannot open the log"),
        (["status", "--log", ":memory:"], "in memory"),
    ],
)
def test_bad_input_is_one_line(shell, inside, words, told):
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not shell.log.exists()


def test_files_that_are_no_logs_or_pipelines(shell):
    (shell.folder / "bad.yaml").write_text("steps: [{name: a, type: b, depends: [c]}]")
    line = shell.error("run", "bad.yaml")
    assert "bad.yaml: steps[0]" in line
    assert "depends" in line
    (shell.folder / "loop.yaml").write_text(
        "steps: [{name: a, type: chunk, dependencies: [b]}, "
        "{name: b, type: chnk, dependencies: [a]}]"
    )
    line = shell.error("run", "loop.yaml")
    assert "circular" in line
    assert "did you mean 'chunk'" in line
    (shell.folder / "broken.py").write_text("def (")
    assert "broken.py, line 1" in shell.error("run", "broken.py:x")
    (shell.folder / "flows" / "json.py").write_text("")
    assert "'json' is taken" in shell.error("run", "flows/json.py:x")
    shell.log.write_text("not a database at all, " * 100)
    assert "is not a SQLite database" in shell.error("status")


def test_which_run_is_meant(shell, inside):
    def ask(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == status, done.output
        return done.output

    for run_id in ("aa1", "aa2", "b"):
        ask("run", SUMS, "--run-id", run_id)
    assert json.loads(ask("status", "aa1", "--json"))["run_id"] == "aa1"
    assert json.loads(ask("status", "sums", "--json"))["run_id"] == "b"
    assert json.loads(ask("status", "--json"))["run_id"] == "b"
    assert "2 runs begin with 'aa'" in ask("status", "aa", status=2)
    assert "no run with the id or name 'c'" in ask("status", "c", status=2)
    assert "completed and cannot be resumed" in ask("resume", "b", status=2)
    assert "no such runs" in ask("runs", "--status", "failed")
    assert "did you mean 'failed'" in ask("runs", "--status", "faild", status=2)
    assert len(json.loads(ask("runs", "--limit", "2", "--json"))) == 2


def test_steps_registered_by_the_module_of_the_pipeline(shell):
    shell("run", "flows/flows.py:by_type")
    (shell.folder / "type.yaml").write_text("steps: [{name: a, type: registered_here}]")
    assert "no handler for" in shell.error("run", "type.yaml")


def test_names_that_could_drive_a_terminal(shell):
    """Escapes and lone surrogates in a file's names are shown, not sent."""
    name = "evil\x1b[2J\udcff"
    (shell.folder / "evil.py").write_text(
        "from semantica.pipeline import PipelineBuilder\n"
        "def work(**config): raise ValueError('\\x1b[31mred')\n"
        f"p = PipelineBuilder('x').add_step('ok', 'a', handler=work, note={name!r})\n"
    )
    done = shell("run", "evil.py:p", "--set", "ok.note=1", status=1)
    shell("events")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_bug_is_one_line_too(monkeypatch):
    import semantica.pipeline.tools.finding as finding

    def fail(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(finding, "opened", fail)
    done = CliRunner().invoke(cli, ["status"])
    assert done.exit_code == 2
    assert done.stderr == "error: unexpected KeyError: 'a bug'; SEMANTICA_DEBUG=1 shows where\n"
    monkeypatch.setenv("SEMANTICA_DEBUG", "1")
    assert "Traceback" in CliRunner().invoke(cli, ["status"]).stderr


def test_every_command_explains_itself():
    done = CliRunner().invoke(cli, ["--help"])
    assert done.exit_code == 0
    for name in cli.commands:
        assert f"  {name} " in done.stdout
    _explains_itself((), cli)
    assert CliRunner().invoke(cli, []).stdout == done.stdout
    assert CliRunner().invoke(cli, ["--version"]).exit_code == 0


def _explains_itself(path, command):
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            _explains_itself((*path, name), one)
        return
    told = CliRunner().invoke(cli, [*path, "--help"])
    assert told.exit_code == 0
    assert "Example" in told.stdout, path
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all(option.help for option in options), path


@pytest.mark.parametrize(
    "sample", ["documents.yaml", "documents.py:pipeline", "executors.py:pipeline"]
)
def test_the_samples_run(shell, sample, monkeypatch):
    monkeypatch.setattr(shell, "folder", ROOT)
    assert shell.json("run", f"tools/samples/pipelines/{sample}")["success"]


def test_a_run_may_have_a_deadline(shell):
    assert "'soon' is no time such as" in shell.error("run", SUMS, "--deadline", "soon")
    shell("run", SUMS, "--run-id", "a", "--deadline", "2h")
    first = shell.json("events", "a", "--type", "PipelineSubmitted")
    left = first["payload"]["deadline"] / 1e9 - time.time()
    assert 3600 < left < 7200


def test_a_log_is_copied(shell):
    shell("run", SUMS)
    made = shell.json("backup", "copies/one.db")
    assert (made["runs"], made["artifacts"]) == (1, 0)
    assert made["events"] == len(shell("events", "--json").stdout.splitlines())
    copied = shell("status", "--log", made["path"]).stdout
    assert copied.splitlines()[0] == shell("status").stdout.splitlines()[0]
    assert "1 run, " in shell("backup", "copies/two.db").stdout
    assert "one.db exists; name a new file" in shell.error("backup", "copies/one.db")
