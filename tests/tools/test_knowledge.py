"""``knowledge``, and ``graph --output``, as their users start them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

CURIE = """# Marie Curie

Marie Curie was born in Warsaw. In 1909 she founded the Radium Institute in Paris.
"""
NANSEN = "Fridtjof Nansen was born in Christiania. He married Eva Sars. \x1b[31mRed."


@pytest.fixture
def known(shell: Any) -> Any:
    """A shell in a folder with two lives, and a run that has read them."""
    lives = shell.folder / "lives"
    lives.mkdir()
    (lives / "curie.md").write_text(CURIE)
    (lives / "nansen.txt").write_text(NANSEN)
    told = shell("run", "kg_construction", "--name", "lives", "--set", "ingest.source=lives").stdout
    assert "graph_nodes" in told
    shell("run", "flows/flows.py:sums")  # a newer run, which has none
    return shell


def test_the_newest_graph_is_summed_up_and_asked(known: Any) -> None:
    told = known("knowledge").stdout
    assert told.startswith("lives  ")
    assert "8 entities, 6 relations, from 2 documents" in told
    assert "Marie Curie -> Radium Institute" in told
    assert "\x1b" not in told
    founders = "SELECT ?who ?what { [rdfs:label ?who] rel:founded [rdfs:label ?what] }"
    assert known.json("knowledge", "lives", "--query", founders) == [
        {"who": "Marie Curie", "what": "Radium Institute"}
    ]
    assert "Marie Curie  Radium Institute" in known("knowledge", "--query", founders).stdout
    assert known("knowledge", "--query", "ASK { ?a rel:acquired ?b }").stdout == "no\n"
    whole = known.json("knowledge")
    names = {node["id"]: node["name"] for node in whole["nodes"]}
    said = {(names[e["subject"]], e["predicate"], names[e["object"]]) for e in whole["edges"]}
    assert said == {
        ("Marie Curie", "born_in", "Warsaw"),
        ("Marie Curie", "founded", "Radium Institute"),
        ("Radium Institute", "founded_on", "1909"),
        ("Radium Institute", "located_in", "Paris"),
        ("Fridtjof Nansen", "born_in", "Christiania"),
        ("Fridtjof Nansen", "married_to", "Eva Sars"),
    }


def test_it_is_drawn_by_either_command(known: Any) -> None:
    for words in (("knowledge", "lives"), ("graph", "lives")):
        file = known.folder / f"{words[0]}.svg"
        assert "entities" in known(*words, "--output", file.name).stdout
        drawn = {"".join(one.itertext()) for one in ElementTree.parse(file).iter()}
        assert {"Marie Curie", "Radium Institute", "born in"} <= drawn
        assert "Eva Sars" in drawn
    assert (known.folder / "graph.svg").read_bytes() == (
        known.folder / "knowledge.svg"
    ).read_bytes()
    known("graph", "lives", "--output", "lives.html")
    page = Path(known.folder / "lives.html").read_text()
    assert "curie.md" in page
    told = known.json("knowledge", "--output", "few.svg", "--limit", "2")
    assert told["file"] == "few.svg"
    assert (known.folder / "few.svg").read_text().count('class="node ') == 2
    assert known("graph", "lives").stdout.startswith("flowchart"), "still the steps"
    assert json.loads(known("graph", "lives", "--json").stdout)["name"] == "lives"


def test_what_cannot_be_shown_is_one_line(known: Any) -> None:
    for said, *words in (
        (".graphml, .ttl, .svg, .html", "knowledge", "--output", "graph.png"),
        ("--limit is for a picture", "knowledge", "--output", "graph.ttl", "--limit", "5"),
        ("the SPARQL query fails", "knowledge", "--query", "SELECT"),
        ("did you mean 'build_graph'", "knowledge", "lives", "--step", "build_grap"),
        ("its step 'ingest' has not", "knowledge", "lives", "--step", "ingest"),
        ("no step of it has built one", "knowledge", "sums"),
        ("no/such/graph.svg: No such file", "graph", "lives", "--output", "no/such/graph.svg"),
        ("only a run of it has", "graph", "flows/flows.py:sums", "--output", "a.svg"),
        ("--steps draws its steps", "graph", "sums", "--output", "a.svg"),
        ("other.db", "knowledge", "--log", "other.db"),
    ):
        assert said in known.error(*words)
