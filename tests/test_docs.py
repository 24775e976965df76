"""What the documentation says is run, and what it draws is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from semantica.pipeline.tools.cli import cli
from semantica.pipeline.tools.diagrams import updated

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_diagrams_are_those_of_the_law() -> None:
    assert updated(README) == README, "run: python -m semantica.pipeline.tools.diagrams README.md"


def test_the_python_block_does_what_it_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "words.py"
    script.write_text(block)
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


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in cli.commands if not re.search(rf"\b{name}\b", README)]
    assert not missing, f"the README does not mention {missing}"


def test_files_that_the_readme_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
