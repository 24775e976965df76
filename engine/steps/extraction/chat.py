"""The extractor ``"openai:<model>"``: a chat model whose endpoint speaks OpenAI's protocol.

The model is asked for JSON, which is validated; what it names is looked up in the text, so offsets
are never a model's guess, and what the text does not hold is dropped.

The endpoint is ``OPENAI_BASE_URL`` (OpenAI's own if it is not set) and the key ``OPENAI_API_KEY``,
from the environment alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from ..errors import MissingExtra, StepConfigError
from ..split import split_characters
from .found import TYPES, ExtractionError, Mention, Statement

_OPENAI = "https://api.openai.com/v1"
_PIECE = 6000
"""Characters of a text that are sent at once."""
_TIMEOUT = 120.0
_BUSY = (408, 409, 429)

_ENTITIES = (
    "List every named entity in the text, each way it is written once. Types: "
    + ", ".join(TYPES)
    + '. Copy names from the text, letter by letter. Answer with JSON alone: {"entities": '
    '[{"type": "PERSON", "text": "...", "confidence": 0.9}]}'
)
_RELATIONS = (
    "List the relations that the text states between the given entities. Predicates are snake_case "
    "English, such as founded, works_for, located_in, born_on. Subject and object are names out of "
    "the list, evidence is the sentence, copied letter by letter. Answer with JSON alone: "
    '{"relations": [{"subject": "...", "predicate": "...", "object": "...", "evidence": "...", '
    '"confidence": 0.9}]}'
)


class ServiceUnavailable(ExtractionError, ConnectionError):
    """The endpoint cannot be reached or is too busy: a later attempt may succeed."""


class _Entity(msgspec.Struct):
    type: str
    text: str
    confidence: float = 0.8


class _Entities(msgspec.Struct):
    entities: list[_Entity]


class _Relation(msgspec.Struct):
    subject: str
    predicate: str
    object: str
    evidence: str = ""
    confidence: float = 0.8


class _Relations(msgspec.Struct):
    relations: list[_Relation]


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    choices: list[_Choice]


T = TypeVar("T", _Entities, _Relations)


class Chat:
    """Asks a chat model.

    Raises:
        MissingExtra: httpx is not installed.
        StepConfigError: No key is set for OpenAI's own endpoint.
    """

    def __init__(self, model: str) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("asking a chat model", "extract") from error
        base = os.environ.get("OPENAI_BASE_URL") or _OPENAI
        key = os.environ.get("OPENAI_API_KEY")
        if not key and base == _OPENAI:
            raise StepConfigError(
                "extract: OPENAI_API_KEY is not set; set it, or OPENAI_BASE_URL for an endpoint "
                "that needs no key, in the environment"
            )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = f"{base.rstrip('/')}/chat/completions"
        self._model = model
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT)

    def entities(self, text: str) -> Sequence[Mention]:
        found: list[Mention] = []
        for start, end in split_characters(text, _PIECE, 0):
            answer = self._ask(_ENTITIES, {"text": text[start:end]}, _Entities)
            found += _located(text, start, end, answer.entities)
        return found

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        found: dict[tuple[int, str, int], Statement] = {}
        for start, end in split_characters(text, _PIECE, 0):
            numbers = [n for n, one in enumerate(mentions) if start <= one.start and one.end <= end]
            named = (text[mentions[n].start : mentions[n].end] for n in numbers)
            names = list(dict.fromkeys(map(_plain, named)))
            if len(names) < 2:
                continue
            question = {"text": text[start:end], "entities": names}
            for one in self._ask(_RELATIONS, question, _Relations).relations:
                statement = _stated(text, start, end, one, mentions, numbers)
                if statement is not None:
                    key = statement.subject, statement.predicate, statement.object
                    found.setdefault(key, statement)
        return list(found.values())

    def _ask(self, task: str, question: dict[str, Any], kind: type[T]) -> T:
        import httpx

        body = {
            "model": self._model,
            "temperature": 0,
            "response_format": {"type": "json_object"},
            "messages": [
                {"role": "system", "content": task},
                {"role": "user", "content": json.dumps(question, ensure_ascii=False)},
            ],
        }
        try:
            response = self._client.post(self._url, json=body)
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ServiceUnavailable(f"extract: {self._url} cannot be asked: {said}") from error
        if not response.is_success:
            self._refuse(response.status_code, response.text)
        try:
            answer = msgspec.json.decode(response.content, type=_Answer)
            content = answer.choices[0].message.content if answer.choices else None
            return msgspec.json.decode(_unfenced(content or ""), type=kind)
        except msgspec.DecodeError as error:
            raise ExtractionError(
                f"extract: the model {self._model!r} did not answer with the JSON it was asked "
                f"for: {error}"
            ) from error

    def _refuse(self, status: int, said: str) -> None:
        kind = ServiceUnavailable if status in _BUSY or status >= 500 else ExtractionError
        raise kind(f"extract: {self._url} answered {status}: {_plain(said)[:300]}")


def _unfenced(content: str) -> str:
    """Without the Markdown fence that some models put around JSON."""
    content = content.strip()
    if content.startswith("```"):
        content = content.removeprefix("```json").strip("`").strip()
    return content


def _plain(text: str) -> str:
    return " ".join(text.split())


def _located(text: str, start: int, end: int, named: list[_Entity]) -> Iterator[Mention]:
    """Each place between ``start`` and ``end`` where a name stands; longer names first."""
    taken = bytearray(end - start)
    found = []
    for one in sorted(named, key=lambda one: (-len(one.text), one.text, one.type)):
        for begin, stop in _places(text, start, end, one.text):
            if not taken.count(1, begin - start, stop - start):
                taken[begin - start : stop - start] = b"\1" * (stop - begin)
                kind = one.type.strip().upper()
                found.append(Mention(kind, begin, stop, min(1.0, max(0.0, one.confidence))))
    yield from sorted(found, key=lambda mention: mention.start)


def _places(text: str, start: int, end: int, name: str) -> Iterator[tuple[int, int]]:
    words = name.split()
    if words:
        name = r"\s+".join(map(re.escape, words))
        pattern = re.compile(rf"(?<!\w){name}(?!\w)")
        yield from (match.span() for match in pattern.finditer(text, start, end))


def _stated(
    text: str,
    start: int,
    end: int,
    one: _Relation,
    mentions: Sequence[Mention],
    numbers: list[int],
) -> Statement | None:
    """The relation between the mentions nearest to its evidence; None if the text has no such."""
    predicate = re.sub(r"\W+", "_", one.predicate.strip()).strip("_").lower()
    places = list(_places(text, start, end, one.evidence))
    begin, stop = places[0] if places else (start, start)
    ends = []
    for name in (one.subject, one.object):
        known = [
            n for n in numbers if _plain(text[mentions[n].start : mentions[n].end]) == _plain(name)
        ]
        if not known:
            return None
        ends.append(min(known, key=lambda n: (not begin <= mentions[n].start < stop, n)))
    if not predicate or ends[0] == ends[1]:
        return None
    confidence = min(1.0, max(0.0, one.confidence)) * (1.0 if places else 0.5)
    return Statement(ends[0], predicate, ends[1], begin, stop, round(confidence, 2))
