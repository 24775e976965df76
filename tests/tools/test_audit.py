"""audit anchor, verify and report: what they prove, and what nobody can slip into them."""

from __future__ import annotations

import json
import sqlite3
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import of_run
from tools.recorded import Here

from semantica.pipeline import ExecutionEngine, PipelineBuilder
from semantica.pipeline.tools.audit.document import (
    Code,
    Facts,
    Heading,
    Table,
    as_html,
    as_markdown,
)
from semantica.pipeline.tools.drawing.graph import graph_svg
from semantica.pipeline.tools.drawing.layout import layered
from semantica.pipeline.tools.mermaid import Drawing, Node

EVIL = '</title><script>alert("1")</script><img src=x onerror=alert(1)>&\u202e`|*_'
"""A name."""
WORSE = EVIL + "\x1b[31m\n| x |"
"""A text of any other kind."""


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """Two runs with names, errors and configuration that would be markup."""

    def fails(data, **_):
        raise ValueError(WORSE)

    with ExecutionEngine(tmp_path / "log.db", retry_on_failure=False) as engine:
        fine = PipelineBuilder().add_step(
            EVIL, EVIL, handler=lambda data, **_: "x" * 5000, key=WORSE
        )
        engine.execute_pipeline(fine.build(EVIL), WORSE, run_id="fine")
        bad = PipelineBuilder().add_step("bad", "t", handler=fails)
        engine.execute_pipeline(bad.build("bad"), run_id="bad")
    return Here(tmp_path / "log.db")


def change(here: Here, *statements: str) -> None:
    connection = sqlite3.connect(here.log)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_cut_tail_and_a_removed_run_are_found_by_the_anchor_alone(here: Here, tmp_path: Path):
    key, anchor = tmp_path / "key", tmp_path / "anchor.json"
    key.write_text("a key of some length\n")
    key.chmod(0o600)
    told = here("audit", "anchor", "--output", str(anchor), "--key-file", str(key))
    assert "heads of 2 streams" in told.stdout and "signed" in told.stdout
    words = ("audit", "verify", "--anchor", str(anchor), "--key-file", str(key))
    assert here.json(*words)["anchored"] == 2
    last = len(here("events", "bad").stdout.splitlines())
    change(
        here,
        f"DELETE FROM events WHERE {of_run('bad')} AND version >= {last - 1}",
        "UPDATE directory SET status = 'running', changed_at = submitted_at WHERE run_id = 'bad'",
        f"DELETE FROM events WHERE {of_run('fine')}",
        "DELETE FROM directory WHERE run_id = 'fine'",
    )
    assert here.json("audit", "verify")["ok"], "whole in itself"
    found = here.json(*words, status=1)
    places = {(one["stream"], one.get("version")) for one in found["listed"]}
    assert places == {("run/bad", last - 1), ("run/fine", None)}
    (one,) = here.json(*words, "bad", status=1)["listed"]
    assert "its newest 2 events are cut off" in one["problem"]
    report = here("audit", "report", "bad", "--anchor", str(anchor), status=1).stdout
    assert "1 fault in" in report and "cut off" in report


def test_an_anchor_of_somebody_else_is_a_fault(here: Here, tmp_path: Path, monkeypatch):
    anchor = tmp_path / "anchor.json"
    monkeypatch.setenv("SEMANTICA_AUDIT_KEY", "a key of some length")
    here("audit", "anchor", "--output", str(anchor))
    assert here.json("audit", "verify", "--anchor", str(anchor))["ok"]
    plain = json.loads(anchor.read_text())
    plain["heads"]["run/fine"][0] -= 1
    anchor.write_text(json.dumps(plain))
    told = here("audit", "verify", "--anchor", str(anchor), status=1).stdout
    assert "was not signed with this key, or was changed afterwards" in told
    monkeypatch.delenv("SEMANTICA_AUDIT_KEY")
    unsigned = json.loads(here("audit", "anchor").stdout)
    assert "mac" not in unsigned
    plain["heads"] = unsigned["heads"]
    anchor.write_text(json.dumps(plain))
    done = here("audit", "verify", "--anchor", str(anchor))
    assert "warning: a signature was not checked" in done.stderr


def test_what_is_no_anchor_or_key_is_an_error(here: Here, tmp_path: Path):
    (tmp_path / "short").write_text("short")
    (tmp_path / "short").chmod(0o600)
    (tmp_path / "not.json").write_text('{"format": "x"}')
    here("audit", "anchor", "--output", str(tmp_path / "a.json"))
    for words, told in (
        (("verify", "--anchor", str(tmp_path / "none.json")), "cannot read"),
        (("verify", "--anchor", str(tmp_path / "not.json")), "is no anchor"),
        (("verify", "--anchor", str(here.log)), "is no anchor"),
        (("anchor", "--key-file", str(tmp_path / "short")), "it must have 16 at least"),
        (("anchor", "--key-file", str(tmp_path)), "cannot read"),
        (("anchor", "--output", str(tmp_path / "a.json")), "exists"),
        (("report", "--output", "report.pdf"), "must end in .html or .md"),
        (("report", "fene"), "did you mean 'fine'"),
    ):
        assert told in here.error("audit", *words), words
    change(here, f"UPDATE events SET actor = 'eve' WHERE {of_run('fine')} AND version = 2")
    assert "which nobody should vouch for: run/fine version 2" in here.error("audit", "anchor")


class Elements(HTMLParser):
    """The elements of a page, and the attributes that could do something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_in_a_report_is_markup(here: Here, tmp_path: Path):
    page = tmp_path / "r.html"
    for run in ("fine", "bad"):
        here("audit", "report", run, "--output", str(page))
        text = page.read_text()
        seen = Elements(text)
        assert not seen.tags & {"script", "img", "link", "iframe"}, seen.tags
        assert not {name for name in seen.attributes if name.startswith("on") or name == "src"}
        assert "\x1b" not in text and "\u202e" not in text
        assert "alert(&quot;1&quot;)" in text, "it is told, as text"
        assert "default-src 'none'" in text
        plain = here("audit", "report", run).stdout
        assert "<script" not in plain and "<img" not in plain and "\x1b" not in plain
    for words in (("timeline", "fine"), ("graph", "fine", "--steps")):
        here(*words, "--output", str(tmp_path / "x.svg"))
        drawn = ElementTree.parse(tmp_path / "x.svg")
        assert not [one for one in drawn.iter() if one.tag.endswith(("script", "img", "image"))]
        here(*words, "--output", str(page))
        assert not Elements(page.read_text()).tags & {"script", "img"}


@settings(max_examples=50)
@given(st.text(), st.text())
def test_no_text_is_markup(text: str, other: str):
    blocks = [
        Heading(2, text),
        Facts([(text, Code(other))]),
        Table([text], [[Code("", text)], [other]]),
    ]
    seen = Elements(as_html(text, blocks))
    assert seen.tags <= {"html", "head", "meta", "title", "style", "body", "h2", "dl", "dt", "dd",
                         "code", "div", "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
    lines = as_markdown(blocks).splitlines()
    assert len(lines) == 9, "no text breaks a line"
    for row in lines[4:8]:
        assert row.startswith("|") and row.endswith("|") and row.count("|") == 2


names = st.lists(st.text(max_size=4), min_size=1, max_size=12, unique=True)


@settings(max_examples=50)
@given(st.data())
def test_boxes_stand_apart_and_after_what_they_follow(data: st.DataObject):
    known = data.draw(names)
    some = st.sampled_from(range(len(known)))
    pairs = data.draw(st.lists(st.tuples(some, some), max_size=25))
    forward = [(known[min(a, b)], known[max(a, b)]) for a, b in pairs if a != b]
    found = layered(known, forward)
    assert list(found.places) == known
    for a, b in forward:
        assert found.places[a][0] < found.places[b][0]
    rows: dict[float, list[float]] = {}
    for layer, row in found.places.values():
        rows.setdefault(layer, []).append(row)
    for places in rows.values():
        places.sort()
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(places))
    assert min(row for _, row in found.places.values()) >= 0
    ends = [(bends[0], bends[-1]) for bends in found.edges]
    assert ends == [(found.places[a], found.places[b]) for a, b in dict.fromkeys(forward)]
    around = layered(known, [*forward, *((b, a) for a, b in forward)])  # with cycles
    assert set(around.places) == set(known)
    drawn = graph_svg(Drawing("d", [Node(name, name) for name in known], forward))
    boxes = [one for one in ElementTree.fromstring(drawn).iter() if one.tag.endswith("rect")]
    assert len(boxes) == len(known)
