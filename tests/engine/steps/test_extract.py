"""The steps extract, extract_entities and extract_relations."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline import ExecutionEngine, PipelineBuilder
from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import Corpus
from semantica.pipeline.engine.steps.extraction.extract import (
    extract,
    extract_entities,
    extract_relations,
)
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.events.artifacts import FileArtifacts

TEXT = "Ingrid Solberg founded the Halden Observatory in 1887. She was born in Bergen."
MORE = "Nordlys Instruments is based in Oslo. Write to post@nordlys.example."


def both(data: Any, context: Any, least: float = 0.0) -> Corpus:
    return extract(data, context, True, True, "rules", least)


def test_offsets_are_exact_and_relations_name_their_sentence(context: Any) -> None:
    corpus = both([{"text": TEXT}, {"text": MORE}], context)
    texts = {one.id: one.text or "" for one in corpus.documents}
    entities = {one.id: one for one in corpus.entities}
    assert len(entities) == len(corpus.entities) == 7
    for one in entities.values():
        assert texts[one.document][one.start : one.end] == one.text
    said = {
        (entities[one.subject].text, one.predicate, entities[one.object].text, one.evidence)
        for one in corpus.relations
    }
    first, second = TEXT.split(". ")[0] + ".", "She was born in Bergen."
    assert said == {
        ("Ingrid Solberg", "founded", "Halden Observatory", first),
        ("Halden Observatory", "founded_on", "1887", first),
        ("Ingrid Solberg", "born_in", "Bergen", second),
        (
            "Nordlys Instruments",
            "headquartered_in",
            "Oslo",
            "Nordlys Instruments is based in Oslo.",
        ),
    }
    (born,) = (one for one in corpus.relations if one.predicate == "born_in")
    assert born.metadata == {"through": ["She"]}
    assert context.metrics == {"entities_extracted": 7, "relations_extracted": 4}


def test_a_value_is_in_one_form_whatever_was_written(context: Any) -> None:
    corpus = both([{"text": "On 14 May 1961 it cost 12.5 million euros."}], context)
    assert [one.metadata["value"] for one in corpus.entities] == ["1961-05-14", "EUR 12500000"]


def test_one_after_the_other_is_the_same_as_both_at_once(context: Any) -> None:
    data = [{"text": TEXT}, {"text": MORE}]
    apart = extract_relations(extract_entities(data, context, "rules", 0.0), context, "rules", 0.0)
    assert apart == both(data, context)
    assert extract(apart, context, True, True, "rules", 0.0) == apart  # again changes nothing


def test_documents_are_parsed_when_they_were_not(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.md").write_text(f"# About\n\n{TEXT}")
    (tmp_path / "b.pdf").write_bytes(b"no PDF")
    corpus = extract_entities(ingest(None, context, source=tmp_path), context, "rules", 0.0)
    good, bad = corpus.documents
    assert TEXT in (good.text or "")
    assert "damaged" in (bad.error or "")
    assert {one.document for one in corpus.entities} == {good.id}


def test_entities_are_found_in_whatever_order_they_come(context: Any) -> None:
    first, second = (
        extract_entities([{"text": text}], context, "rules", 0.0) for text in (TEXT, MORE)
    )
    texts = Corpus.of({"a": first, "b": second}, context.artifacts)
    turned = Corpus.of({"b": second, "a": first}, context.artifacts)
    said = [
        {one.id for one in extract_relations(corpus, context, "rules", 0.0).relations}
        for corpus in (texts, turned)
    ]
    assert said[0] == said[1]
    assert len(said[0]) == 4


def test_what_is_less_certain_can_be_left_out(context: Any) -> None:
    sure = both([{"text": TEXT}], context, 0.85)
    assert {one.confidence >= 0.85 for one in [*sure.entities, *sure.relations]} == {True}
    assert len(sure.entities) < len(both([{"text": TEXT}], context).entities)


def test_chunks_stay_and_nothing_to_relate_is_said(context: Any) -> None:
    corpus = chunk([{"text": TEXT}], context)
    assert both(corpus, context).chunks == corpus.chunks
    assert not extract_relations(corpus, context, "rules", 0.0).relations
    ((message, _),) = context.warnings
    assert "put extract_entities before" in message


def test_it_stops_when_cancelled(context: Any, cancelled: type[BaseException]) -> None:
    context.cancel_after = 1
    with pytest.raises(cancelled):
        both([{"text": "One."}, {"text": "Two."}], context)


def every_letter(text: str) -> list[dict[str, Any]]:
    return [{"type": "LETTER", "start": place, "end": place + 1} for place in range(len(text))]


def test_many_mentions_pass_in_bounded_memory(
    tmp_path: Path, fresh_context: Callable[..., Any]
) -> None:
    context = fresh_context(FileArtifacts(tmp_path, sync=False))
    data = [{"text": "x" * 1000, "id": str(number)} for number in range(30)]
    corpus = Corpus.of(data, context.artifacts)
    tracemalloc.start()
    found = extract_entities(corpus, context, f"{__name__}:every_letter", 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.entities) == 30_000
    assert peak < 5_000_000


def test_the_guides_pipeline_counts_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    pipeline = (
        PipelineBuilder()
        .add_step("ingest", "ingest", source=str(tmp_path), recursive=True)
        .add_step("parse", "parse", formats=["pdf", "docx", "txt"])
        .add_step("normalize", "normalize", case="lower", unicode_form="NFC")
        .add_step("extract", "extract", entities=True, relations=True)
        .add_step("deduplicate", "deduplicate")
        .add_step("resolve_conflicts", "resolve_conflicts")
        .build("documents")
    )
    with ExecutionEngine(log=":memory:") as engine:
        result = engine.execute_pipeline(pipeline)
    assert result.success
    assert result.metrics["entities_extracted"] == 4
    assert result.metrics["relations_extracted"] == 3
    assert result.metrics["conflicts_resolved"] == 0
