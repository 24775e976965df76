"""The local model: its vectors are those that upstream publishes, and its weights are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import MakeEngine

from semantica.pipeline import PipelineBuilder
from semantica.pipeline.engine.steps.embedding.minilm import MiniLM
from semantica.pipeline.engine.steps.embedding.model import vectors_of
from semantica.pipeline.engine.steps.embedding.weights import FOLDER, MINILM, locate


@pytest.mark.usefixtures("minilm")
def test_similarities_are_those_of_the_documentation_of_sentence_transformers() -> None:
    """Its page on semantic textual similarity gives these scores of this model."""
    left = ["The cat sits outside", "A man is playing guitar", "The new movie is awesome"]
    right = ["The dog plays in the garden", "A woman watches TV", "The new movie is so great"]
    model = MiniLM()
    scores = (vectors_of(model, left) * vectors_of(model, right)).sum(axis=1)
    assert np.round(scores, 4).tolist() == pytest.approx([0.2838, -0.0327, 0.8939], abs=1e-4)


@pytest.mark.usefixtures("minilm")
@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=5))
def test_a_text_has_the_same_vector_in_any_company(texts: list[str]) -> None:
    model = MiniLM()
    together = vectors_of(model, texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-4)
    for text, vector in zip(texts, together, strict=True):
        assert np.abs(vectors_of(model, [text])[0] - vector).max() < 1e-5


@pytest.mark.usefixtures("minilm")
def test_nothing_of_a_long_text_is_cut_off() -> None:
    model = MiniLM(max_length=32)
    start = "The harbour was full of fishing boats that morning. " * 20
    ends = ["The treaty of peace was signed.", "A recipe for apple cake with cinnamon."]
    long = vectors_of(model, [start + ending * 20 for ending in ends])
    assert long[0] @ long[1] < 0.95  # they begin alike, for longer than the model takes at once
    alone = vectors_of(model, ends)
    assert long[0] @ alone[0] > long[1] @ alone[0]
    assert long[1] @ alone[1] > long[0] @ alone[1]


def test_a_model_that_is_not_there_is_a_clear_error(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "none"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    engine = make_engine()
    for model in (None, "text-embedding-3-large"):
        pipeline = PipelineBuilder().add_step("embed", "embed", model=model).build("p")
        result = engine.execute_pipeline(pipeline, {"text": "a"})
        assert "run 'semantica-pipeline models install'" in result.errors[0]
        assert result.metrics["steps_retried"] == 0


@pytest.mark.usefixtures("minilm")
def test_weights_that_were_tampered_with_are_refused(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, bad = locate(MINILM), tmp_path / MINILM.name
    bad.mkdir()
    (bad / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    weights = bytearray((whole / "model.safetensors").read_bytes())
    weights[50_000_000] ^= 1
    (bad / "model.safetensors").write_bytes(weights)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    pipeline = PipelineBuilder().add_step("embed", "embed").build("p")
    result = make_engine().execute_pipeline(pipeline, {"text": "a"})
    assert "is not what was published as all-MiniLM-L6-v2" in result.errors[0]
