"""The Gantt chart of a run."""

from __future__ import annotations

import re

import pytest
from tools.terminals import on_terminal

from semantica.pipeline.projections.timeline import Attempt
from semantica.pipeline.tools.gantt import TICKS, Bars, Scale, chart, draw, label, span_of
from semantica.pipeline.tools.terminal import columns_of

SECOND = 10**9
RETRIED = """
import time
from semantica.pipeline import PipelineBuilder, RetryPolicy

def work(context):
    time.sleep(0.1)
    if context.attempt < 3:
        raise ConnectionError("not yet")

def last(data):
    raise ValueError("no good")

once_more = RetryPolicy(max_retries=2, initial_delay=0.2)
pipeline = (
    PipelineBuilder("retried")
    .add_step("again", "work", handler=work, retry=once_more)
    .add_step("last", "last", handler=last)
    .add_step("never", "last", handler=last)
)
"""


def at(start: float, end: float, outcome: str = "completed", number: int = 1) -> Attempt:
    return Attempt("a", number, "w", int(start * SECOND), int(end * SECOND), outcome)


def text(bars: Bars, scale: Scale, now: float = 10) -> str:
    return "".join(cell for cell, _ in draw(bars, scale, int(now * SECOND)))


def test_bars_halves_waits_and_grid():
    wide = Scale(0, 10 * SECOND, 40)
    assert text(Bars("a", [at(0, 5)]), wide) == "━" * 20 + "┊" + " " * 19
    scale = Scale(0, 10 * SECOND, 20)
    assert text(Bars("a", [at(0, 5)]), scale) == "━" * 10 + " " * 10
    assert text(Bars("a", [at(0.25, 0.75)]), scale)[:2] == "╺╸"
    assert text(Bars("a", [at(3, 3)]), scale)[6] == "╸"  # however short
    assert text(Bars("a", [at(10, 10)]), scale)[-1] == "╺"
    tried = Bars("a", [at(0, 2, "failed"), at(4, 6, "completed", 2)])
    assert text(tried, scale) == "━━━x┄┄┄┄━━━━" + " " * 8
    assert text(Bars("a", [at(5, 0, "running")]), scale)[10:] == "━" * 10
    waits = Bars("a", [at(0, 2, "timed_out")], waits_until=10 * SECOND)
    assert text(waits, scale) == "━━━x" + "┄" * 16


@pytest.mark.parametrize("seconds", [0.000_01, 0.003, 0.7, 1, 9, 59, 61, 500, 4e3, 9e4, 3e6, 3e8])
@pytest.mark.parametrize("room", [10, 50, 160])
def test_the_ticks_suit_any_span_and_width(seconds, room):
    scale = Scale(0, int(seconds * SECOND), room)
    labels = scale.labels()
    assert scale.tick in TICKS
    assert len(labels) <= room
    assert labels.startswith("0")
    assert len(set(re.split(r"\s{2,}", labels))) == len(re.split(r"\s{2,}", labels))


def test_labels_are_as_exact_as_their_distance():
    assert label(0.05, 0.05) == "0.05 s"
    assert label(1.5, 0.5) == "1.5 s"
    assert label(5, 1) == "5 s"
    assert label(90, 30) == "1 min 30"
    assert label(600, 120) == "10 min"
    assert label(5400, 1800) == "1 h 30"
    assert label(7200, 7200) == "2 h"
    assert label(172800, 86400) == "2 d"


@pytest.mark.parametrize("width", [20, 80, 200])
def test_lines_are_as_wide_as_the_terminal(width):
    rows = [Bars("a" * 70, [at(0, 2)]), Bars("日本", [at(1, 3, "failed")])]
    lines = list(chart(rows, span_of(rows, 3 * SECOND), 3 * SECOND, width))
    assert len(lines) == 3
    if width > 20:
        assert max(map(columns_of, lines)) == columns_of(lines[2]) == width


def test_a_run_with_retries(shell):
    (shell.flows / "retried.py").write_text(RETRIED)
    shell("run", "flows/retried.py:pipeline", status=1)
    told = shell("timeline").stdout.splitlines()
    assert re.match(r"retried  \S+  failed", told[0])
    assert re.search(r"again +━+x┄+╺?━+x┄+╺?━+.* in 3$", told[2])
    assert re.search(r"last .*x  0\.\d+ s failed$", told[3])
    assert told[4] == "1 step has not started"
    assert max(map(len, told)) <= 200

    plain = shell.json("timeline", "retried")
    assert [one["outcome"] for one in plain["attempts"]] == [
        "failed", "failed", "completed", "failed",
    ]  # fmt: skip
    assert all(one["start"] < one["end"] for one in plain["attempts"])
    assert plain["milestones"][-1]["type"] == "PipelineFailed"
    limited = shell("timeline", "--limit", "1").stdout
    assert "last" in limited  # what failed comes first
    assert "and 1 shorter steps" in limited


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal(shell, columns):
    (shell.flows / "retried.py").write_text(RETRIED)
    shell("run", "flows/retried.py:pipeline", status=1)
    status, seen = on_terminal(shell, "timeline", columns=columns)
    assert status == 0
    assert "\x1b[32m" in seen
    assert "\x1b[31m" in seen
    told = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert max(map(len, told.replace("\r", "").splitlines())) <= columns
    assert "\x1b" not in on_terminal(shell, "timeline", NO_COLOR="1")[1]
