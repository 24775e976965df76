"""Looking at the knowledge graph that a run has built: the command ``knowledge``."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import common, one_run

if TYPE_CHECKING:
    from ..engine.steps.knowledge.graph import KnowledgeGraph
    from .built import Built

NAMED = 5
"""Entities of a type that are named in the summary."""


@click.command(short_help="Look at the knowledge graph of a run: draw, ask or save it.")
@one_run(required=False)
@click.option("--output", metavar="FILE",
              help="Write the graph: .svg or .html (a picture), .graphml, .ttl (RDF).")  # fmt: skip
@click.option("--query", metavar="SPARQL", help="Show what a query finds in it.")
@click.option("--limit", type=click.IntRange(2, 1000), metavar="N",
              help="Entities that a picture shows at most. [default: 120]")  # fmt: skip
@click.option("--step", metavar="NAME", help="The step that has built it, if there are several.")
@common
def knowledge(
    run: str | None,
    output: str | None,
    query: str | None,
    limit: int | None,
    step: str | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Look at the knowledge graph that a step of RUN has built, or of the newest run that has one:
    how many entities and relations there are, and which.

    Queries know the prefixes entity, mention, statement, document, type and rel: an entity is a
    type:PERSON, has an rdfs:label, and is tied to others by rel:founded and the like. With --json,
    all entities and relations, or what the query finds.

    \b
    Examples:
      semantica-pipeline knowledge
      semantica-pipeline knowledge nightly --output graph.html
      semantica-pipeline knowledge --output graph.svg --limit 40
      semantica-pipeline knowledge --query 'SELECT ?who ?what
        { [rdfs:label ?who] rel:founded [rdfs:label ?what] }'
    """
    from ..engine.steps.knowledge.export import PICTURES, format_of
    from .built import graph_in
    from .finding import opened

    if limit is not None and (output is None or format_of(Path(output)) not in PICTURES):
        raise click.UsageError("--limit is for a picture: add --output graph.svg or graph.html")
    if output is not None:
        format_of(Path(output))  # a wrong name is told before anything is read
    with opened(log) as opened_log:
        built = graph_in(opened_log.store, run, step)
        if output is not None:
            built.graph.save(output, limit=limit)
        if query is not None:
            _show_found(built.graph.query(query), as_json)
        elif output is not None:
            _show_saved(built, output, as_json)
        elif as_json:
            _print_graph(built)
        else:
            _show(built)


def _show(built: Built) -> None:
    from .terminal import clean, heading, print_table

    graph = built.graph
    print(f"{heading(clean(built.name))}  {built.run_id}, step {clean(built.step)}")
    print(_summed(graph))
    for headers, rows in ((("type", "entities", "such as"), _types(graph)),
                          (("relation", "count", "such as"), _relations(graph))):  # fmt: skip
        if rows:
            print()
            print_table(headers, rows, right=(1,))


def _summed(graph: KnowledgeGraph) -> str:
    from .terminal import counted

    counts, documents = graph.counts, len(graph.corpus.documents)
    return (
        f"{counts['nodes']:,} entities, {counts['edges']:,} relations, "
        f"from {counted(documents, 'document')}"
    )


def _types(graph: KnowledgeGraph) -> list[tuple[str, str, str]]:
    """Each type: how many there are, and those that are named most often."""
    of_type = defaultdict(list)
    for node in graph.nodes:
        of_type[node.type].append(node)
    rows = []
    for kind, nodes in sorted(of_type.items(), key=lambda item: (-len(item[1]), item[0])):
        most = sorted(nodes, key=lambda node: -node.mentions)[:NAMED]
        names = ", ".join(node.name for node in most)
        rows.append((kind, f"{len(nodes):,}", names + (", ..." if len(nodes) > NAMED else "")))
    return rows


def _relations(graph: KnowledgeGraph) -> list[tuple[str, str, str]]:
    """Each predicate: how often it holds, and the case that is said most often."""
    names = {node.id: node.name for node in graph.nodes}
    counts = Counter(edge.predicate for edge in graph.edges)
    best: dict[str, Any] = {}
    for edge in graph.edges:
        known = best.get(edge.predicate)
        if known is None or edge.statements > known.statements:
            best[edge.predicate] = edge
    return [
        (predicate, f"{count:,}", f"{names[one.subject]} -> {names[one.object]}")
        for predicate, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        for one in [best[predicate]]
    ]


def _show_found(found: list[dict[str, Any]] | bool | str, as_json: bool) -> None:
    from .terminal import print_json, print_table

    if as_json:
        print_json(found)
    elif isinstance(found, bool):
        print("yes" if found else "no")
    elif isinstance(found, str):
        print(found, end="")
    elif not found:
        print("nothing is found")
    else:
        rows = [[_short(value) for value in row.values()] for row in found]
        print_table(tuple(found[0]), rows)


def _short(value: Any) -> str:
    """A value; of an address that the queries' prefixes shorten, its short form."""
    from ..engine.steps.knowledge.rdf import PREFIXES

    text = "" if value is None else str(value)
    for name, beginning in PREFIXES.items():
        if text.startswith(beginning):
            return f"{name}:{text.removeprefix(beginning)}"
    return text


def save_graph(run: str, output: str, log: str | None, *, as_json: bool) -> None:
    """Write the graph that a run has built. Raises BadInput, StepConfigError."""
    from ..engine.steps.knowledge.export import format_of
    from .built import graph_in
    from .finding import opened
    from .loading import is_target
    from .terminal import BadInput

    format_of(Path(output))
    if is_target(run):
        raise BadInput(
            f"--output: {run} is a pipeline; only a run of it has a knowledge graph "
            "(--steps draws its steps)"
        )
    with opened(log) as opened_log:
        try:
            built = graph_in(opened_log.store, run, None)
        except BadInput as error:
            raise BadInput(f"{error}; --steps draws its steps") from None
        built.graph.save(output)
        _show_saved(built, output, as_json)


def _show_saved(built: Built, output: str, as_json: bool) -> None:
    from .terminal import print_json

    if as_json:
        print_json({"run_id": built.run_id, "step": built.step, "file": output,
                    **built.graph.counts})  # fmt: skip
    else:
        print(f"{output}: {_summed(built.graph)}")


def _print_graph(built: Built) -> None:
    from .terminal import print_json

    graph = built.graph
    about = {"run_id": built.run_id, "pipeline": built.name, "step": built.step}
    print_json({**about, "nodes": graph.nodes, "edges": graph.edges})


COMMANDS = (knowledge,)
