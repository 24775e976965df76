"""How often the text that answers a question is found, on the sample documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from making import MakeEngine
from questions import QUESTIONS

from semantica.pipeline import PipelineTemplateManager, search

DOCUMENTS = Path(__file__).parents[3] / "tools" / "samples" / "documents"


def ranks(engine: object, log: Path, model: str) -> Sequence[int | None]:
    """For each question, the rank of the first document that answers it."""
    builder = PipelineTemplateManager().create_pipeline_from_template(
        "rag_pipeline",
        ingest={"source": str(DOCUMENTS)},
        embed={"model": model},
        store_vectors={"index_name": model},
    )
    engine.execute_pipeline(builder.build()).raise_for_status()  # type: ignore[attr-defined]
    found = []
    for question, answers in QUESTIONS:
        hits = search(question, log=log, index=model, top=100)
        sources = dict.fromkeys(hit.source for hit in hits)
        found.append(
            next((rank for rank, one in enumerate(sources, 1) if one.endswith(answers)), None)
        )
    return found


def measure(found: Sequence[int | None]) -> tuple[float, float]:
    first = sum(rank == 1 for rank in found) / len(found)
    return first, sum(1 / rank for rank in found if rank) / len(found)


def test_questions_in_other_words_are_answered(
    make_engine: MakeEngine, log: Path, minilm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(QUESTIONS) >= 24
    engine = make_engine()
    recall, reciprocal = measure(ranks(engine, log, minilm))
    by_words = measure(ranks(engine, log, "hashing"))
    with capsys.disabled():
        print(
            f"\nsearch, {len(QUESTIONS)} questions: recall@1 {recall:.2f}, MRR {reciprocal:.2f}"
            f" (by words alone {by_words[0]:.2f}, {by_words[1]:.2f})"
        )
    assert recall >= 0.8
    assert reciprocal >= 0.88
    assert by_words[0] < 0.5, "the questions repeat the words of the answers"
