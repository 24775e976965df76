"""Every command on an encrypted run: with its key, without it, and after it was erased."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from encrypted import WORD, found, large, telling
from tools.recorded import Here

from semantica.pipeline import Context, ExecutionEngine, PipelineBuilder
from semantica.pipeline.engine.claiming import Claims
from semantica.pipeline.engine.core.queueing import Limits
from semantica.pipeline.engine.logs import open_log
from semantica.pipeline.events.resource import Ordering
from semantica.pipeline.tools.alert_rules import Rule, Rules
from semantica.pipeline.tools.alerting import Alert, Alerts
from semantica.pipeline.tools.web.reading import Reading

FLOW = f"""
from semantica.pipeline import PipelineBuilder

def says(data, words):
    return [data, words]

def fails(data):
    raise ValueError("{WORD} is not well")

pipeline = PipelineBuilder().add_step("says", "t", handler=says, words="{WORD}").build("flow")
other = PipelineBuilder().add_step("says", "t", handler=says, words="else").build("flow")
"""


def fails(data: object) -> None:
    raise ValueError(f"{WORD} is not well")


def asks(data: object, context: Context) -> object:
    return context.wait_for("go")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with encrypted runs: ``r`` that failed, with one within it, and ``asks`` that waits
    for somebody to go on with it."""
    log = tmp_path_factory.mktemp("encrypted") / "log.db"
    inner = PipelineBuilder().add_step("deep", "t", handler=telling, told=WORD).build("inner")
    builder = PipelineBuilder().add_step("large", "t", handler=large)
    builder.add_step("told", "t", handler=telling, told=WORD).add_step("n", pipeline=inner)
    pipeline = builder.add_step("bad", "t", handler=fails).build("flow", about=WORD)
    waiting = PipelineBuilder().add_step("asks", "t", handler=asks).build("waiting")
    with ExecutionEngine(log) as engine:
        assert not engine.execute_pipeline(pipeline, WORD, run_id="r", encrypt=True).success
        future = engine.execute_pipeline_async(waiting, WORD, run_id="asks", encrypt=True)
        while engine.get_progress("asks")["running_steps"] or engine.history("asks")[-1].type != (
            "StepSuspended"
        ):
            pass
        engine.stop_pipeline("asks")
        future.result(60)
    return log


@pytest.fixture
def here(recorded: Path, tmp_path: Path) -> Here:
    """Its copy, keys and all."""
    return Here(copied(recorded, tmp_path / "log"))


def copied(log: Path, folder: Path) -> Path:
    import shutil

    shutil.copytree(log.parent, folder)
    return folder / log.name


def hidden(log: Path) -> None:
    log.with_name(f"{log.name}.keys").rename(log.with_name("away"))


LOOKS = (
    "status r",
    "status r --json",
    "events r",
    "events r --json",
    "events r --step told",
    "timeline r",
    "timeline r --json",
    "graph r",
    "explain r",
    "explain r bad --json",
    "audit report r",
    "audit report r --json",
    "replay r",
    "replay r --to 4",
    "replay r --step",
    "diff r r",
    "runs",
    "runs --json",
    "runs --error ValueError",
    "logs r",
    "logs r --json",
    "audit verify",
    "doctor",
)


@pytest.mark.parametrize("how", ["without the key", "erased"])
def test_every_command_that_looks_shows_what_happened_and_no_contents(here: Here, how: str) -> None:
    open_ = {words: here(*words.split()).stdout for words in LOOKS}
    assert WORD in open_["status r"]
    assert WORD in open_["events r --json"]
    if how == "erased":
        here("erase", "r")
    else:
        hidden(here.log)
    for words in LOOKS:
        done = here(*words.split())
        assert done.stdout
        assert WORD not in done.output, words
    assert here("watch", "r", status=1).stdout
    assert WORD not in here("watch", "r", status=1).output
    states = [(one["name"], one["status"]) for one in here.json("status", "r")["steps"]]
    before = [(one["name"], one["status"]) for one in json.loads(open_["status r --json"])["steps"]]
    assert states == before


def test_status_says_erased_and_by_whom(here: Here) -> None:
    assert "encrypted\n" in here("status", "r").stdout
    assert here.json("status", "r")["readable"]
    assert "would be erased" in here("erase", "r", "--dry-run").stdout
    told = here.json("erase", "r")
    assert told["runs"][0] == "r"
    assert len(told["runs"]) == 2
    shown = here("status", "r").stdout
    assert "\nerased\n" in shown
    assert "it had failed. Its contents cannot be read any more" in shown
    assert "go on with" not in shown
    assert here.json("status", "r")["status"] == "erased"
    assert "erased it: key" in here("explain", "r").stdout
    assert "it had failed, and was erased" in here("explain", "r").stdout
    assert {row["status"] for row in here.json("runs")} == {"erased", "stopped"}
    assert here.json("erase", "r")["runs"] == ["r"]
    assert here.json("audit", "verify")["ok"]
    (line,) = here("resume", "r", status=2).stderr.splitlines()
    assert "is erased and cannot be resumed" in line


def test_what_would_go_on_says_that_its_key_is_missing(here: Here, tmp_path: Path) -> None:
    flow = tmp_path / "against.py"
    flow.write_text(FLOW)
    hidden(here.log)
    assert "so contents are not shown" in here("status", "r").stdout
    for words in (
        "resume r",
        "resume asks",
        "signal asks go 1",
        "fork r --from large",
        "erase r",
    ):
        line = here.error(*words.split())
        assert "key" in line, words
        assert "is not in" in line, words
    told = here("replay", "r", "--against", f"{flow}:pipeline", status=1).stdout
    assert "cannot be judged: it is encrypted" in told


def test_two_runs_are_not_called_the_same_where_that_is_not_known(here: Here) -> None:
    hidden(here.log)
    assert here.json("diff", "r", "r@3", status=1)["unreadable"] == ["a", "b"]
    assert "not compared: what is encrypted of a and b" in here("diff", "r", "r@3", status=1).stdout
    outputs = [
        change["b"]["digest"]
        for step in here.json("diff", "r@2", "r", status=1)["steps"]
        for change in step["changes"]
        if change["what"] == "output"
    ]
    assert "encrypted: r@" in " ".join(outputs)  # no digest of something else


def test_run_encrypt_export_and_import(tmp_path: Path) -> None:
    (tmp_path / "carried.py").write_text(FLOW)
    here, there = Here(tmp_path / "a" / "log.db"), Here(tmp_path / "b" / "log.db")
    target = f"{tmp_path}/carried.py:pipeline"
    data = json.dumps([WORD] * 1000)
    done = here("run", target, "--encrypt", "--run-id", "r", "--data", data)
    assert "r" in done.stdout
    assert found(tmp_path / "a") == []
    zipped = str(tmp_path / "r.zip")
    assert "keys" not in here("export", "r", "--output", zipped).stdout
    assert "--allow-pickle" in there.error("import", zipped)
    there("import", zipped, "--allow-pickle")
    assert there.json("audit", "verify")["ok"]
    assert WORD not in there("events", "r", "--json").stdout
    keyed = str(tmp_path / "keyed.zip")
    assert ", 1 keys" in here("export", "r", "--output", keyed, "--with-keys").stdout
    third = Here(tmp_path / "c" / "log.db")
    third("import", keyed)
    assert WORD in third("events", "r", "--json").stdout
    traces = str(tmp_path / "traces.json")
    here("export", "r", "--otlp", traces)
    assert WORD not in Path(traces).read_text()


def test_a_queue_holds_nothing_in_clear_and_a_worker_without_the_key_leaves_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "in_line.py").write_text(FLOW)
    here = Here(tmp_path / "q" / "log.db")
    target = f"{tmp_path}/in_line.py:pipeline"
    here("submit", target, "--encrypt", "--run-id", "r", "--data", json.dumps([WORD] * 1000))
    assert found(tmp_path / "q") == []
    shared = open_log(here.log)
    try:
        hidden(here.log)
        claims = Claims(shared.store, (), Limits(), Ordering.FIFO)
        assert claims.claim("worker", 9, lambda entry: True, time.time_ns) == []
        here.log.with_name("away").rename(here.log.with_name(f"{here.log.name}.keys"))
        (claimed,) = claims.claim("worker", 9, lambda entry: True, time.time_ns)
        assert claimed.run.run_id == "r"
    finally:
        shared.leave()
    assert found(tmp_path / "q") == []
    assert here.json("audit", "verify")["ok"]


def test_alerts_do_not_carry_out_what_is_encrypted(here: Here) -> None:
    told: list[Alert] = []
    rules = Rules("alerts", (Rule(when="failed", command=("true",)),))
    shared = open_log(here.log)
    try:
        Alerts(shared.store, rules, lambda rule, alert: told.append(alert), 0).turn(2**62)
    finally:
        shared.leave()
    assert [one.run for one in told] == ["r"]
    assert WORD not in str(told)
    assert "ValueError: (encrypted)" in str(told)


@pytest.fixture
def reading(here: Here) -> Iterator[Reading]:
    shared = open_log(here.log)
    yield Reading(shared.store, "here")
    shared.leave()


def test_a_window_that_was_open_shows_nothing_more_of_what_was_erased(
    here: Here, reading: Reading
) -> None:
    def shown() -> str:
        last = reading.past("r").version
        moments = [reading.state("r", version) for version in (None, 3, last)]
        return str([*moments, reading.events("r", 0, 0, 100, ""), reading.row("r")])

    assert WORD in shown()
    here("erase", "r")
    assert WORD not in shown()
    assert reading.state("r", None)["status"] == "erased"


def test_doctor_looks_after_the_keys(here: Here) -> None:
    def keys() -> tuple[str, str]:
        status = 1 if gone else 0
        (check,) = (one for one in here.json("doctor", status=status)["checks"]
                    if one["name"] == "keys")  # fmt: skip
        return check["outcome"], check["found"] + (check.get("advice") or "")

    gone = False
    assert keys()[0] == "ok"
    folder = here.log.with_name(f"{here.log.name}.keys")
    (key,) = (path for path in folder.iterdir() if b'"run":"r"' in path.read_bytes())
    key.chmod(0o644)
    assert keys()[0] == "warn"
    assert "chmod -R go=" in keys()[1]
    key.chmod(0o600)
    content = key.read_bytes()
    here("erase", "r")
    assert keys()[0] == "ok"
    key.write_bytes(content)  # as after a death between the event and the end of the key
    key.chmod(0o600)
    gone = True
    assert keys()[0] == "fail"
    assert "erase it again" in keys()[1]
    here("erase", "r")
    gone = False
    assert keys()[0] == "ok"
