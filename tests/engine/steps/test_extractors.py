"""Extractors by name: a chat model behind a real server, spaCy, one's own; and clear refusals."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, serving

from semantica.pipeline import ExecutionEngine, PipelineBuilder
from semantica.pipeline.engine.steps.errors import MissingExtra, StepConfigError
from semantica.pipeline.engine.steps.extraction import extractors
from semantica.pipeline.engine.steps.extraction.extract import extract
from semantica.pipeline.engine.steps.extraction.extractors import extractor
from semantica.pipeline.engine.steps.extraction.found import (
    ExtractionError,
    Mention,
    Statement,
)
from semantica.pipeline.engine.steps.extraction.rules import Rules

TEXT = "Ada Moor runs Moor\nShipping. Carl likes Ada Moor."
ENTITIES = [
    {"type": "person", "text": "Ada Moor", "confidence": 0.9},
    {"type": "PERSON", "text": "Carl"},
    {"type": "ORGANIZATION", "text": "Moor Shipping", "confidence": 7},
    {"type": "PERSON", "text": "Nobody Here"},
]
RELATIONS = [
    {"subject": "Ada Moor", "predicate": "Runs (a firm)", "object": "Moor Shipping",
     "evidence": "Ada Moor runs Moor Shipping.", "confidence": 0.8},
    {"subject": "Carl", "predicate": "likes", "object": "Ada Moor",
     "evidence": "Carl likes Ada Moor."},
    {"subject": "Nobody Here", "predicate": "likes", "object": "Carl"},
    {"subject": "Carl", "predicate": "likes", "object": "Carl"},
]  # fmt: skip


def model(task: str, question: dict[str, Any]) -> str:
    if "every named entity" in task:
        return "```json\n" + json.dumps({"entities": ENTITIES}) + "\n```"
    assert question["entities"] == ["Ada Moor", "Moor Shipping", "Carl"]
    return json.dumps({"relations": RELATIONS})


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with serving(model) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        yield server


def test_a_chat_models_names_are_found_again_in_the_text(chat: ChatServer, context: Any) -> None:
    corpus = extract([{"text": TEXT}], context, True, True, "openai:small", 0.0)
    found = [(one.type, one.text, one.start, one.confidence) for one in corpus.entities]
    assert found == [
        ("PERSON", "Ada Moor", 0, 0.9),
        ("ORGANIZATION", "Moor\nShipping", 14, 1.0),
        ("PERSON", "Carl", 29, 0.8),
        ("PERSON", "Ada Moor", 40, 0.9),
    ]
    entities = {one.id: one for one in corpus.entities}
    said = [
        (entities[one.subject].start, one.predicate, entities[one.object].start, one.evidence)
        for one in corpus.relations
    ]
    assert said == [
        (0, "runs_a_firm", 14, "Ada Moor runs Moor\nShipping."),
        (29, "likes", 40, "Carl likes Ada Moor."),
    ]
    path, headers, body = chat.asked[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer sk-secret")
    assert (body["model"], body["response_format"]) == ("small", {"type": "json_object"})


def test_a_key_never_enters_the_log(chat: ChatServer, tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    builder = PipelineBuilder().add_step("extract", "extract", extractor="openai:small")
    with ExecutionEngine(log=log) as engine:
        assert engine.execute_pipeline(builder.build("chat"), [{"text": TEXT}]).success
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"sk-secret" not in file.read_bytes()


def test_a_long_text_is_sent_in_pieces(chat: ChatServer) -> None:
    text = "So it goes. " * 1000 + TEXT
    mentions = extractor("openai:small").entities(text)
    assert len(chat.asked) == 3
    assert text[mentions[0].start : mentions[0].end] == "Ada Moor"


@pytest.mark.parametrize(
    "said", ["I cannot do that.", '{"entities": [{"type": 3}]}', "[]", '{"names": []}', ""]
)
def test_an_answer_that_is_no_such_json_is_an_error(chat: ChatServer, said: str) -> None:
    chat.answer = lambda *_: said
    with pytest.raises(ExtractionError, match="'small' did not answer with the JSON it was asked"):
        extractor("openai:small").entities(TEXT)


@pytest.mark.parametrize(("status", "again"), [(429, True), (503, True), (401, False)])
def test_a_busy_server_is_worth_a_retry_and_a_wrong_key_is_not(
    chat: ChatServer, status: int, again: bool
) -> None:
    chat.status = status
    with pytest.raises(ExtractionError, match=f"answered {status}") as caught:
        extractor("openai:small").entities(TEXT)
    assert isinstance(caught.value, ConnectionError) is again


def test_an_endpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ConnectionError, match="cannot be asked"):
        extractor("openai:small").entities(TEXT)


def test_openais_own_endpoint_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(StepConfigError, match="OPENAI_API_KEY is not set"):
        extractor("openai:small")


# spaCy


def test_spacy_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'semantica-pipeline\[spacy\]'"):
        extractor("spacy:en_core_web_sm")


@pytest.mark.filterwarnings("default")
def test_a_spacy_model(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ada Moor"},
                        {"label": "GPE", "pattern": "Cork"}])  # fmt: skip
    pipeline.to_disk(tmp_path / "model")
    using = extractor(f"spacy:{tmp_path / 'model'}")
    text = "Ada Moor was born in Cork."
    mentions = using.entities(text)
    assert [(one.type, text[one.start : one.end]) for one in mentions] == [
        ("PERSON", "Ada Moor"),
        ("PLACE", "Cork"),
    ]
    assert [one.predicate for one in using.relations(text, mentions)] == ["born_in"]
    with pytest.raises(StepConfigError, match="spaCy cannot load the model 'no_such'"):
        extractor("spacy:no_such")


# One's own


class Own:
    """Every word is a THING, and each touches the next."""

    def entities(self, text: str) -> Sequence[Mention]:
        return [Mention("THING", 0, 3), Mention("THING", 4, 7)]

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        return [Statement(0, "touches", 1, 0, len(text))]


def function(text: str) -> list[dict[str, Any]]:
    return [{"type": "THING", "start": 0, "end": 3, "confidence": 0.5}]


def wrong(text: str) -> list[dict[str, Any]]:
    return [{"type": "THING", "begin": 0}]


def outside(text: str) -> list[Mention]:
    return [Mention("THING", 0, len(text) + 1)]


def test_a_class_of_ones_own(context: Any) -> None:
    corpus = extract([{"text": "one two"}], context, True, True, f"{__name__}:Own", 0.0)
    assert [one.text for one in corpus.entities] == ["one", "two"]
    assert [(one.predicate, one.evidence) for one in corpus.relations] == [("touches", "one two")]


def test_a_function_of_ones_own(context: Any) -> None:
    corpus = extract([{"text": "one two"}], context, True, False, f"{__name__}:function", 0.0)
    assert [(one.text, one.confidence) for one in corpus.entities] == [("one", 0.5)]
    with pytest.raises(StepConfigError, match="a function finds entities alone"):
        extract([{"text": "one two"}], context, True, True, f"{__name__}:function", 0.0)


def test_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("mine", f"{__name__}:Own", extractors.GROUP)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else []
    )
    extractors._installed.cache_clear()
    try:
        assert isinstance(extractor("mine"), Own)
    finally:
        extractors._installed.cache_clear()


def test_what_an_extractor_gives_is_checked(context: Any) -> None:
    with pytest.raises(ExtractionError, match="must give mentions"):
        extract([{"text": "one"}], context, True, False, f"{__name__}:wrong", 0.0)
    with pytest.raises(ExtractionError, match="outside the text"):
        extract([{"text": "one"}], context, True, False, f"{__name__}:outside", 0.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rule", "did you mean 'rules'"),
        ("rules:big", "has no models"),
        ("openai:", "names no model: write openai:<model>"),
        ("spacy", "names no model"),
        ("no_such_module:thing", "cannot import the extractor 'no_such_module:thing'"),
        (f"{__name__}:nothing", "cannot import"),
        (f"{__name__}:TEXT", "is no extractor"),
    ],
)
def test_names_of_none(name: str, message: str) -> None:
    with pytest.raises(StepConfigError, match=message):
        extractor(name)
    assert isinstance(extractor("rules"), Rules)
