"""The knowledge graph: what documents name and say, and where they say it.

A :class:`KnowledgeGraph` is a view of a :class:`~.corpus.Corpus`: its nodes are the mentions that
mean the same, its edges the relations that say the same and are not rejected. In the log it is the
corpus, which is a list of digests, and two counts. It reads its records anew wherever it can, so
that memory holds the graph and not the mentions.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ....events.artifacts import Artifacts
from ..corpus import Corpus
from ..records import Entity, Relation
from .canonical import canonical_of, name_of, rejection_of

if TYPE_CHECKING:
    import networkx
    import pyoxigraph


class Node(msgspec.Struct, frozen=True):
    """Something that documents name.

    Args:
        id: Of the mention that stands for all that mean the same.
        type: Such as ``PERSON``.
        value: What a date, an amount or the like says in standard form; None if that is unknown.
        aliases: How else it is written, the most frequent first.
        mentions: How often it is named.
        documents: In how many documents.
    """

    id: str
    type: str
    name: str
    value: str | None
    aliases: tuple[str, ...]
    mentions: int
    documents: int


class Edge(msgspec.Struct, frozen=True):
    """Something that documents say of two nodes, by their ids.

    Args:
        predicate: In snake_case, such as ``located_in``.
        confidence: The highest of the statements', 0 to 1.
        statements: How often it is said.
        documents: In how many documents.
    """

    subject: str
    predicate: str
    object: str
    confidence: float
    statements: int
    documents: int


class Mention(NamedTuple):
    """Where a node is named."""

    node: str
    entity: Entity


class Statement(NamedTuple):
    """Where an edge is said: ``start`` and ``end``, in characters, hold both ends' names, in the
    document of the relation."""

    subject: str
    object: str
    relation: Relation
    start: int
    end: int


class KnowledgeGraph:
    """Nodes, edges, and for each of them where it is from.

    Args:
        corpus: Its entities and relations, merged and settled as they say themselves (see
            :mod:`.canonical`).
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """By type, then name."""
        found: dict[str, _Named] = {}
        for mention in self.mentions():
            named = found.get(mention.node)
            if named is None:
                named = found[mention.node] = _Named()
            named.add(mention)
        nodes = (named.node(identity) for identity, named in found.items())
        return tuple(sorted(nodes, key=lambda node: (node.type, node.name, node.id)))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """In the order of their subjects, predicates, and objects."""
        found: dict[tuple[str, str, str], _Said] = {}
        for one in self.statements():
            key = one.subject, one.relation.predicate, one.object
            said = found.get(key)
            if said is None:
                said = found[key] = _Said()
            said.add(one.relation)
        place = {node.id: number for number, node in enumerate(self.nodes)}
        order = sorted(found, key=lambda key: (place[key[0]], key[1], place[key[2]]))
        return tuple(found[key].edge(key) for key in order)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many ``nodes`` and ``edges`` there are."""
        return {"nodes": len(self.nodes), "edges": len(self.edges)}

    def mentions(self) -> Iterator[Mention]:
        """Every mention of every node, in the order of the corpus."""
        for entity in self.corpus.entities:
            yield Mention(canonical_of(entity), entity)

    def statements(self) -> Iterator[Statement]:
        """Every statement of every edge, in the order of the corpus.

        Left out are rejected relations, those between what means the same, and those whose ends are
        no entities of the corpus.
        """
        ends = self._ends
        for relation in self.corpus.relations:
            subject, object_ = ends.get(relation.subject), ends.get(relation.object)
            if subject is None or object_ is None or subject.node == object_.node:
                continue
            if rejection_of(relation) is None:
                here = [end for end in (subject, object_) if end.document == relation.document]
                start = min((end.start for end in here), default=0)
                stop = max((end.end for end in here), default=0)
                yield Statement(subject.node, object_.node, relation, start, stop)

    @cached_property
    def _ends(self) -> dict[str, _End]:
        """The mentions that relations are about."""
        wanted = {end for one in self.corpus.relations for end in (one.subject, one.object)}
        return {
            entity.id: _End(node, entity.document, entity.start, entity.end)
            for node, entity in self.mentions()
            if entity.id in wanted
        }

    def networkx(self) -> networkx.MultiDiGraph[str]:
        """The graph for networkx: nodes and edges with their fields as attributes, edges keyed by
        predicate. Raises MissingExtra."""
        from .graphml import as_networkx

        return as_networkx(self)

    def query(self, sparql: str) -> list[dict[str, Any]] | bool | str:
        """What a SPARQL query finds; see :mod:`.rdf` for the vocabulary.

        Returns:
            Of SELECT a row for each solution, by variable; of ASK the answer; of CONSTRUCT and
            DESCRIBE the triples, as Turtle.

        Raises:
            QueryError: It is no query, or cannot be evaluated.
            MissingExtra: pyoxigraph is not installed.
        """
        from .rdf import query

        return query(self._store, sparql)

    @cached_property
    def _store(self) -> pyoxigraph.Store:
        from .rdf import store_of

        return store_of(self)

    def save(self, path: str | os.PathLike[str], *, limit: int | None = None) -> None:
        """Write the graph: GraphML (``.graphml``), RDF (``.ttl``), or a picture (``.svg``,
        ``.html``). The file is there as a whole or not at all.

        Args:
            limit: Nodes that a picture shows at most; 120 if None.

        Raises:
            StepConfigError: The name ends in none of these.
            MissingExtra: The library for the format is not installed.
            OSError: The file cannot be written.
        """
        from .export import format_of, save

        target = Path(path)
        save(self, target, format_of(target), limit)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KnowledgeGraph):
            return NotImplemented
        return self.corpus == other.corpus

    def __hash__(self) -> int:
        return hash(self.corpus)

    def __repr__(self) -> str:
        return f"KnowledgeGraph({', '.join(f'{key}={n}' for key, n in self.counts.items())})"

    def __to_pipeline__(self, artifacts: Artifacts) -> dict[str, Any]:
        return {"corpus": self.corpus, **self.counts}

    @classmethod
    def __from_pipeline__(cls, plain: dict[str, Any], artifacts: Artifacts) -> KnowledgeGraph:
        graph = cls(plain.pop("corpus"))
        graph.counts = plain
        return graph


class _End(NamedTuple):
    node: str
    document: str
    start: int
    end: int


class _Named:
    """What its mentions say of a node."""

    def __init__(self) -> None:
        self._first: Entity | None = None
        self._forms: Counter[str] = Counter()
        self._documents: set[str] = set()

    def add(self, mention: Mention) -> None:
        entity = mention.entity
        if self._first is None or entity.id == mention.node:
            self._first = entity
        self._forms[" ".join(entity.text.split())] += 1
        self._documents.add(entity.document)

    def node(self, identity: str) -> Node:
        assert self._first is not None
        name = " ".join(name_of(self._first).split())
        value = self._first.metadata.get("value")
        others = sorted(self._forms, key=lambda form: (-self._forms[form], form))
        return Node(
            id=identity,
            type=self._first.type,
            name=name,
            value=None if value is None else str(value),
            aliases=tuple(form for form in others if form != name),
            mentions=self._forms.total(),
            documents=len(self._documents),
        )


class _Said:
    """What its statements say of an edge."""

    def __init__(self) -> None:
        self._confidence = 0.0
        self._statements = 0
        self._documents: set[str] = set()

    def add(self, relation: Relation) -> None:
        self._confidence = max(self._confidence, relation.confidence)
        self._statements += 1
        self._documents.add(relation.document)

    def edge(self, key: tuple[str, str, str]) -> Edge:
        return Edge(*key, self._confidence, self._statements, len(self._documents))
