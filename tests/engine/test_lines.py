"""``context.log``: what handlers say is kept with their run, and never at their expense."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from making import MakeEngine

from semantica.pipeline import (
    ConfigurationError,
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    RunNotFound,
)
from semantica.pipeline.config import PipelineConfig
from semantica.pipeline.engine import lines as buffered
from semantica.pipeline.engine.clock import SystemClock
from semantica.pipeline.engine.saying import (
    LONGEST_LINE,
    LONGEST_TEXT,
    Said,
    about,
    kept,
    speaker,
)
from semantica.pipeline.engine.secrecy import Secrets
from semantica.pipeline.events.errors import LogUnavailable
from semantica.pipeline.events.memory import MemoryStore

PATIENT = 60.0


def one(handler: Callable[..., Any], **options: Any) -> Pipeline:
    return Pipeline("p", [PipelineStep("s", "t", handler=handler, **options)])


def told(engine: ExecutionEngine, run_id: str, **wanted: Any) -> list[tuple[str, str]]:
    return [(line.level, line.event) for line in engine.lines(run_id, **wanted)]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.005)


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def talk(data: Any, context: Context) -> Any:
    context.log.debug("too detailed")
    context.log.info("begun %s", data, n=1, nested={"a": [1, (2.5, None)]}, odd=Odd())
    bound = context.log.bind(table="users")
    context.map(lambda item: bound.warning("slow", row=item), ["x"], key=str, name="rows")
    try:
        raise LookupError("nothing there")
    except LookupError:
        bound.exception("lost")
    return data


async def talk_later(data: Any, context: Context) -> Any:
    await context.log.ainfo("within a loop")
    return talk(data, context)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("handler", [talk, talk_later])
def test_what_is_said_is_there_when_the_run_is_over(
    make_engine: MakeEngine, handler: Callable[..., Any], executor: str
) -> None:
    engine, began = make_engine(), time.time_ns()
    result = engine.execute_pipeline(one(handler, executor=executor), "it", run_id="r")
    result.raise_for_status()
    *first, begun, slow, lost = engine.lines("r")
    assert [line.event for line in first] == ["within a loop"] * (handler is talk_later)
    assert (begun.step, begun.attempt, begun.level, begun.event) == ("s", 1, "info", "begun it")
    odd = "<Odd, which cannot be shown: RuntimeError>"
    assert begun.fields == {"n": 1, "nested": {"a": [1, [2.5, None]]}, "odd": odd}
    assert began <= begun.at <= slow.at <= lost.at <= time.time_ns()
    assert (begun.item, slow.item, lost.item) == (None, "rows/x", None)
    assert slow.fields == {"table": "users", "row": "x"}
    trace = lost.fields.pop("exception")
    assert trace.startswith("Traceback") and trace.endswith("LookupError: nothing there")


def test_lines_are_chosen(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.execute_pipeline(one(talk), "it", run_id="r").raise_for_status()
    assert told(engine, "p", level="warning") == [("warning", "slow"), ("error", "lost")]
    assert told(engine, "r", limit=1) == [("error", "lost")]
    assert told(engine, "r", step="other") == []
    with pytest.raises(ValueError, match=r"level must be one of debug, info, .* not 'loud'"):
        engine.lines("r", level="loud")
    with pytest.raises(ValueError, match="limit must be a whole number from 1"):
        engine.lines("r", limit=0)
    with pytest.raises(RunNotFound):
        engine.lines("never")


@pytest.mark.parametrize(
    ("level", "said"),
    [("debug", ["too detailed", "begun it", "slow", "lost"]), ("ERROR", ["lost"]), ("off", [])],
)
def test_how_severe_a_line_must_be(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, level: str, said: list[str]
) -> None:
    monkeypatch.setenv("PIPELINE_LOG_LEVEL", level)
    engine = make_engine(config=PipelineConfig())
    engine.execute_pipeline(one(talk), "it", run_id="r").raise_for_status()
    assert [line.event for line in engine.lines("r")] == said


def test_a_level_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match=r"log_level: .*, not 'loud'"):
        PipelineConfig(log_level="loud")


def test_the_application_decides_what_it_shows_but_not_what_is_kept(
    make_engine: MakeEngine,
) -> None:
    """Its processors get the exception itself, as from any logger of structlog."""
    shown: list[Any] = []

    def show(_: Any, level: str, values: Any) -> Any:
        shown.append((level, values))
        raise structlog.DropEvent

    structlog.configure(
        processors=[show], wrapper_class=structlog.make_filtering_bound_logger("error")
    )
    try:
        engine = make_engine()
        engine.execute_pipeline(one(talk), "it", run_id="r").raise_for_status()
    finally:
        structlog.reset_defaults()
    assert [line.event for line in engine.lines("r")] == ["begun it", "slow", "lost"]
    ((level, values),) = shown
    assert level == "error"
    assert isinstance(values.pop("exc_info"), LookupError)
    assert values == {"event": "lost", "run": "r", "step": "s", "attempt": 1, "table": "users"}


def test_a_line_is_there_while_its_step_goes_on(make_engine: MakeEngine) -> None:
    go_on = threading.Event()

    def waits(data: Any, context: Context) -> None:
        context.log.info("waiting")
        assert go_on.wait(PATIENT)

    engine = make_engine()
    future = engine.execute_pipeline_async(one(waits), run_id="r")
    try:
        wait_for(lambda: bool(engine.lines("r")))
        assert not future.done()
    finally:
        go_on.set()
    future.result(PATIENT).raise_for_status()
    assert told(engine, "r") == [("info", "waiting")], "written once"


def test_failed_attempts_and_abandoned_ones_are_heard(make_engine: MakeEngine) -> None:
    go_on, gone_on = threading.Event(), threading.Event()

    def late(data: Any, context: Context) -> None:
        context.log.info("begun")
        assert go_on.wait(PATIENT)
        context.log.info("still here")
        gone_on.set()

    engine = make_engine(default_max_retries=0)
    result = engine.execute_pipeline(one(late, timeout=0.05), run_id="r")
    assert not result.success
    assert told(engine, "r") == [("info", "begun")]
    go_on.set()
    assert gone_on.wait(PATIENT)
    engine.close()  # what waits is written when the log is closed
    assert told(make_engine(), "r") == [("info", "begun"), ("info", "still here")]


def test_who_says_too_much_is_told_how_much_was_dropped(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffered, "BURST", 20)

    def chatter(data: Any, context: Context) -> int:
        threads = [
            threading.Thread(target=lambda: [context.log.info(str(n)) for n in range(25)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1

    engine = make_engine()
    assert engine.execute_pipeline(one(chatter), run_id="r").output == 1
    *said, last = engine.lines("r")
    assert len(said) == 20
    assert (last.level, last.event, last.fields) == (
        "warning", "80 lines were dropped", {"dropped": 80},
    )  # fmt: skip


def test_a_log_that_cannot_be_written_costs_lines_and_no_step(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buffer is full before the log can be used again."""
    monkeypatch.setattr(buffered, "MOST_WAITING", 10)
    full = threading.Event()

    class Failing(MemoryStore):
        def append(self, batches: Any, **more: Any) -> Any:
            if more.get("lines") and not full.is_set():
                raise LogUnavailable("the disk is full", transient=True)
            return super().append(batches, **more)

    def goes_on(data: Any, context: Context) -> int:
        for n in range(5000):
            context.log.info(str(n))
        full.set()
        return 1

    with ExecutionEngine(Failing()) as engine:
        assert engine.execute_pipeline(one(goes_on), run_id="r").output == 1
        *said, last = engine.lines("r")
        assert 10 <= len(said) <= 30
        assert len(said) + last.fields["dropped"] == 5000


def test_an_answer_that_was_lost_doubles_no_line() -> None:
    lost = list[int]()

    class Forgetful(MemoryStore):
        def append(self, batches: Any, **more: Any) -> Any:
            answers = super().append(batches, **more)
            if more.get("lines") and len(lost) < 2:
                lost.append(len(batches))
                raise LogUnavailable("the answer was lost", transient=True)
            return answers

    with ExecutionEngine(Forgetful()) as engine:
        result = engine.execute_pipeline(one(talk), "it", run_id="r")
        assert result.output == "it"
        assert [line.event for line in engine.lines("r")] == ["begun it", "slow", "lost"]
    assert lost, "it has happened"


class Broken(dict):  # type: ignore[type-arg]
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
    | st.binary(max_size=10)
    | st.datetimes()
    | st.builds(Broken)
    | st.integers(4000, 40_000).map(lambda n: "\0" * n)
    | st.builds(lambda: 10**5000)
    | st.builds(lambda: {n: [n] * 50 for n in range(3000)}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(st.characters(codec=None, exclude_categories=())), ANY), ANY)
def test_whatever_is_said_becomes_json_in_its_bounds(values: dict[str, Any], event: Any) -> None:
    made = kept({"event": event, **values} if "event" not in values else values)
    text = msgspec.json.encode(made)
    assert len(text) <= LONGEST_LINE + 100
    assert msgspec.json.decode(text) == made
    assert isinstance(made["event"], str) and len(made["event"]) <= LONGEST_TEXT + 60
    if "left_out" not in values:
        assert made.get("left_out", 0) <= len(values) - len(made) + 2


def test_a_line_can_be_written_whatever_its_item_is_called() -> None:
    said: list[Said] = []
    logger = speaker(Secrets(), SystemClock(), said.append)
    with about("\udcff" + "x" * 9000):
        logger.info("one")
    logger.info("two")
    assert said[0].item is not None and said[0].item.startswith("\\udcffx")
    assert len(said[0].item) < LONGEST_TEXT + 60
    assert said[1].item is None


def test_both_ends_of_a_long_text_are_kept() -> None:
    made = kept({"event": "x", "trace": "begin" + "." * 9000 + "end", "many": list(range(5000))})
    assert made["trace"].startswith("begin..") and made["trace"].endswith("..end")
    assert f" ... {9008 - LONGEST_TEXT:,} characters left out ... " in made["trace"]
    assert made["many"][:2] == [0, 1] and made["many"][-1].endswith("more")
    huge = kept({"event": "x", **{f"k{n}": "y" * 4000 for n in range(20)}})
    assert huge["left_out"] == 20 - (len(huge) - 2) and len(huge) > 5
