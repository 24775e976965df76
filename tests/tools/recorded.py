"""Histories of the past as logs in files, and the command line within this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from projections.test_histories import RUNS, envelopes

from semantica.pipeline.events.envelope import NewEvent
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Batch
from semantica.pipeline.tools.cli import cli

NAMES = [path.stem.removeprefix("schema-1-") for path in RUNS]


def restored(name: str, log: Path) -> SqliteStore:
    """A recorded history as run ``r`` of a new log."""
    path = next(one for one in RUNS if one.stem == f"schema-1-{name}")
    store = SqliteStore(log, durability="off")
    for e in envelopes(path):
        event = NewEvent(e.type, e.schema, e.payload, e.encoding)
        batch = Batch(e.stream, e.version - 1, e.epoch, e.actor, e.at, [event])
        assert store.append([batch]) == [None]
    return store


class Here:
    """Runs commands on a log, as :class:`tools.conftest.Shell` does, but in this process."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, *words: str, status: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(cli, [*words, "--log", str(self.log)], input=typed)
        assert done.exit_code == status, (done.exit_code, done.output, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, status: int = 0) -> Any:
        """What a command writes with ``--json``."""
        lines = self(*words, "--json", status=status).stdout.splitlines()
        return json.loads(lines[0]) if len(lines) == 1 else [json.loads(one) for one in lines]

    def error(self, *words: str) -> str:
        """The one line of an error."""
        done = self(*words, status=2)
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and not done.stdout, done.output
        return line
