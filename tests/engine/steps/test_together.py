"""The steps one after another: in bounded memory, and in any order."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import Corpus
from semantica.pipeline.engine.steps.errors import StepInputError
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.engine.steps.normalize import normalize
from semantica.pipeline.engine.steps.parse import parse
from semantica.pipeline.events.artifacts import FileArtifacts
from semantica.pipeline.events.codec import decode, encode

Step = Callable[[Any, Any], Corpus]


def test_5000_documents_pass_in_bounded_memory(
    tmp_path: Path, fresh_context: Callable[..., Any]
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(5_000):
        (folder / f"{number}.txt").write_text(f"{number}  words " * 260)
    context = fresh_context(FileArtifacts(tmp_path / "artifacts", sync=False))
    tracemalloc.start()
    data: Any = folder
    for step in (ingest, parse, normalize, chunk):
        value = encode(step(data, context), context.artifacts)
        context.reports.clear()
        data = decode(value, context.artifacts)
        assert value.artifact is None or value.size < 10_000
    size = sum(len(piece.text) for piece in data.chunks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data.documents) == 5_000
    assert size > 12_000_000
    assert peak < 10_000_000


@pytest.mark.parametrize("order", list(permutations((parse, normalize, chunk))))
def test_any_order_is_right_or_says_what_is_wrong(
    order: tuple[Step, ...], tmp_path: Path, context: Any
) -> None:
    (tmp_path / "a.txt").write_text("One  two.\r\n" * 100)
    corpus = ingest(None, context, source=tmp_path)
    if order.index(chunk) < order.index(parse):
        with pytest.raises(StepInputError, match="'parse' step before"):
            _run(order, corpus, context)
        return
    corpus = _run(order, corpus, context)
    texts = {found.id: found.text or "" for found in corpus.documents}
    assert corpus.chunks
    assert all(texts[c.document][c.start : c.end] == c.text for c in corpus.chunks)


def _run(order: tuple[Step, ...], corpus: Corpus, context: Any) -> Corpus:
    for step in order:
        corpus = step(corpus, context)
    return corpus


def test_a_folder_can_be_given_as_input(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.txt").write_text("text")
    (found,) = parse(ingest({"documents": [tmp_path]}, context), context).documents
    assert found.text == "text"
