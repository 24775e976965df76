"""The graph as RDF, and what SPARQL finds in it.

The vocabulary, by the prefixes that every query knows (:data:`PREFIXES`)::

    entity:ID     a type:PERSON ; rdfs:label "Marie Curie" ; skos:altLabel "Curie" ;
                  rel:founded entity:ID2 .
    mention:ID    a kg:Mention ; kg:of entity:ID ; prov:wasDerivedFrom document:ID ;
                  kg:start 16 ; kg:end 27 ; kg:text "Marie Curie" ; kg:confidence 0.9 .
    statement:ID  a rdf:Statement ; rdf:subject entity:ID ; rdf:predicate rel:founded ;
                  rdf:object entity:ID2 ; prov:wasDerivedFrom document:ID ; kg:start 500 ;
                  kg:end 520 ; kg:evidence "In 1909 she founded ..." ; kg:confidence 0.8 .
    document:ID   a kg:Document ; kg:source "/data/curie.md" ; rdfs:label "Marie Curie" .

Dates, amounts and the like have their standard form as ``kg:value``.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias
from urllib.parse import quote

from ....events.errors import PipelineError
from ..errors import MissingExtra
from .plain import printable

try:
    import pyoxigraph as rdf
except ImportError as missing:
    raise MissingExtra("RDF and SPARQL", "graph") from missing

if TYPE_CHECKING:
    from .graph import KnowledgeGraph

PREFIXES = {
    "entity": "urn:semantica:entity:",
    "mention": "urn:semantica:mention:",
    "statement": "urn:semantica:statement:",
    "document": "urn:semantica:document:",
    "type": "urn:semantica:type:",
    "rel": "urn:semantica:relation:",
    "kg": "urn:semantica:graph:",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "prov": "http://www.w3.org/ns/prov#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
"""Name -> beginning of the addresses."""

_NUMBERS = {
    **dict.fromkeys(("integer", "int", "long", "nonNegativeInteger"), int),
    **dict.fromkeys(("decimal", "double", "float"), float),
}

Value: TypeAlias = "str | float | rdf.NamedNode | rdf.Literal"


class QueryError(PipelineError, ValueError):
    """A SPARQL query that means nothing, or cannot be evaluated."""


def write_turtle(graph: KnowledgeGraph, file: BinaryIO) -> None:
    """The graph as Turtle. Memory holds the graph, not the mentions."""
    rdf.serialize(triples(graph), file, format=rdf.RdfFormat.TURTLE, prefixes=PREFIXES)


def store_of(graph: KnowledgeGraph) -> rdf.Store:
    """The graph in a store in memory."""
    store = rdf.Store()
    store.bulk_extend(rdf.Quad(*triple) for triple in triples(graph))
    return store


def query(store: rdf.Store, sparql: str) -> list[dict[str, Any]] | bool | str:
    """See :meth:`.KnowledgeGraph.query`."""
    try:
        found = store.query(sparql, prefixes=PREFIXES)
        if isinstance(found, rdf.QueryBoolean):
            return bool(found)
        if isinstance(found, rdf.QueryTriples):
            turtle = BytesIO()
            rdf.serialize(found, turtle, format=rdf.RdfFormat.TURTLE, prefixes=PREFIXES)
            return turtle.getvalue().decode()
        names = [variable.value for variable in found.variables]
        return [
            {name: _value(term) for name, term in zip(names, row, strict=True)} for row in found
        ]
    except (SyntaxError, ValueError, OSError, RuntimeError) as error:
        raise QueryError(f"the SPARQL query fails: {error}") from error


def _value(term: Any) -> Any:
    """A term as Python has it: a number, a truth, a text, an address, or None."""
    kind = getattr(term, "datatype", None)
    if kind is None:
        return None if term is None else getattr(term, "value", str(term))
    name = kind.value.removeprefix(PREFIXES["xsd"])
    if name in _NUMBERS:
        return _NUMBERS[name](term.value)
    return term.value in ("true", "1") if name == "boolean" else term.value


def triples(graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
    """The graph, node by node, edge by edge, then where each is from."""
    words = _Words()
    yield from words.nodes(graph)
    yield from words.edges(graph)
    yield from words.mentions(graph)
    yield from words.statements(graph)
    yield from words.documents(graph)


class _Words:
    """Writes triples."""

    def __init__(self) -> None:
        name = rdf.NamedNode
        self._known = {
            key: name(PREFIXES[key.partition(":")[0]] + key.partition(":")[2])
            for key in (
                *("rdf:type", "rdf:Statement", "rdf:subject", "rdf:predicate", "rdf:object"),
                *("rdfs:label", "skos:altLabel", "prov:wasDerivedFrom", "kg:Mention"),
                *("kg:Document", "kg:of", "kg:start", "kg:end", "kg:text", "kg:value"),
                *("kg:evidence", "kg:confidence", "kg:source"),
            )
        }

    def _iri(self, prefix: str, identity: str) -> rdf.NamedNode:
        name = quote(identity, safe="", errors="surrogatepass")
        return rdf.NamedNode(PREFIXES[prefix] + name)

    def _triple(self, it: rdf.NamedNode, predicate: str, value: Value) -> rdf.Triple:
        """``value``: a known name, a number, or what is a term already."""
        if isinstance(value, str):
            return rdf.Triple(it, self._known[predicate], self._known[value])
        term = rdf.Literal(value) if isinstance(value, (int, float)) else value
        return rdf.Triple(it, self._known[predicate], term)

    def _text(self, text: str) -> rdf.Literal:
        return rdf.Literal(printable(text))

    def nodes(self, graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
        for node in graph.nodes:
            it = self._iri("entity", node.id)
            yield self._triple(it, "rdf:type", self._iri("type", node.type))
            yield self._triple(it, "rdfs:label", self._text(node.name))
            for alias in node.aliases:
                yield self._triple(it, "skos:altLabel", self._text(alias))
            if node.value is not None:
                yield self._triple(it, "kg:value", self._text(node.value))

    def edges(self, graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
        for edge in graph.edges:
            ends = self._iri("entity", edge.subject), self._iri("entity", edge.object)
            yield rdf.Triple(ends[0], self._iri("rel", edge.predicate), ends[1])

    def mentions(self, graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
        for node, entity in graph.mentions():
            it = self._iri("mention", entity.id)
            yield self._triple(it, "rdf:type", "kg:Mention")
            yield self._triple(it, "kg:of", self._iri("entity", node))
            yield from self._whence(it, entity.document, entity.start, entity.end)
            yield self._triple(it, "kg:text", self._text(entity.text))
            yield self._triple(it, "kg:confidence", entity.confidence)

    def statements(self, graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
        for subject, object_, relation, start, end in graph.statements():
            it = self._iri("statement", relation.id)
            yield self._triple(it, "rdf:type", "rdf:Statement")
            yield self._triple(it, "rdf:subject", self._iri("entity", subject))
            yield self._triple(it, "rdf:predicate", self._iri("rel", relation.predicate))
            yield self._triple(it, "rdf:object", self._iri("entity", object_))
            yield from self._whence(it, relation.document, start, end)
            yield self._triple(it, "kg:evidence", self._text(relation.evidence))
            yield self._triple(it, "kg:confidence", relation.confidence)

    def _whence(
        self, it: rdf.NamedNode, document: str, start: int, end: int
    ) -> Iterator[rdf.Triple]:
        yield self._triple(it, "prov:wasDerivedFrom", self._iri("document", document))
        yield self._triple(it, "kg:start", start)
        yield self._triple(it, "kg:end", end)

    def documents(self, graph: KnowledgeGraph) -> Iterator[rdf.Triple]:
        for document in graph.corpus.documents:
            it = self._iri("document", document.id)
            yield self._triple(it, "rdf:type", "kg:Document")
            yield self._triple(it, "kg:source", self._text(document.source))
            title = document.metadata.get("title")
            if isinstance(title, str):
                yield self._triple(it, "rdfs:label", self._text(title))
