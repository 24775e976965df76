"""Runs cases in processes, two at a time, and looks at the logs they leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from invariants import check_log

from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.events.sqlite import SqliteStore

from .blocks import Block
from .case import Case

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tools" / "samples" / "documents"
DOCUMENTS = ("annual-report.pdf", "contract.docx", "observatory.txt", "biography.md")
"""Copied for every case."""

AT_ONCE = 2
LIMIT = 60.0
"""Seconds that a case may take on a busy machine."""

ENDED = {*(status for status in PipelineStatus if status.finished), PipelineStatus.STOPPED}


class Outcome(NamedTuple):
    """What became of a case's process."""

    code: int
    stdout: str
    stderr: str


class Runner:
    """Runs cases, each once, in folders below ``folder``."""

    def __init__(self, folder: Path, guide: list[Block]) -> None:
        self._folder = folder
        self._blocks = {block.key: block for block in guide}
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._outcomes: dict[str, Future[Outcome]] = {}

    def start(self, case: Case) -> Future[Outcome]:
        """Have a case run as soon as there is room."""
        if case.name not in self._outcomes:
            self._outcomes[case.name] = self._pool.submit(self._run, case)
        return self._outcomes[case.name]

    def close(self) -> None:
        """Let what runs end; the rest never starts."""
        self._pool.shutdown(cancel_futures=True)

    def folder(self, case: Case) -> Path:
        """Where the case runs."""
        return self._folder / case.name

    def _run(self, case: Case) -> Outcome:
        folder = self.folder(case)
        (folder / "documents").mkdir(parents=True)
        for name in DOCUMENTS:
            shutil.copy(SAMPLES / name, folder / "documents")
        command = [sys.executable, "-W", "error", "-m", "guide.child", case.name]
        block = self._blocks[case.key]
        if block.language == "bash":  # it prepares the environment of what is started after it
            command = ["bash", "-euc", f'{block.text}exec "$@"', "bash", *command]
        kept = {key: text for key, text in os.environ.items() if not key.startswith("PIPELINE_")}
        done = subprocess.run(
            command,
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT / "tests"), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def check_left(folder: Path) -> None:
    """The log that a case leaves is whole, and the end of its process has lost no run."""
    path = folder / ".semantica" / "pipeline.db"
    if not path.exists():
        return
    store = SqliteStore(path)
    try:
        unended = [row for row in store.runs() if row.status not in ENDED]
        assert not unended, f"the interpreter left before these runs had ended: {unended}"
        check_log(store)
    finally:
        store.close()
