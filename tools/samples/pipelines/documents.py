"""The sample documents again, built in Python, with a step of its own: which words are frequent.

Run it from the root of the repository::

    semantica-pipeline run tools/samples/pipelines/documents.py:pipeline
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from semantica.pipeline import Context, Pipeline, PipelineBuilder
from semantica.pipeline.engine.steps.corpus import Corpus

WORD = re.compile(r"[^\W\d_]{4,}")


def count_words(data: Any, context: Context, top: int = 10) -> dict[str, int]:
    """The ``top`` most frequent words of four letters or more, with their counts."""
    corpus = Corpus.of(data, context.artifacts)
    counts: Counter[str] = Counter()
    total = len(corpus.documents)
    for number, document in enumerate(corpus.documents, 1):
        context.raise_if_cancelled()
        counts.update(WORD.findall((document.text or "").lower()))
        context.progress(number, total, document.source)
    context.metric("words_counted", counts.total())
    return dict(counts.most_common(top))


def build(source: str = "tools/samples/documents") -> Pipeline:
    """The pipeline over the documents of a folder."""
    return (
        PipelineBuilder(name="words")
        .add_step("ingest", "ingest", source=source)
        .add_step("parse", "parse")
        .add_step("normalize", "normalize")
        .add_step("words", "count_words", handler=count_words, top=12)
        .build()
    )


pipeline = build()
