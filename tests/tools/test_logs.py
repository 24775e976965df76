"""``logs``: what handlers have said, on the command line; and the last of it in ``explain``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from tools.recorded import Here

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineBuilder, RetryPolicy
from semantica.pipeline.tools.cli import cli


def load(data: Any, context: Context) -> None:
    context.log.info("opened \x1b[31m", table="users", of="two words", n=1.5)
    context.log.warning("slow", attempt_of=[context.attempt])
    try:
        raise KeyError("k")
    except KeyError:
        context.log.exception("lost")
    raise ConnectionError("no route")


def each(data: Any, context: Context) -> None:
    context.map(lambda i: context.log.info("resized"), [1], key=str, name="images")


def nightly() -> Pipeline:
    retry = RetryPolicy(max_retries=1, initial_delay=0.01)
    builder = PipelineBuilder().add_step("each", "t", handler=each)
    return builder.add_step("load", "t", handler=load, retry=retry).build("nightly")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    log = Path(tmp_path_factory.mktemp("logs")) / "log.db"
    with ExecutionEngine(log, durability="off") as engine:
        engine.execute_pipeline(nightly(), run_id="r")
    yield Here(log)


def test_lines_as_people_read_them(here: Here) -> None:
    said = here("logs").stdout.splitlines()
    again = next(i for i, line in enumerate(said) if "load (2)" in line)
    resized, opened, slow, lost, *trace = said[:again]
    assert resized[25:] == "info      each            resized  item=images/1"
    assert opened[25:] == (
        'info      load            opened \\x1b[31m  table=users  of="two words"  n=1.5'
    )
    assert slow[25:] == "warning   load            slow  attempt_of=[1]"
    assert lost[25:] == "error     load            lost"
    assert (trace[0], trace[-1]) == ("    exception:", "      KeyError: 'k'")
    assert "load (2)        slow  attempt_of=[2]" in "\n".join(said)
    assert here("logs", "--limit", "1").stdout.splitlines()[0][25:] == (
        "error     load (2)        lost"
    )


def test_lines_are_chosen(here: Here) -> None:
    def events(*words: str) -> list[str]:
        return [one["event"] for one in here.json("logs", *words)]

    assert events("nightly", "--level", "WARNING") == ["slow", "lost"] * 2
    assert events("r", "--step", "load", "--limit", "3") == ["opened \x1b[31m", "slow", "lost"]
    assert here.json("logs", "--step", "each") == {
        **here.json("logs", "--step", "each"),
        "run": "r", "step": "each", "attempt": 1, "item": "images/1", "level": "info",
        "event": "resized", "fields": {},
    }  # fmt: skip
    assert events("r", "--follow") == events("r"), "it is over, so this ends"
    assert here("logs", "--level", "critical").stdout == (
        "nothing of that kind was said in run r (nightly)\n"
    )
    assert here("logs", "--level", "critical", "--json").stdout == ""


def test_what_cannot_be_asked(here: Here) -> None:
    assert "no step 'laod'; did you mean 'load'?" in here.error("logs", "r", "--step", "laod")
    assert "'loud' is not one of 'debug', 'info'" in here.error("logs", "--level", "loud")
    assert "no run with the id or name 'x'" in here.error("logs", "x")


def test_a_shell_completes_steps_and_levels(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = ShellComplete(cli, {}, "semantica-pipeline", "_X")

    def offered(*words: str) -> list[str]:
        typed = ["logs", "--log", str(here.log), *words]
        return [one.value for one in shell.get_completions(typed, "")]

    assert offered("r", "--step") == ["each", "load"]
    assert offered("r", "--level") == ["debug", "info", "warning", "error", "critical"]


def test_lines_are_followed_until_the_run_is_over(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def talks(data: Any, context: Context) -> None:
        context.log.info("first")
        begun.set()
        assert go_on.wait(60)
        context.log.info("last")

    pipeline = PipelineBuilder().add_step("s", "t", handler=talks).build("p")
    with ExecutionEngine(tmp_path / "log.db") as engine:
        future = engine.execute_pipeline_async(pipeline, run_id="r")
        assert begun.wait(60)
        threading.Timer(0.4, go_on.set).start()
        told = Here(tmp_path / "log.db").json("logs", "r", "--follow")
        future.result(60).raise_for_status()
    assert [one["event"] for one in told] == ["first", "last"]


def test_explain_tells_what_a_failed_attempt_said_last(here: Here) -> None:
    told = here("explain", "r", "load").stdout
    before, _, said = told.partition("  and its last attempt said:\n")
    assert "attempt 2 failed" in before.splitlines()[-1]
    assert [line[28:36].strip() for line in said.splitlines()[:3]] == ["info", "warning", "error"]
    assert "(2)" in said and "KeyError: 'k'" in said
    (story,) = here.json("explain", "r", "load")["steps"]
    assert [one["attempt"] for one in story["log"]] == [2, 2, 2]
    assert "and its last attempt said" not in here("explain", "r", "each").stdout
