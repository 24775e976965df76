"""A log in which a newer version, or nobody in his senses, has written: that run is refused by
name and left alone; the others go on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from making import MakeEngine

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine.requests import member
from semantica.pipeline.events.envelope import Envelope, NewEvent, chain
from semantica.pipeline.events.errors import IllegalTransition, PipelineError, UnknownEvent
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Snapshot
from semantica.pipeline.projections.run import FOLD
from semantica.pipeline.tools.cli import cli

FAR = 30.0
STRANGE = {
    "unknown step event": ("StepTeleported", 1, b'{"step":"wait","attempt":1}', UnknownEvent),
    "unknown run event": ("PipelineTeleported", 1, b"{}", UnknownEvent),
    "newer schema": ("StepCompleted", 99, b'{"step":"wait"}', UnknownEvent),
    "against the law": ("PipelineResumed", 1, b'{"due":{}}', IllegalTransition),
}


def waits(data: Any, context: Any) -> Any:
    return context.wait_for("go")


PIPELINE = Pipeline("waiting", [PipelineStep("wait", "t", handler=f"{__name__}:waits")])


def write(log: Path, run_id: str, kind: str, schema: int, payload: bytes) -> Envelope:
    """As another version of this library would: with a digest that is right."""
    with closing(SqliteStore(log)) as store:
        last = list(store.read(f"run/{run_id}"))[-1]
    event = NewEvent(kind, schema, payload)
    version, at, actor = last.version + 1, last.at + 1, last.actor
    digest = chain(last.digest, last.stream, version, at, actor, last.epoch, event)
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute(
            "INSERT INTO events (stream, version, type, schema, at, actor, epoch, encoding, "
            "payload, digest) VALUES "
            "((SELECT id FROM streams WHERE name = ?), ?, ?, ?, ?, ?, ?, 'json', ?, ?)",
            (last.stream, version, kind, schema, at, actor, last.epoch, payload.decode(), digest),
        )
    return last


def content(log: Path, run_id: str) -> list[Envelope]:
    with closing(SqliteStore(log)) as store:
        return list(store.read(f"run/{run_id}"))


@pytest.fixture(params=STRANGE, ids=[name.replace(" ", "-") for name in STRANGE])
def strange(request: pytest.FixtureRequest) -> Any:
    return STRANGE[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A log of two runs that wait, and whose engine has gone."""
    made = tmp_path / "strange.db"
    engine = ExecutionEngine(made)
    for run_id in ("strange", "sound"):
        engine.execute_pipeline_async(PIPELINE, run_id=run_id)
        while engine.report(run_id).steps[0].status != "suspended":
            pass
    engine.close(wait=False)
    return made


def test_a_strange_history_costs_its_own_run_alone(
    path: Path, strange: Any, make_engine: MakeEngine
) -> None:
    kind, schema, payload, error = strange
    last = write(path, "strange", kind, schema, payload)
    before = content(path, "strange")
    engine = make_engine(log=path)
    futures = {future.run_id: future for future in engine.recover()}
    told = futures["strange"].exception(FAR)
    assert isinstance(told, error)
    assert "run/strange" in str(told) and kind in str(told)
    if error is UnknownEvent:
        assert f"event {last.version + 1} " in str(told) and "upgrade" in str(told)
    for ask in (engine.pause_pipeline, engine.resume_pipeline, engine.cancel_pipeline,
                engine.report):  # fmt: skip
        with pytest.raises(PipelineError, match="run/strange"):
            ask("strange")
    assert engine.signal("sound", "go", 5)
    assert futures["sound"].result(FAR).output == 5
    assert content(path, "strange") == before


def test_who_follows_a_run_that_turns_strange_is_told_and_other_runs_go_on(
    path: Path, make_engine: MakeEngine
) -> None:
    """Its owner, of a newer version, ends it with an event that we do not know."""
    with closing(SqliteStore(path)) as store:
        (row,) = [row for row in store.runs() if row.run_id == "strange"]
        assert row.owner is not None
        store.join(member(row.owner, time.time_ns()))  # it lives
        engine = make_engine(log=path)
        followed = engine.attach("strange")
        mine = engine.execute_pipeline_async(PIPELINE, run_id="mine")
        write(path, "strange", "StepTeleported", 1, b"{}")
        store.leave(row.owner)  # and now it does not
        assert isinstance(followed.exception(FAR), UnknownEvent)
        assert engine.signal("mine", "go", 7)
        assert mine.result(FAR).output == 7


def test_a_snapshot_of_a_newer_version_is_left_aside(path: Path, make_engine: MakeEngine) -> None:
    with closing(SqliteStore(path)) as store:
        store.save_snapshot("run/sound", Snapshot(3, FOLD + 1, b'{"of": "another kind"}'))
    engine = make_engine(log=path)
    futures = {future.run_id: future for future in engine.recover()}
    assert engine.signal("sound", "go", 5)
    assert futures["sound"].result(FAR).output == 5


def test_the_command_line_says_so_in_one_line(path: Path) -> None:
    write(path, "strange", "StepTeleported", 2, b'{"step":"wait"}')
    before = content(path, "strange")
    for words, status in (
        (["status", "strange"], 2),
        (["pause", "strange"], 2),
        (["resume", "strange"], 2),
        (["timeline", "strange"], 2),
        (["events", "strange"], 0),
        (["status", "sound"], 0),
        (["runs"], 0),
    ):
        done = CliRunner().invoke(cli, [*words, "--log", str(path)])
        assert done.exit_code == status, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr
        if status:
            (line,) = done.stderr.splitlines()
            assert "run/strange" in line and "StepTeleported" in line and "upgrade" in line
    assert content(path, "strange") == before
