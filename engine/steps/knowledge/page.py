"""The picture of a graph as a page: one file that needs nothing else, to look around in.

It can be moved and enlarged, searched, and says of everything where it is from. What stands in
documents reaches the page as data only: none of it is markup or script there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, BinaryIO

from .picture import Picture, picture_of
from .plain import printable
from .svg import caption_of, colours_of, drawing

if TYPE_CHECKING:
    from .graph import KnowledgeGraph

LISTED = 5000
"""Nodes that the page lists; those with the most mentions."""
PLACES = 5
"""Places that are told of each node and each edge."""


def write_html(graph: KnowledgeGraph, file: BinaryIO, limit: int | None = None) -> None:
    """The graph as a page, with at most ``limit`` nodes in its picture."""
    page = files(__package__).joinpath("page.html").read_text("utf-8")
    head, _, rest = page.partition("<!--picture-->")
    middle, _, tail = rest.partition("/*data*/")
    picture = picture_of(graph, limit)
    parts = (head, drawing(graph, picture), middle, _script(_data(graph, picture)), tail)
    file.write("".join(parts).encode())


def _script(data: Any) -> str:
    """JSON that ends no script, whatever is in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _data(graph: KnowledgeGraph, picture: Picture) -> dict[str, Any]:
    number = {node.id: place for place, node in enumerate(graph.nodes)}
    ranked = sorted(graph.nodes, key=lambda node: (-node.mentions, number[node.id]))[:LISTED]
    sources = {one.id: printable(one.source or one.id) for one in graph.corpus.documents}
    listed = {node.id for node in ranked}
    named: dict[str, list[list[Any]]] = {node.id: [] for node in ranked}
    for node, entity in graph.mentions():
        if node in listed and len(named[node]) < PLACES:
            place = sources.get(entity.document, printable(entity.document))
            named[node].append([place, entity.start, entity.end])
    said = defaultdict[tuple[str, str, str], list[list[Any]]](list)
    for subject, object_, relation, start, end in graph.statements():
        places = said[subject, relation.predicate, object_]
        if len(places) < PLACES:
            place = sources.get(relation.document, printable(relation.document))
            places.append([place, start, end, printable(" ".join(relation.evidence.split()))])
    counts = Counter(node.type for node in graph.nodes)
    colours = colours_of(sorted(counts))
    return {
        "caption": caption_of(graph, picture),
        "types": [
            {
                "name": printable(kind),
                "count": counts[kind],
                "light": one.stroke,
                "dark": one.dark_stroke,
            }
            for kind, one in sorted(colours.items())
        ],
        "total": len(graph.nodes),
        "nodes": [
            {
                "number": number[node.id],
                "name": printable(node.name),
                "type": printable(node.type),
                "aliases": [printable(alias) for alias in node.aliases],
                "mentions": node.mentions,
                "documents": node.documents,
                "places": named[node.id],
            }
            for node in ranked
        ],
        "edges": [
            {
                "from": number[edge.subject],
                "predicate": printable(edge.predicate.replace("_", " ")),
                "to": number[edge.object],
                "confidence": round(edge.confidence, 2),
                "places": said[edge.subject, edge.predicate, edge.object],
            }
            for edge in graph.edges
            if edge.subject in listed and edge.object in listed
        ],
    }
