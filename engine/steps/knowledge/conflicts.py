"""Resolve conflicts: of statements that cannot all be true, believe one and say why.

Someone is born on one day and in one place. Such a *functional* predicate has one object for each
subject, so relations that name others contradict one another. All stay in the corpus; the losers
carry the decision (:func:`.canonical.rejection_of`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from ..configured import configured
from ..corpus import Corpus, CorpusWriter
from .canonical import canonical_of, name_of, with_rejection
from .judging import Claim, Judge, Source, agree

if TYPE_CHECKING:
    from ...context import Context

Strategy: TypeAlias = Literal["most_frequent", "most_recent", "most_trusted"]

FUNCTIONAL = (
    "born_on",
    "born_in",
    "died_on",
    "died_in",
    "founded_on",
    "founded_in",
    "headquartered_in",
    "capital_of",
)
"""Predicates of which a subject has one object."""

_EVERY = 1000


class Options(msgspec.Struct):
    """Of statements that contradict one another, believe one and note why."""

    strategy: Annotated[
        Strategy,
        msgspec.Meta(description="what to believe: what most say, the newest, or who is trusted"),
    ] = "most_frequent"
    functional: Annotated[
        list[str] | None,
        msgspec.Meta(description="predicates of which a subject has one object (default: a list)"),
    ] = None
    trust: Annotated[
        dict[str, float] | None,
        msgspec.Meta(description="pattern of a document's source (*.pdf): its weight (default 1)"),
    ] = None


@configured(Options)
def resolve_conflicts(
    data: Any,
    context: Context,
    strategy: Strategy,
    functional: list[str] | None,
    trust: dict[str, float] | None,
) -> Corpus:
    """Mark the relations that contradict better ones, with the reason, and count them.

    Objects of the same name agree, and so do a date and its year. ``metadata["rejected"]`` of a
    loser has ``strategy``, ``kept`` (id of a relation that is believed) and ``because``. Run again,
    it decides again. The order of the records does not matter.

    Args:
        data: Anything :meth:`Corpus.of` accepts; deduplicate it first.
        strategy: ``"most_frequent"``: what most relations say; ``"most_recent"``: what the newest
            document says, by ``date`` (or ``published``, ``modified``, ``created``) of its metadata
            or a date in its name; ``"most_trusted"``: what the documents of most weight say, by
            ``trust``. A draw is decided by the other criteria, then by confidence and name.
        functional: Predicates that have one object for each subject; :data:`FUNCTIONAL` if None.
        trust: Pattern of sources (``*`` any, ``?`` one character) -> weight; the first that fits
            counts, and 1 if none does.
    """
    corpus = Corpus.of(data, context.artifacts)
    return settle_conflicts(corpus, context, strategy, functional=functional, trust=trust)


def settle_conflicts(
    corpus: Corpus,
    context: Context,
    strategy: Strategy = "most_frequent",
    *,
    functional: list[str] | None = None,
    trust: Mapping[str, float] | None = None,
) -> Corpus:
    """What :func:`resolve_conflicts` does."""
    predicates = frozenset(FUNCTIONAL if functional is None else functional)
    judge = Judge(strategy, trust or {})
    rejections: dict[str, dict[str, Any]] = {}
    conflicts = 0
    for claims in _contested(corpus, context, predicates):
        losers = judge.decide(claims)
        conflicts += bool(losers)
        rejections.update(losers)
    writer = CorpusWriter(context.artifacts)
    for done, relation in enumerate(corpus.relations):
        if done % _EVERY == 0:
            context.raise_if_cancelled()
            context.progress(done, len(corpus.relations), "relations weighed")
        writer.add(with_rejection(relation, rejections.get(relation.id)))
    writer.carry(corpus, "documents", "chunks", "entities", "vectors")
    context.metric("conflicts_resolved", conflicts)
    context.metric("relations_rejected", len(rejections))
    return writer.finish()


def _contested(
    corpus: Corpus, context: Context, predicates: frozenset[str]
) -> Iterator[list[Claim]]:
    """The claims about each subject and predicate that do not agree."""
    relations = [one for one in corpus.relations if one.predicate in predicates]
    needed = {end for one in relations for end in (one.subject, one.object)}
    context.raise_if_cancelled()
    ends: dict[str, tuple[str, str, str]] = {}
    for entity in corpus.entities:
        if entity.id in needed:
            value = str(entity.metadata.get("value") or canonical_of(entity))
            ends[entity.id] = canonical_of(entity), value, name_of(entity)
    context.raise_if_cancelled()
    holding = {one.document for one in relations}
    sources = {one.id: Source.of(one) for one in corpus.documents if one.id in holding}
    claims: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for one in relations:
        if one.subject in ends and one.object in ends:
            _, value, name = ends[one.object]
            source = sources.get(one.document, Source(one.document))
            claim = Claim(one.id, value, name, one.confidence, source)
            claims[ends[one.subject][0], one.predicate].append(claim)
    for key in sorted(claims):
        if not agree(claims[key]):
            yield claims[key]
