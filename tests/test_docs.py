"""What the documentation says is run, and what it draws is compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from semantica.pipeline.config import PipelineConfig
from semantica.pipeline.tools.alert_rules import read_rules
from semantica.pipeline.tools.cli import cli
from semantica.pipeline.tools.diagrams import updated

ROOT = Path(__file__).parents[1]
PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in (
        "README.md",
        "engine/README.md",
        "engine/steps/README.md",
        "events/README.md",
        "tools/README.md",
    )
}
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_diagrams_are_those_of_the_law() -> None:
    law = PAGES["events/README.md"]
    assert law.count("<!-- diagram: ") == 4
    assert updated(law) == law, "run: python -m semantica.pipeline.tools.diagrams events/README.md"


def test_every_python_block_is_executed() -> None:
    assert len(BLOCKS) == 14, "a new block needs a test"


def test_the_block_on_programs_does_what_it_says(tmp_path: Path) -> None:
    script = tmp_path / "counting.py"
    script.write_text(block('.build("counting")'))
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    found = sum(not one.name.startswith(".") for one in (ROOT / "tools").iterdir())
    found += sum(one.name.endswith("py") for one in (ROOT / "tests").iterdir())
    assert done.stdout == f"{found}\n", done.stderr


def test_the_block_on_processes_does_what_it_says(tmp_path: Path) -> None:
    script = tmp_path / "count.py"
    script.write_text(
        f"""from semantica.pipeline import ExecutionEngine\n{block("def count(")}
if __name__ == "__main__":
    with ExecutionEngine("count.db") as engine:
        result = engine.execute_pipeline(pipeline.build("count"))
        history = engine.history(result.run_id)
    print(result.success, [one.type for one in history].count("StepCheckpointed"))
"""
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True 100\n", done.stderr


def test_the_block_on_words_does_what_it_says(tmp_path: Path) -> None:
    script = tmp_path / "words.py"
    script.write_text(block('run_id="words-of-today"'))
    environment = {**os.environ, "PIPELINE_LOG": str(tmp_path / "pipeline.db")}
    first, second = (
        subprocess.run(
            [sys.executable, script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("True {")
    assert first.stdout.endswith("completed 100.0\n")
    assert second.stdout == first.stdout, "the same run id gives the recorded result"


def test_the_block_on_failures_does_what_it_says(tmp_path: Path) -> None:
    assert output_of(block('build("answers")'), tmp_path) == "skipped 2\n"


def test_the_block_on_waits_does_what_it_says(tmp_path: Path) -> None:
    told = output_of(block('build("site")'), tmp_path)
    assert told == "took back 2\nrolled_back\n"


def test_the_block_on_resources_does_what_it_says(tmp_path: Path) -> None:
    told = output_of(block('build("training")'), tmp_path)
    assert told.startswith("True {")
    assert "'allocated': 0.0, 'available': 6.0, 'reserved': 2.0" in told


def test_the_block_on_testing_does_what_it_says(tmp_path: Path) -> None:
    assert output_of(block('build("approved")'), tmp_path) == "42\n"


def test_the_block_on_nested_pipelines_does_what_it_says(tmp_path: Path) -> None:
    first, error, child = output_of(block('build("sums")'), tmp_path).splitlines()
    assert first == "3"
    assert "step 'clean > parse': ValueError: invalid literal" in error
    assert len(child) == 36


def test_the_block_on_following_the_log_does_what_it_says(tmp_path: Path) -> None:
    told = output_of(block("def tally("), tmp_path)
    assert told == "{'a': 1}\n{'a': 1}\n{'a': 1}\nmail: one\n"


def test_the_block_on_what_handlers_say_does_what_it_says(tmp_path: Path) -> None:
    assert output_of(block('build("resizing")'), tmp_path).splitlines() == [
        "info resize None begun {'images': 2}",
        "warning resize images/-1 too small {'width': -1}",
    ]


def test_the_block_on_secrets_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "token-4711")
    told = output_of(block("Secret("), tmp_path)
    assert told == "step 'fetch': ConnectionError: the server refuses ***\n"
    assert b"token-4711" not in (tmp_path / "secrets.db").read_bytes()


def test_the_block_on_encrypted_runs_does_what_it_says(tmp_path: Path) -> None:
    output, erased, errors = output_of(block("encrypt=True"), tmp_path).splitlines()
    assert output == "['Dear Ada']"
    assert erased == "('july',) erased"
    assert errors.startswith("['the run was erased")
    assert b"Ada" not in (tmp_path / "mail.db").read_bytes()


def block(mark: str) -> str:
    """The one with these words in it."""
    (found,) = (one for one in BLOCKS if mark in one)
    return found


def test_the_block_on_search_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "pipeline.db"))
    told = output_of(block("search("), ROOT).splitlines()
    assert "observatory.txt 0-294: 'The Halden Observatory" in told[0]


def test_the_block_on_graphs_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "pipeline.db"))
    told = output_of(block("founders = "), ROOT)
    assert told.startswith("{'nodes': ")
    assert "'Gabriela Rojas'" in told


def output_of(block: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["engine/README.md"], re.DOTALL)
    (tmp_path / "config.yaml").write_text(block)
    config = PipelineConfig(config_file=tmp_path / "config.yaml")
    assert (config.max_workers, config.max_memory_gb, config.parallelism_level) == (4, 16, 2)
    assert config.template_parallelism("rag_pipeline") == 4


def test_the_alerts_are_alerts(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["tools/README.md"], re.DOTALL)
    (tmp_path / "alerts.yaml").write_text(block)
    rules = read_rules(tmp_path / "alerts.yaml")
    told = [(rule.when, rule.after, bool(rule.webhook)) for rule in rules.alerts]
    assert told == [("failed", 0, True), ("stuck", 1800, False), ("slow", 14400, False)]


def test_the_pipeline_in_yaml_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["README.md"], re.DOTALL)
    (tmp_path / "words.yaml").write_text(block)
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "pipeline.db"))
    command = [sys.executable, "-m", "semantica.pipeline", "run", tmp_path / "words.yaml", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["success"]


def test_every_command_is_documented() -> None:
    missing = [
        name for name in cli.commands if not re.search(rf"semantica-pipeline {name}\b", TEXT)
    ]
    assert not missing, f"no page shows how to use {missing}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_is_there(page: str) -> None:
    for target, part in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", PAGES[page]):
        linked = (ROOT / page).parent / target
        assert linked.exists(), target
        if part:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles}
