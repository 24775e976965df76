"""The graph for networkx, and as GraphML."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import MissingExtra
from .plain import printable

try:
    import networkx as nx
except ImportError as missing:
    raise MissingExtra("GraphML", "graph") from missing

if TYPE_CHECKING:
    from .graph import KnowledgeGraph


def as_networkx(graph: KnowledgeGraph) -> nx.MultiDiGraph[str]:
    """See :meth:`.KnowledgeGraph.networkx`.

    Nodes have ``name type value aliases mentions documents provenance``, edges ``predicate
    confidence statements documents provenance evidence``. ``provenance`` lists the places in the
    documents as addresses of plain text (RFC 5147), ``file.txt#char=16,27``.
    """
    sources = {one.id: one.source or one.id for one in graph.corpus.documents}

    def place(document: str, start: int, end: int) -> str:
        return f"{sources.get(document, document)}#char={start},{end}"

    named = defaultdict[str, list[str]](list)
    for node, entity in graph.mentions():
        named[node].append(place(entity.document, entity.start, entity.end))
    said = defaultdict[tuple[str, str, str], list[tuple[str, str]]](list)
    for subject, object_, relation, start, end in graph.statements():
        where = place(relation.document, start, end)
        said[subject, relation.predicate, object_].append((where, relation.evidence))
    made = nx.MultiDiGraph()
    for one in graph.nodes:
        made.add_node(
            one.id,
            name=one.name,
            type=one.type,
            **({} if one.value is None else {"value": one.value}),
            aliases=list(one.aliases),
            mentions=one.mentions,
            documents=one.documents,
            provenance=named[one.id],
        )
    for edge in graph.edges:
        places = said[edge.subject, edge.predicate, edge.object]
        made.add_edge(
            edge.subject,
            edge.object,
            key=edge.predicate,
            predicate=edge.predicate,
            confidence=edge.confidence,
            statements=edge.statements,
            documents=edge.documents,
            provenance=[where for where, _ in places],
            evidence=list(dict.fromkeys(" ".join(text.split()) for _, text in places)),
        )
    return made


def write_graphml(graph: KnowledgeGraph, file: BinaryIO) -> None:
    """The graph as GraphML, lists as lines of text."""
    made = as_networkx(graph)
    plain = nx.MultiDiGraph()
    for identity, values in made.nodes(data=True):
        plain.add_node(printable(identity), **_flat(values))
    for number, (subject, object_, values) in enumerate(made.edges(data=True)):
        # Its id has to be the only one of its kind in the file.
        plain.add_edge(printable(subject), printable(object_), f"e{number}", **_flat(values))
    nx.write_graphml_xml(plain, file, prettyprint=True)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _text(value) for key, value in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        value = "\n".join(value)
    return printable(value) if isinstance(value, str) else value
