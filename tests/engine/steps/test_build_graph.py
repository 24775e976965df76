"""The steps ``build_kg`` and ``build_graph``, and the graph that they give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pyoxigraph
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import MakeEngine
from telling import EDGES, HOSTILE, SAID, TEXTS, tell

from semantica.pipeline import KnowledgeGraph, PipelineBuilder, step
from semantica.pipeline.engine.steps.corpus import Corpus
from semantica.pipeline.engine.steps.errors import MissingExtra, StepConfigError
from semantica.pipeline.engine.steps.knowledge.build import build_graph
from semantica.pipeline.engine.steps.knowledge.deduplicate import merge_entities
from semantica.pipeline.engine.steps.knowledge.rdf import QueryError
from semantica.pipeline.events.artifacts import FileArtifacts, MemoryArtifacts
from semantica.pipeline.events.codec import decode, encode
from semantica.pipeline.events.errors import LogCorrupt

FOUNDERS = """SELECT ?who ?what WHERE { ?w rel:founded ?o . ?w rdfs:label ?who .
              ?o rdfs:label ?what } ORDER BY ?who"""


def build(corpus: Any, context: Any, **options: Any) -> KnowledgeGraph:
    given = {"merge_entities": True, "resolve_conflicts": True, "strategy": "most_frequent"}
    return build_graph(corpus, context, **given | {"output": None, "formats": None} | options)


@pytest.fixture
def told(context: Any) -> Corpus:
    return tell(context.artifacts, TEXTS, SAID)


def edges_of(graph: KnowledgeGraph) -> set[tuple[str, str, str, int]]:
    names = {node.id: node.name for node in graph.nodes}
    return {(names[e.subject], e.predicate, names[e.object], e.statements) for e in graph.edges}


def test_mentions_that_mean_the_same_are_a_node_and_what_is_said_of_them_edges(
    told: Corpus, context: Any
) -> None:
    graph = build(told, context)
    nodes = {node.name: node for node in graph.nodes}
    assert set(nodes) == {
        "Marie Curie", "Radium Institute", "Paris", "Warsaw", "Kraków", "Lyon",
    }  # fmt: skip
    marie = nodes["Marie Curie"]
    assert (marie.type, marie.aliases, marie.mentions, marie.documents) == (
        "PERSON", ("Curie",), 4, 3,
    )  # fmt: skip
    assert nodes["Radium Institute"].aliases == (), "a line's end is no other name"
    assert edges_of(graph) == EDGES
    (founded,) = [edge for edge in graph.edges if edge.predicate == "founded"]
    assert (founded.confidence, founded.documents) == (0.6, 2)
    assert context.metrics["graph_nodes"] == len(graph.nodes) == graph.counts["nodes"]
    assert context.metrics["graph_edges"] == len(graph.edges) == graph.counts["edges"]
    assert context.metrics["relations_left_out"] == 2


def test_everything_says_where_it_is_from(told: Corpus, context: Any) -> None:
    graph = build(told, context)
    texts = {one.id: one.text or "" for one in graph.corpus.documents}
    names = {node.id: {node.name, *node.aliases} for node in graph.nodes}
    for node, entity in graph.mentions():
        there = texts[entity.document][entity.start : entity.end]
        assert " ".join(there.split()) in names[node]
    spans = {texts[s.relation.document][s.start : s.end] for s in graph.statements()}
    assert "Curie founded the Radium\nInstitute" in spans
    assert "Radium Institute in Paris was founded by Marie Curie" in spans


def test_what_earlier_steps_have_decided_holds(told: Corpus, context: Any) -> None:
    apart = build(told, context, merge_entities=False)
    assert len(apart.nodes) == len(told.entities), "as nobody has merged them"
    strict = build(merge_entities(told, context, 100.0), context, resolve_conflicts=False)
    assert ("Marie Curie", "born_in", "Kraków", 1) in edges_of(strict)
    settled = build(told, context)
    again = build(settled.corpus, context, resolve_conflicts=False)
    assert edges_of(again) == EDGES
    assert again == build(settled.corpus, context, strategy="most_recent")


def test_inputs_that_meet_again_count_once(told: Corpus, context: Any) -> None:
    assert build({"extract": told, "embed": told}, context) == build(told, context)


def test_what_the_codec_gives_back_is_the_same_graph(
    told: Corpus, context: Any, tmp_path: Path
) -> None:
    graph = build(told, context)
    elsewhere = FileArtifacts(tmp_path / "artifacts", sync=False)
    value = encode(graph, elsewhere, allow_pickle=False)
    assert value.size < 4096, "a list of digests"
    back = decode(value, elsewhere, allow_pickle=False)
    assert back.counts == graph.counts
    assert (back.nodes, back.edges) == (graph.nodes, graph.edges)
    assert back.query(FOUNDERS) == [{"who": "Marie Curie", "what": "Radium Institute"}]
    assert decode(encode(graph, context.artifacts), context.artifacts) == graph


def test_sparql_answers_with_values_of_python(told: Corpus, context: Any) -> None:
    graph = build(told, context)
    assert graph.query(FOUNDERS) == [{"who": "Marie Curie", "what": "Radium Institute"}]
    (row,) = graph.query("""SELECT ?start ?sure ?source ?none WHERE {
        ?m kg:text "Lyon" ; kg:start ?start ; kg:confidence ?sure ; prov:wasDerivedFrom ?d .
        ?d kg:source ?source . OPTIONAL { ?m rel:no ?none } }""")  # type: ignore[misc]
    start = TEXTS[2].replace("[", "").replace("|PERSON]", "").replace("|PLACE]", "").index("Lyon")
    assert row == {"start": start, "sure": 0.9, "source": "/texts/2.txt", "none": None}
    assert graph.query('ASK { ?x a type:PERSON ; skos:altLabel "Curie" }') is True
    assert graph.query("ASK { ?x rel:same_as ?y }") is False
    turtle = graph.query("CONSTRUCT { ?a rel:knows ?b } WHERE { ?a rel:founded ?b }")
    assert isinstance(turtle, str)
    assert "rel:knows entity:" in turtle
    for wrong in ("SELECT", "DELETE WHERE { ?a ?b ?c }", "SELECT ?x { ?x nowhere:a ?y }"):
        with pytest.raises(QueryError):
            graph.query(wrong)


def test_files_hold_the_graph_and_are_the_same_every_time(
    told: Corpus, context: Any, tmp_path: Path
) -> None:
    formats = ["graphml", "turtle", "svg", "html"]
    graph = build(told, context, output=str(tmp_path / "one"), formats=formats)
    build(told, context, output=str(tmp_path / "two"), formats=formats)
    build(told, context, output=str(tmp_path / "two"), formats=formats)
    files = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert files == ["graph.graphml", "graph.html", "graph.svg", "graph.ttl"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    read = networkx.read_graphml(tmp_path / "one" / "graph.graphml", force_multigraph=True)
    names = dict(read.nodes(data="name"))
    assert {
        (names[a], e["predicate"], names[b], e["statements"]) for a, b, e in read.edges(data=True)
    } == EDGES
    marie = next(one for one in names if names[one] == "Marie Curie")
    assert read.nodes[marie]["provenance"].splitlines()[0] == "/texts/0.txt#char=0,11"
    assert graph.networkx().nodes[marie]["aliases"] == ["Curie"]

    store = pyoxigraph.Store()
    store.load(path=str(tmp_path / "one" / "graph.ttl"), format=pyoxigraph.RdfFormat.TURTLE)
    founders = "PREFIX rel: <urn:semantica:relation:> ASK { ?a rel:founded ?b }"
    assert bool(store.query(founders))
    assert len(store) == len(graph._store)


def test_without_formats_there_are_two_files_and_without_output_none(
    told: Corpus, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(told, context)
    assert not list(tmp_path.iterdir())
    build(told, context, output="a/b")
    assert {path.name for path in Path("a/b").iterdir()} == {"graph.graphml", "graph.ttl"}
    with pytest.raises(StepConfigError, match="output="):
        build(told, context, formats=["svg"])
    with pytest.raises(StepConfigError, match=r"\.graphml, \.ttl, \.svg, \.html"):
        build(told, context).save("graph.png")


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    told: Corpus, context: Any, tmp_path: Path
) -> None:
    target = tmp_path / "graph.ttl"
    graph = build(told, context)
    graph.save(target)
    before = target.read_bytes()
    lost = KnowledgeGraph(graph.corpus)
    assert lost.nodes
    assert lost.edges
    context.artifacts._data.clear()
    with pytest.raises(LogCorrupt):
        lost.save(target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OSError, match="No such file") as failed:
        build(tell(context.artifacts, TEXTS, SAID), context).save(tmp_path / "no" / "graph.svg")
    assert failed.value.filename == str(tmp_path / "no" / "graph.svg")


def test_no_name_breaks_a_format(context: Any, tmp_path: Path) -> None:
    names = [HOSTILE, "\0", "a\ttab", "İstanbul\u202e", "長" * 60, "\U0001d54f"]
    texts = [f"[{name}|PERSON] met [Lyon|PLACE]." for name in names]
    said = [(number, name, "met", "Lyon") for number, name in enumerate(names)]
    graph = build(tell(context.artifacts, texts, said), context)
    for suffix in ("graphml", "ttl", "svg", "html"):
        graph.save(tmp_path / f"graph.{suffix}")
        (tmp_path / f"graph.{suffix}").read_text("utf-8")
    read = networkx.read_graphml(tmp_path / "graph.graphml")
    assert len(read.nodes) == len(graph.nodes) == len(names) + 1
    plain = HOSTILE.strip().translate(dict.fromkeys((0, 0xD800, 0x1B), "\ufffd"))
    assert plain in {name for _, name in read.nodes(data="name")}
    found = graph.query("SELECT ?name { ?a rel:met ?b ; rdfs:label ?name }")
    assert isinstance(found, list)
    assert len(found) == len(names)
    assert {"name": plain} in found


def test_nothing_to_build_of_is_an_empty_graph_and_a_warning(context: Any, tmp_path: Path) -> None:
    graph = build([{"text": "nothing"}], context, output=str(tmp_path), formats=["svg", "graphml"])
    assert graph.counts == {"nodes": 0, "edges": 0}
    assert "the graph is empty" in context.warnings[0][0]
    assert "0 entities, 0 relations" in (tmp_path / "graph.svg").read_text()
    assert networkx.read_graphml(tmp_path / "graph.graphml").number_of_nodes() == 0


@pytest.mark.parametrize(
    ("library", "suffix"),
    [("networkx", ".graphml"), ("pyoxigraph", ".ttl"), ("numpy", ".svg"), ("numpy", ".html")],
)
def test_a_missing_library_is_named_with_its_extra(
    library: str, suffix: str, told: Corpus, context: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    graph = build(told, context)
    monkeypatch.setitem(sys.modules, library, None)
    for name in list(sys.modules):
        if ".steps.knowledge." in name and name.rpartition(".")[2] in (
            "graphml", "rdf", "layout", "picture", "svg", "page",
        ):  # fmt: skip
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=r"pip install 'semantica-pipeline\[graph\]'"):
        graph.save(tmp_path / f"graph{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_cancelled_step_stops(told: Corpus, context: Any, cancelled: type[BaseException]) -> None:
    context.cancel_after = 0
    with pytest.raises(cancelled):
        build(told, context)


@step("tell_for_graph")
def _tell(data: Any, context: Any) -> Corpus:
    return tell(context.artifacts, TEXTS, SAID)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("kind", ["build_kg", "build_graph"])
def test_it_runs_in_threads_and_processes(
    kind: str, executor: str, make_engine: MakeEngine, tmp_path: Path
) -> None:
    pipeline = (
        PipelineBuilder()
        .add_step("tell", "tell_for_graph")
        .add_step("kg", kind, executor=executor, resolve_conflicts=True, output=str(tmp_path / "o"))
        .build("graph")
    )
    result = make_engine(strict=True).execute_pipeline(pipeline).raise_for_status()
    assert isinstance(result.output, KnowledgeGraph)
    assert edges_of(result.output) == EDGES
    assert result.metrics["graph_edges"] == 3
    assert (tmp_path / "o" / "graph.ttl").exists()


NAMES = st.sampled_from(["Ada", "Bo", "Cy", "Di", "Ed", "Flo"])
FACTS = st.lists(
    st.tuples(NAMES, st.sampled_from(["knows", "leads"]), NAMES), min_size=1, max_size=20
)


@given(facts=FACTS)
def test_the_graph_is_what_was_said_whatever_the_order(
    facts: list[tuple[str, str, str]], fresh_context: Callable[..., Any]
) -> None:
    """A document for each fact; nothing is lost and nothing is made up."""
    graphs = []
    for order in (facts, facts[::-1]):
        context = fresh_context(MemoryArtifacts())
        texts = [f"[{a}|PLACE] {verb} [{b}|PLACE]." for a, verb, b in order]
        said = [(n, *fact) for n, fact in enumerate(order)]
        graphs.append(build(tell(context.artifacts, texts, said), context))
    for graph in graphs:
        counted = {key: count for *key, count in edges_of(graph) for key in [tuple(key)]}
        assert counted == {fact: facts.count(fact) for fact in facts if fact[0] != fact[2]}
        assert {node.name for node in graph.nodes} == {end for a, _, b in facts for end in (a, b)}
        assert sum(node.mentions for node in graph.nodes) == 2 * len(facts)
