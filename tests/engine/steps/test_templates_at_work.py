"""The three templates on the shipped corpus: documents in six formats, three of them broken."""

from __future__ import annotations

from pathlib import Path

from making import MakeEngine

from semantica.pipeline import ExecutionResult, PipelineTemplateManager, search
from semantica.pipeline.engine.steps.knowledge.graph import KnowledgeGraph

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tools" / "samples" / "corpus"
FACTS = {
    ("Katarina Lindqvist", "born_in", "Uppsala"),
    ("Katarina Lindqvist", "studied_at", "Uppsala University"),
    ("Gabriela Rojas", "founded", "Salar Norte"),
    ("Pacific Lithium", "acquired", "Salar Norte"),
    ("Helios Wind", "headquartered_in", "Hamburg"),
    ("Eleni Papadaki", "leads", "Okeanos Energy"),
    ("Marie Curie", "founded", "Radium Institute"),
}
"""Of many; they stand in different documents, some in several of them."""
QUESTIONS = {
    "Who bought the lithium company in the Chilean desert?": "pacific-lithium-deal.html",
    "How did the schoolteacher who died spend her life?": "obituary-whitfield.txt",
    "How do rockets come into being at the space administration?": "space-agency.html",
}


def run(make_engine: MakeEngine, template: str, **steps: dict[str, object]) -> ExecutionResult:
    builder = PipelineTemplateManager().create_pipeline_from_template(
        template, ingest={"source": str(CORPUS)}, **steps
    )
    result = make_engine().execute_pipeline(builder.build())
    result.raise_for_status()
    return result


def test_documents_become_a_graph(make_engine: MakeEngine) -> None:
    check_graph(run(make_engine, "kg_construction"))


def check_graph(result: ExecutionResult) -> None:
    """It says what the documents say."""
    graph: KnowledgeGraph = result.output
    names = {node.id: node.name for node in graph.nodes}
    said = {(names[edge.subject], edge.predicate, names[edge.object]) for edge in graph.edges}
    assert said >= FACTS, FACTS - said
    types = {node.name: node.type for node in graph.nodes}
    assert types["Marie Curie"] == "PERSON"
    assert types["Salar Norte"] == "ORGANIZATION"
    assert types["Stockholm"] == "PLACE"
    assert result.metrics["documents_processed"] == 23
    assert result.metrics["documents_failed"] == 3
    assert result.metrics["entities_extracted"] > 500
    assert result.metrics["relations_extracted"] > 150
    assert result.metrics["graph_nodes"] == len(graph.nodes)
    assert len(places(graph, "Katarina Lindqvist")) > 1, "one person, in several documents"


def places(graph: KnowledgeGraph, name: str) -> set[str]:
    """The files that name somebody, whose words are looked up in them."""
    documents = {one.id: one for one in graph.corpus.documents}
    files = set()
    for mention in graph.corpus.entities:
        if mention.metadata.get("name") == name:
            document = documents[mention.document]
            words = (document.text or "")[mention.start : mention.end]
            assert set(words.casefold().split()) & set(name.casefold().split()), words
            files.add(document.source)
    return files


def test_documents_become_a_graph_and_an_index(
    make_engine: MakeEngine, log: Path, minilm: str
) -> None:
    check_graph(run(make_engine, "document_processing"))
    result = run(make_engine, "rag_pipeline")
    assert result.metrics["chunks_embedded"] == result.metrics["vectors_stored"] > 40
    assert result.metrics["vectors_reused"] > 40, "of texts that were embedded before"
    for question, file in QUESTIONS.items():
        best = search(question, log=log)[0]
        assert Path(best.source).name == file, (question, best)
