"""Extract: what documents name, and what they say about it."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ..configured import configured
from ..corpus import KINDS, Corpus, CorpusWriter
from ..parse import parse
from ..records import Document, Entity, Relation, make_id
from .extractors import extractor as extractor_named
from .found import ExtractionError, Extractor, Mention, Statement

if TYPE_CHECKING:
    from ...context import Context

_NAME = Annotated[
    str,
    msgspec.Meta(
        description="rules, spacy:<model>, openai:<model>, an installed one, or module:function"
    ),
]
_LEAST = Annotated[
    float,
    msgspec.Meta(ge=0, le=1, description="leave out what is less certain than this (0 to 1)"),
]


class Options(msgspec.Struct):
    """Find the entities that documents name, and the relations that they state."""

    entities: Annotated[bool, msgspec.Meta(description="find entities")] = True
    relations: Annotated[bool, msgspec.Meta(description="find relations between entities")] = True
    extractor: _NAME = "rules"
    min_confidence: _LEAST = 0.0


class OneKind(msgspec.Struct):
    """Find the entities that documents name, or the relations that they state."""

    extractor: _NAME = "rules"
    min_confidence: _LEAST = 0.0


@configured(Options)
def extract(
    data: Any,
    context: Context,
    entities: bool,
    relations: bool,
    extractor: str,
    min_confidence: float,
) -> Corpus:
    """Find entities and relations in every document that has text; parse those not parsed yet.

    What was found before is replaced. An entity is one mention, at ``document.text[start:end]``;
    dates, amounts, addresses have a normal form in ``metadata["value"]``. A relation is between two
    mentions of its document, with the sentence that states it.

    Args:
        data: Anything :meth:`Corpus.of` accepts.
        entities: Find entities; else the corpus's are kept.
        relations: Find relations between the entities; else the corpus's are kept.
        extractor: See :func:`.extractors.extractor`.
        min_confidence: What is less certain is left out.

    Raises:
        StepConfigError: There is no such extractor, or it cannot be used as it is set up.
        ExtractionError: The extractor gave what cannot be used, or its service failed.
        MissingExtra: A library is not installed.
    """
    corpus = Corpus.of(data, context.artifacts)
    using = extractor_named(extractor)
    if entities and any(one.text is None and one.error is None for one in corpus.documents):
        corpus = parse(corpus, context)
    work = _Extraction(corpus, context, using, min_confidence)
    if relations and not entities and not corpus.entities:
        context.log.warning("no entities to relate: put extract_entities before extract_relations")
    return work.run(entities=entities, relations=relations)


@configured(OneKind)
def extract_entities(data: Any, context: Context, extractor: str, min_confidence: float) -> Corpus:
    """:func:`extract` with entities alone."""
    return extract(data, context, True, False, extractor, min_confidence)


@configured(OneKind)
def extract_relations(data: Any, context: Context, extractor: str, min_confidence: float) -> Corpus:
    """:func:`extract` with relations alone, between the entities found before."""
    return extract(data, context, False, True, extractor, min_confidence)


class _Extraction:
    """Goes through the documents of a corpus, one at a time in memory."""

    def __init__(self, corpus: Corpus, context: Context, using: Extractor, least: float) -> None:
        self._corpus = corpus
        self._context = context
        self._using = using
        self._least = least
        self._writer = CorpusWriter(context.artifacts)

    def run(self, *, entities: bool, relations: bool) -> Corpus:
        known = None if entities else _Known(self._corpus)
        total = len(self._corpus.documents)
        for done, document in enumerate(self._corpus.documents, start=1):
            self._context.raise_if_cancelled()
            if document.text is not None:
                found = self._entities(document) if known is None else known.of(document)
                if relations:
                    self._relations(document, found)
            self._context.progress(done, total, document.source)
        made = {"entities": entities, "relations": relations}
        kept = [name for name in KINDS if not made.get(name)]
        self._writer.carry(self._corpus, *kept)
        return self._writer.finish()

    def _entities(self, document: Document) -> list[Entity]:
        text = document.text or ""
        found = []
        for one in self._using.entities(text):
            if not 0 <= one.start < one.end <= len(text):
                raise ExtractionError(
                    f"the extractor gave a mention at {one.start}:{one.end}, outside the text of "
                    f"{document.source} with {len(text)} characters"
                )
            if one.confidence >= self._least:
                found.append(_entity(document, one))
        self._writer.add(*found)
        self._context.metric("entities_extracted", len(found))
        return found

    def _relations(self, document: Document, entities: Sequence[Entity]) -> None:
        mentions = [_mention(one) for one in entities]
        count = 0
        for one in self._using.relations(document.text or "", mentions):
            if one.confidence >= self._least:
                self._writer.add(_relation(document, one, entities))
                count += 1
        self._context.metric("relations_extracted", count)


def _entity(document: Document, one: Mention) -> Entity:
    text = document.text or ""
    return Entity(
        id=make_id(document.id, one.type, str(one.start), str(one.end)),
        document=document.id,
        type=one.type,
        text=text[one.start : one.end],
        start=one.start,
        end=one.end,
        confidence=one.confidence,
        metadata={"value": one.value} if one.value else {},
    )


def _mention(one: Entity) -> Mention:
    return Mention(one.type, one.start, one.end, one.confidence, str(one.metadata.get("value", "")))


def _relation(document: Document, one: Statement, entities: Sequence[Entity]) -> Relation:
    subject, target = entities[one.subject].id, entities[one.object].id
    return Relation(
        id=make_id(document.id, subject, one.predicate, target, str(one.start)),
        document=document.id,
        subject=subject,
        predicate=one.predicate,
        object=target,
        evidence=(document.text or "")[one.start : one.end],
        confidence=one.confidence,
        metadata=one.note,
    )


class _Known:
    """The entities of a corpus by document, whatever their order; memory holds their numbers."""

    def __init__(self, corpus: Corpus) -> None:
        self._entities = corpus.entities
        self._numbers: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        for number, entity in enumerate(corpus.entities):
            self._numbers[entity.document].append(number)

    def of(self, document: Document) -> list[Entity]:
        """Those of ``document``, by place."""
        return sorted(self._read(document), key=lambda one: (one.start, one.end))

    def _read(self, document: Document) -> Iterator[Entity]:
        for number in self._numbers.get(document.id, ()):
            yield self._entities[number]
