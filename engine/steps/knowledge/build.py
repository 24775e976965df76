"""Build a knowledge graph of what was extracted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ..configured import configured
from ..corpus import Corpus
from ..errors import StepConfigError
from ..files import locate
from .canonical import CANONICAL, rejection_of
from .conflicts import Strategy, settle_conflicts
from .deduplicate import merge_entities as merged
from .export import Format, file_name, save
from .graph import KnowledgeGraph

if TYPE_CHECKING:
    from ...context import Context

FORMATS: tuple[Format, ...] = ("graphml", "turtle")


class Options(msgspec.Struct, kw_only=True):
    """Make a graph of entities and relations that can be asked, saved and looked at."""

    merge_entities: Annotated[
        bool,
        msgspec.Meta(description="make one node of mentions that mean the same, if no step has"),
    ] = True
    resolve_conflicts: Annotated[
        bool,
        msgspec.Meta(description="leave out what contradicts better statements, if no step has"),
    ] = False
    strategy: Annotated[
        Strategy, msgspec.Meta(description="how to resolve conflicts, as for resolve_conflicts")
    ] = "most_frequent"
    output: Annotated[
        str | None,
        msgspec.Meta(description="folder for files of the graph [default: it is in the log alone]"),
    ] = None
    formats: Annotated[
        list[Format] | None,
        msgspec.Meta(description="of the files [default: graphml and turtle]"),
    ] = None


@configured(Options)
def build_graph(
    data: Any,
    context: Context,
    merge_entities: bool,
    resolve_conflicts: bool,
    strategy: Strategy,
    output: str | None,
    formats: list[Format] | None,
) -> KnowledgeGraph:
    """The :class:`.KnowledgeGraph` of the corpus: a node for all mentions that mean the same, an
    edge for all relations that say the same, each with its places in the documents.

    Mentions that a ``deduplicate`` step has merged, and relations that ``resolve_conflicts`` has
    rejected, are taken as they are. Counts ``graph_nodes``, ``graph_edges``, and
    ``relations_left_out``: those rejected, and those that would tie a node to itself.

    Args:
        data: Anything :meth:`Corpus.of` accepts; several inputs are merged.
        output: Its files ``graph.graphml``, ``graph.ttl``, ... are replaced, each as a whole.

    Raises:
        StepConfigError: ``formats`` is given without ``output``.
        MissingExtra: A library for merging, or for a format, is not installed.
        OSError: A file cannot be written.
    """
    if formats is not None and output is None:
        raise StepConfigError("build_graph: formats is for files: give the folder, output=...")
    corpus = Corpus.of(data, context.artifacts)
    if not corpus.entities:
        context.log.warning("the graph is empty: there are no entities to build it of")
    if merge_entities and any(CANONICAL not in one.metadata for one in corpus.entities):
        corpus = merged(corpus, context)
    if resolve_conflicts and not any(map(rejection_of, corpus.relations)):
        corpus = settle_conflicts(corpus, context, strategy)
    graph = KnowledgeGraph(corpus)
    context.raise_if_cancelled()
    context.metric("graph_nodes", len(graph.nodes))
    context.raise_if_cancelled()
    context.metric("graph_edges", len(graph.edges))
    said = sum(edge.statements for edge in graph.edges)
    context.metric("relations_left_out", len(corpus.relations) - said)
    if output is not None:
        _write(graph, context, Path(locate(output)), dict.fromkeys(formats or FORMATS))
    return graph


def _write(
    graph: KnowledgeGraph, context: Context, folder: Path, formats: dict[Format, None]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for done, form in enumerate(formats):
        context.raise_if_cancelled()
        context.progress(done, len(formats), file_name(form))
        save(graph, folder / file_name(form), form)
    context.progress(len(formats), len(formats))
