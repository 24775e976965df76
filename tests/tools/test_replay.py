"""replay, diff, explain, fork, and the filters of runs and events, as their users start them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from tools.conftest import Shell
from tools.recorded import Here, restored
from tools.terminals import on_terminal

from semantica.pipeline import ExecutionEngine, PipelineBuilder, RetryPolicy
from semantica.pipeline.testing import record_run
from semantica.pipeline.tools.times import time_of

FLOW = """
import time

from semantica.pipeline import PipelineBuilder, RetryPolicy

def number(data=None, value=1):
    return value

def add(data, context):
    if context.attempt < 2:
        raise ConnectionError("no route")
    return sum(data.values())

def build(retries=2):
    retry = RetryPolicy(max_retries=retries, initial_delay=0.01)
    return (
        PipelineBuilder("sums")
        .add_step("one", "n", handler=number, value=1, dependencies=[])
        .add_step("two", "n", handler=lambda data=None, value=2: value, value=2, dependencies=[])
        .add_step("add", "a", handler=add, dependencies=["one", "two"], retry=retry)
    )

pipeline = build()

def once():
    return build(0)

def sleeps(data=None):
    time.sleep(0.2)

slow = PipelineBuilder("slow")
for name in ("one", "two", "three"):
    slow.add_step(name, "s", handler=sleeps)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Iterator[Path]:
    """A log with one run of it."""
    shell = Shell(tmp_path_factory.mktemp("sums"))
    (shell.flows / "sums.py").write_text(FLOW)
    shell("run", "flows/sums.py:pipeline", "--run-id", "first")
    yield shell.log
    shell.end()


@pytest.fixture
def sums(shell, ran: Path):
    (shell.flows / "sums.py").write_text(FLOW)
    shutil.copy(ran, shell.log)
    return shell


def test_another_try_is_linked_compared_and_judged(sums):
    told = sums.json("fork", "first", "--set", "two.value=5", "--run-id", "second")
    assert told["success"]
    here = Here(sums.log)
    first, *_ = here("events", "second", "--json").stdout.splitlines()
    begun = json.loads(first)["payload"]
    assert begun["forked_from"] == "first"
    assert begun["origin"]["target"].endswith("flows/sums.py:pipeline"), "for who recovers it"
    types = [
        json.loads(line)["type"] for line in here("events", "second", "--json").stdout.splitlines()
    ]
    assert types.count("StepReused") == 1, "one is kept; two and add are done again"
    found = here.json("diff", "first", "second", status=1)
    assert (found["same"], found["first"]) == (False, "two")
    shown = here("diff", "first", "second", status=1).stdout
    assert "first divergence: step 'two': configuration value, output" in shown
    same = sums.json("replay", "--against", "flows/sums.py:pipeline")
    assert same["same"] and len(same["runs"]) == 2
    other = sums.json("replay", "first", "--against", "flows/sums.py:once", status=1)
    (verdict,) = other["runs"]
    assert verdict["divergence"]["recorded"] == ["StepRetryScheduled"]
    report = here("audit", "report", "second").stdout
    assert "Taken over from run sums first" in report
    assert "does not have" not in report


def test_a_recording_is_judged_like_a_run(sums):
    here, file = Here(sums.log), sums.folder / "first.jsonl"
    with ExecutionEngine(sums.log) as engine:
        record_run(engine, "first", file)
    told = here.json("replay", str(file))
    assert told["same"] and told["projections"][-1]["what"] == "recording"
    told = sums.json("replay", "first.jsonl", "--against", "flows/sums.py:once", status=1)
    assert told["runs"][0]["divergence"]["recorded"] == ["StepRetryScheduled"]
    text = file.read_text()
    file.write_text(text.replace('"retried": 1', '"retried": 2', 1))
    assert "retried: recorded 2, now 1" in here("replay", str(file), status=1).stdout
    file.write_text(text[:-300])
    assert "is no recording of a run" in here.error("replay", str(file))


def test_a_run_that_goes_on_is_compared_as_it_was_at_one_moment(tmp_path: Path):
    enough = Event()

    def restless(data):
        if not enough.is_set():
            raise ConnectionError("again")

    retry = RetryPolicy(max_retries=10**6, initial_delay=0)
    with ExecutionEngine(tmp_path / "log.db") as engine:
        builder = PipelineBuilder().add_step("c", "t", handler=restless, retry=retry)
        pipeline = builder.build("restless")
        future = engine.execute_pipeline_async(pipeline, run_id="r")
        engine.get_status("r")
        here, lengths = Here(tmp_path / "log.db"), set()
        while len(lengths) < 6:
            told = here.json("replay", "r")
            assert told["same"], told
            lengths.add(told["projections"][0]["told"])
        enough.set()
        assert future.result().success
    assert here.json("replay", "r")["same"]


def test_what_cannot_be_meant_is_an_error(sums):
    for words, told in (
        (("replay", "--to", "99"), "has no version 99"),
        (("replay", "--to", "yesterday"), "is no time such as"),
        (("replay", "--to", "1", "--step"), "exclude one another"),
        (("replay", "firt"), "did you mean"),
        (("replay", "--against", "flows/sums.py:onc"), "no 'onc'; did you mean 'once'"),
        (("diff", "first@0", "first"), "has no version 0"),
        (("diff", "first@2001-01-01", "first"), "had not been submitted by"),
        (("explain", "first", "ad"), "did you mean 'add'"),
        (("fork", "first", "--from", "ad"), "did you mean 'add'"),
        (("fork", "first", "--set", "add.retry=1"), "cannot be set here"),
        (("fork", "first", "--set", "add"), "write it as step.key=value"),
        (("fork", "first", "--run-id", "first"), "there is a run first already"),
        (("runs", "--since", "1y"), "is no time"),
        (("runs", "--error", " "), "leave it out"),
        (("runs", "--archived", "--since", "1h"), "--archived goes with"),
        (("events", "first", "--step", "ad"), "did you mean 'add'"),
        (("timeline", "--output", "x.png"), "must end in .svg or .html"),
        (("timeline", "--output", "no/x.svg"), "cannot write no/x.svg"),
        (("graph", "first", "--steps"), "name a file"),
    ):
        here = Here(sums.log)
        if words[:2] == ("replay", "--against"):
            assert told in sums.error(*words)
        else:
            assert told in here.error(*words), words


def test_what_is_stored_otherwise_is_told(sums):
    connection = sqlite3.connect(sums.log)
    connection.execute("UPDATE directory SET status = 'failed', name = 'x'")
    connection.execute("DROP VIEW failures")
    connection.execute("CREATE VIEW failures AS SELECT 'first' AS run_id, 1 AS version, "
                       "'one' AS step, 'never' AS message")  # fmt: skip
    connection.commit()
    connection.close()
    told = Here(sums.log).json("replay", "first", status=1)
    problems = {one["what"]: one.get("problem") for one in told["projections"]}
    assert "name is 'x', by the events 'sums'" in problems["directory"]
    assert "'failed', by the events 'completed'" in problems["view runs"]
    assert "1: ('one', 'never'), by the events None" in problems["view failures"]
    assert problems["state"] is problems["chain"] is problems["view steps"] is None


def test_an_event_that_is_no_json_is_told_where_it_is(sums):
    here = Here(sums.log)
    connection = sqlite3.connect(sums.log)
    connection.execute("UPDATE events SET payload = '{' WHERE version = 7")
    connection.commit()
    connection.close()
    told = here.json("replay", "first", status=1)
    problems = {one["what"]: one.get("problem") for one in told["projections"]}
    assert "the digest of version 7 does not match" in problems["chain"]
    assert "event 7 of run/first (StepStarted) cannot be read" in problems["state"]
    for words in (("explain",), ("diff", "first", "first"), ("replay", "--to", "9"),
                  ("audit", "report"), ("timeline", "--output", "x.svg")):  # fmt: skip
        assert "event 7 of run/first (StepStarted) cannot be read" in here.error(*words)
    assert "run/first version 7" in here.error("audit", "anchor")


def test_runs_by_time_error_and_order(tmp_path: Path):
    with ExecutionEngine(tmp_path / "log.db", retry_on_failure=False) as engine:
        for name, handler in (("b", lambda data: 1), ("a", lambda data: [].pop())):
            pipeline = PipelineBuilder().add_step("s", "t", handler=handler).build(name)
            engine.execute_pipeline(pipeline, run_id=name)
    here = Here(tmp_path / "log.db")

    def names(*words: str) -> list[str]:
        return [row["name"] for row in here.json("runs", *words)]

    assert names() == names("--since", "1h") == names("--sort", "changed") == ["a", "b"]
    assert names("--since", "1h", "--limit", "1") == ["a"]
    assert names("--until", "1h") == names("--since", "2100-01-01T00:00Z") == []
    assert names("--error", "POP FROM EMPTY") == names("--error", "IndexError") == ["a"]
    assert names("--sort", "status") == ["b", "a"]
    assert names("--sort", "name") == ["a", "b"]
    assert "nobody" not in here("explain", "a").stdout


def test_followed_events_come_until_the_run_ends(shell):
    (shell.flows / "sums.py").write_text(FLOW)
    process = shell.start("run", "flows/sums.py:slow", "--run-id", "long")
    here, deadline = Here(shell.log), time.monotonic() + 30
    while not shell.log.exists() or not here.json("runs"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    told = here("events", "long", "--follow", "--type", "StepCompleted").stdout.splitlines()
    assert [line.split()[4] for line in told] == ["one", "two", "three"]
    process.wait(timeout=30)


def test_times_are_read_as_people_write_them():
    assert time_of("2026-07-01T12:00:00.25+02:00") == 1782900000250000000
    assert time_of("2026-07-01 12:30") - time_of("2026-07-01") == (12 * 60 + 30) * 60 * 10**9
    assert time_of("23:59:59.5") - time_of("0:00") == (86400 * 10 - 5) * 10**8
    assert abs(time_of("1h") - time_of("90m") - 1800 * 10**9) < 10**9


SHOWN = re.compile(r"^ {9}[a-z_]+: [0-9]+ [a-z]|version \[[0-9]+\]: |^the end:", re.MULTILINE)
"""What ends each picture of a walk."""


def test_walking_by_keys(shell):
    restored("completed", shell.log).close()
    keys, answered = ["\r", "b", "g", "20\r", "e", "q"], 0

    def answer(read: str) -> str:
        """The next key, once the picture for the one before is there."""
        nonlocal answered
        if len(SHOWN.findall(read)) <= answered or answered == len(keys):
            return ""
        answered += 1
        return keys[answered - 1]

    status, seen = on_terminal(
        shell, "replay", "r", "--step", columns=150, answer=answer, NO_COLOR="1"
    )
    assert status == 0
    versions = [int(one) for one in re.findall(r"^ +([0-9]+)  1970-", seen, re.MULTILINE)]
    assert versions == [1, 2, 1, 20, 21, 22, 23, 24, 25]
