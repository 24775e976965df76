"""What is said before anything runs: validate, graph, steps, templates, doctor, completion."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys

import msgspec
import pytest

from semantica.pipeline.engine.steps import registry
from semantica.pipeline.engine.templates import PipelineTemplateManager
from semantica.pipeline.tools.catalogue import show_type
from semantica.pipeline.tools.mermaid import escaped

SUMS = "flows/flows.py:sums"
LOOP = """
name: loop
steps:
  - {name: a, type: chunk, dependencies: [b]}
  - {name: b, type: chnk, dependencies: [a, nowhere]}
  - {name: alone, type: parse, dependencies: [], timout: 3}
"""


# validate


def test_a_valid_pipeline(shell):
    assert shell("validate", SUMS).stdout == "sums is valid: 3 steps, 2 deep, 2 wide\n"
    told = shell.json("validate", SUMS)
    assert (told["valid"], told["errors"], told["metadata"]["steps"]) == (True, [], 3)
    assert not shell.log.exists()


def test_all_that_is_wrong_is_listed(shell):
    (shell.folder / "loop.yaml").write_text(LOOP.replace(", timout: 3", ""))
    told = shell("validate", "loop.yaml", status=2).stdout
    assert re.search(r"^error: circular_dependency: step 'a'", told, re.MULTILINE)
    assert "'nowhere', which is not a step" in told
    assert "did you mean 'chunk'" in told
    assert re.search(r"^warning: disconnected_step", told, re.MULTILINE)
    assert told.splitlines()[-1].startswith("loop is not valid: 3 errors, 1 warning, 3 steps")
    plain = shell.json("validate", "loop.yaml", status=2)
    assert {one["code"] for one in plain["errors"]} == {
        "circular_dependency", "missing_dependency", "no_handler",
    }  # fmt: skip
    lenient = shell.json("validate", "loop.yaml", "--lenient", status=2)
    assert "no_handler" in {one["code"] for one in lenient["warnings"]}
    assert "loop.yaml does not exist" not in shell.error("validate", "loop.yml")


def test_settings_count(shell):
    assert shell.json("validate", SUMS, "--set", "one.timeout=-1", status=2)["errors"]
    assert "did you mean 'add'" in shell.error("validate", SUMS, "--set", "ad.x=1")
    assert "none is not a folder" in shell.error("validate", SUMS, "--path", "none")


def test_what_a_run_will_take(shell):
    told = shell("validate", SUMS, "--performance").stdout
    assert "nothing is known of how long the steps take" in told
    assert "- run it once" in told
    assert not shell.log.exists()
    shell("run", SUMS)
    told = shell("validate", SUMS, "--performance", "--workers", "1").stdout
    assert re.search(r"^on 1 worker: about [\d.]+ s \(critical path", told, re.MULTILINE)
    assert re.search(r"^critical path: \S+ → add$", told, re.MULTILINE)
    assert re.search(r"^bottleneck +takes +of path +alone +known from$", told, re.MULTILINE)
    assert re.search(r"^(one|two|add) +[\d.]+ s +\d+% .* earlier runs$", told, re.MULTILINE)
    assert "raise max_workers of the engine from 1 to 2" in told
    plain = shell.json("validate", SUMS, "--performance")["metadata"]["performance"]
    assert plain["basis"] == {"one": "run", "two": "run", "add": "run"}
    assert 0 < plain["critical_time"] <= plain["estimated_time"] <= plain["total_work"]
    assert "performance" not in shell.json("validate", SUMS)["metadata"]


def test_an_estimate_needs_the_log_that_is_named(shell):
    assert "no log at" in shell.error("validate", SUMS, "--performance", "--log", "none.db")
    assert not (shell.folder / "none.db").exists()
    assert "add --performance" in shell.error("validate", SUMS, "--workers", "2")
    told = shell("validate", SUMS, "--performance", "--set", "one.timeout=-1", status=2).stdout
    assert "critical path" not in told


def test_configuration_is_checked(shell):
    (shell.folder / "flow.yaml").write_text(
        "name: flow\nsteps:\n"
        "  - {name: a, type: chunk, config: {chunk_sise: 5}}\n"
        "  - {name: b, type: t, handler: 'nowhere:handler', dependencies: [a]}\n"
    )
    told = shell.json("validate", "flow.yaml", status=2)
    assert {(one["code"], one["step"]) for one in told["errors"]} == {
        ("unknown_config", "a"),
        ("unimportable_handler", "b"),
    }


# graph


def test_the_graph_of_a_pipeline_and_of_a_run(shell):
    told = shell("graph", SUMS).stdout
    assert told.startswith("flowchart TD\n")
    assert "s0 --> s2" in told
    assert "class " not in told
    shell("run", SUMS, "--run-id", "mine")
    told = shell("graph", "mine").stdout
    assert "class s0,s1,s2 completed" in told
    assert "classDef completed" in told
    assert shell("graph", "sums").stdout == told
    plain = shell.json("graph", "sums")
    assert plain["nodes"][0] == {"name": "one", "type": "number", "status": "completed"}
    assert plain["edges"] == [{"from": "one", "to": "add"}, {"from": "two", "to": "add"}]
    assert "neither a pipeline" in shell.error("graph", "nothing")


def test_a_graph_without_a_log_and_with_what_is_missing(shell):
    assert "there is no log" in shell.error("graph", "nothing")
    assert not shell.log.exists()
    (shell.folder / "loop.yaml").write_text(LOOP.replace(", timout: 3", ""))
    assert "missing" in shell("graph", "loop.yaml").stdout


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("plain-name_1", "plain-name_1"),
        ('say "hi"', "say #34;hi#34;"),
        ("<b>&#x;", "#60;b#62;#38;#35;x#59;"),
        ("`code` [x] {y}", "#96;code#96; #91;x#93; #123;y#125;"),
        ("1. first", "1#46; first"),
        ("- item", "#45; item"),
        ("größe 日本", "größe 日本"),
        ("a\x1b[2Jb\nc", "a#92;x1b#91;2Jb#92;nc"),
    ],
)
def test_names_are_no_syntax(name, label):
    assert escaped(name) == label


# steps and templates


def test_the_types_of_steps(shell):
    told = shell("steps").stdout
    assert re.search(r"chunk +\S+chunk:chunk +Cut every document", told)
    one = shell("steps", "chunk").stdout
    assert re.search(r"chunk_size +512 +int >= 1\n +the most that a chunk holds", one)
    assert ":meth:" not in one
    plain = shell.json("steps", "chunk")
    overlap = next(key for key in plain["configuration"] if key["key"] == "overlap")
    assert overlap.pop("description").startswith("what a chunk shares with the one before it")
    assert overlap == {"key": "overlap", "required": False, "default": 50, "type": "int >= 0"}
    assert {kind["type"] for kind in shell.json("steps")} >= {"ingest", "parse", "chunk"}
    assert "did you mean 'chunk'" in shell.error("steps", "chnk")


class Options(msgspec.Struct, rename="camel"):
    max_size: int
    tags: list[str] = []


def test_a_type_with_a_schema(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.step("cut", config=Options)
    def cut(data, **config):
        """Cut."""

    show_type("cut", as_json=True)
    plain = json.loads(capsys.readouterr().out)
    assert plain["configuration"] == [
        {"key": key, "required": required, "default": default, "type": kind, "description": ""}
        for key, required, default, kind in (
            ("maxSize", True, None, "int"),
            ("tags", False, [], "list[str]"),
        )
    ]
    assert plain["any_key"] is False


def test_templates(shell):
    names = sorted(PipelineTemplateManager().list_templates())
    told = shell("templates").stdout
    assert all(name in told for name in names)
    assert " → " in told
    plain = shell.json("templates")
    assert [one["name"] for one in plain] == names
    one = shell("templates", names[0]).stdout
    info = PipelineTemplateManager().get_template_info(names[0])
    assert info["description"] in one
    assert all(step in one for step in info["steps"])
    steps = shell.json("templates", names[0])["steps"]
    assert [step["name"] for step in steps] == info["steps"]
    category = plain[0]["category"]
    assert names[0] in shell("templates", "--category", category).stdout
    assert "no template has the category" in shell.error("templates", "--category", "none such")
    assert f"did you mean '{names[0]}'" in shell.error("templates", names[0] + "x")


def test_a_template_is_a_target(shell):
    name = sorted(PipelineTemplateManager().list_templates())[0]
    assert f"{name} is valid" in shell("validate", name, "--lenient").stdout
    assert shell("graph", name).stdout.startswith("flowchart TD")
    assert f"did you mean '{name}'" in shell.error("run", name + "x")
    assert f"did you mean '{name}'" in shell.error("validate", name + "x")


# configuration

CONFIG = """
pipeline: {max_workers: 3}
pipeline_templates: {rag_pipeline: {parallelism: 9}}
"""
WRONG = "pipeline: {max_worker: 3}"


def test_the_settings_of_a_template_are_shown(shell):
    (shell.folder / "config.yaml").write_text(CONFIG)
    assert shell.json("templates", "rag_pipeline")["parallelism"] == 4
    told = shell.json("templates", "rag_pipeline", "--config", "config.yaml")
    assert told["parallelism"] == 9
    named = shell("templates", "rag_pipeline", PIPELINE_CONFIG="config.yaml").stdout
    assert "at most 9 steps at once" in named


@pytest.mark.parametrize("words", [("validate", SUMS), ("templates", "rag_pipeline")])
def test_a_wrong_configuration_is_an_error(shell, words):
    (shell.folder / "wrong.yaml").write_text(WRONG)
    told = shell.error(*words, "--config", "wrong.yaml")
    assert told.startswith("error: wrong.yaml: pipeline: unknown key 'max_worker'; did you mean")
    assert "none.yaml: it cannot be read" in shell.error(*words, "--config", "none.yaml")


def test_doctor_tells_what_is_set_and_by_whom(shell):
    (shell.folder / "config.yaml").write_text(CONFIG)
    (shell.folder / "wrong.yaml").write_text(WRONG)
    settings = {one["name"]: one for one in shell.json("doctor")["checks"]}["settings"]
    assert (settings["outcome"], settings["found"]) == ("ok", "all are the defaults")
    told = shell("doctor", "--config", "config.yaml", PIPELINE_ENABLE_GPU="no").stdout
    assert "max_workers=3 (file config.yaml)" in told
    assert "enable_gpu=False (environment PIPELINE_ENABLE_GPU)" in told
    assert "rag_pipeline.parallelism=9 (file config.yaml)" in told
    assert "retry_on_failure" not in told
    told = shell("doctor", "--config", "wrong.yaml", status=1).stdout
    assert re.search(r"^fail +settings +wrong.yaml: pipeline: unknown key", told, re.MULTILINE)
    assert "will be created by the first run" in told, "the other checks are made"


# doctor


def test_a_named_pipe_is_no_configuration(shell):
    """Nobody may ever write to it."""
    os.mkfifo(shell.folder / "pipe.yaml")
    told = shell("doctor", "--config", "pipe.yaml", status=1).stdout
    assert "it is not a file" in " ".join(told.split())


def test_a_healthy_machine(shell):
    told = shell("doctor").stdout
    assert "will be created by the first run" in told
    assert not shell.log.exists()
    shell("run", SUMS)
    plain = shell.json("doctor")
    assert plain["ok"] is True
    found = {check["name"]: check["outcome"] for check in plain["checks"]}
    for name in ("python", "sqlite", "handlers", "disk", "log", "integrity", "digests", "runs"):
        assert found[name] == "ok", name


def test_a_changed_history_and_a_file_that_is_no_log(shell):
    shell("run", SUMS)
    with sqlite3.connect(shell.log) as connection:
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE events SET actor = 'nobody' WHERE version = 3")
    connection.close()
    told = shell("doctor", status=1).stdout
    assert re.search(r"^fail +digests +.*version 3 does not match", told, re.MULTILINE)
    shell.log.write_text("not a database at all, " * 100)
    plain = shell.json("doctor", status=1)
    (fault,) = [check for check in plain["checks"] if check["outcome"] == "fail"]
    assert fault["name"] == "log"
    assert "is not a SQLite database" in fault["advice"]


def test_a_lost_run_is_a_warning(shell):
    process = shell.start("run", "flows/flows.py:chain")
    shell.wait_for(1)
    process.kill()
    process.wait()
    told = shell("doctor").stdout
    assert re.search(r"^warn +runs +1 lost", told, re.MULTILINE)
    assert "semantica-pipeline recover" in told


# completion


def complete(shell, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "semantica.pipeline"],
        cwd=shell.folder,
        env=shell.environment
        | {
            "_SEMANTICA_PIPELINE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["semantica-pipeline", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_scripts(shell, name):
    told = shell("completion", name).stdout
    assert "_SEMANTICA_PIPELINE_COMPLETE" in told
    if name == "bash":
        checked = subprocess.run(["bash", "-n"], input=told, text=True, capture_output=True)
        assert checked.stderr == ""
    assert "'bash'" in shell.error("completion", "csh")


def test_what_tab_offers(shell):
    assert complete(shell, "wat") == ["watch"]
    assert complete(shell, "status", "s") == []  # there is no log, and there will be none
    assert not shell.log.exists()
    shell("run", SUMS, "--run-id", "mine")
    assert complete(shell, "status", "s") == ["sums"]
    assert complete(shell, "cancel", "m") == ["mine"]
    assert complete(shell, "graph", "m") == ["mine"]
    (shell.folder / "flow.yaml").write_text("steps: []")
    assert complete(shell, "run", "fl") == ["flow.yaml"]
    name = sorted(PipelineTemplateManager().list_templates())[0]
    assert complete(shell, "validate", name[:4]) == [name]
    assert complete(shell, "templates", name[:4]) == [name]
    assert complete(shell, "steps", "ch") == ["chunk"]
    assert complete(shell, "run", "--conf") == ["--config"]
    assert complete(shell, "run", "--config", "fl") == ["fl"]  # a file, which the shell completes
    shell.log.write_text(json.dumps("broken") * 100)
    assert complete(shell, "status", "s") == []
