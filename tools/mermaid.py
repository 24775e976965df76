"""The graph of a pipeline or a run, as Mermaid text or for machines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..engine.model import Pipeline
from ..projections.run import Run
from .terminal import clean

PLAIN = frozenset(" _-./:,()=+")
"""Characters besides letters and digits that mean nothing to Mermaid within quotes."""
LOOKS = {
    "pending": "fill:#e5e7eb,stroke:#6b7280,color:#111827",
    "waiting": "fill:#fef3c7,stroke:#d97706,color:#78350f",
    "running": "fill:#cffafe,stroke:#0891b2,color:#164e63",
    "retrying": "fill:#fef9c3,stroke:#ca8a04,color:#713f12",
    "suspended": "fill:#ede9fe,stroke:#7c3aed,color:#4c1d95",
    "compensating": "fill:#ffedd5,stroke:#ea580c,color:#7c2d12",
    "compensated": "fill:#f3f4f6,stroke:#ea580c,color:#7c2d12,stroke-dasharray:4",
    "compensation_failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d,stroke-dasharray:2",
    "completed": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "skipped": "fill:#f3f4f6,stroke:#9ca3af,color:#374151,stroke-dasharray:4",
    "cancelled": "fill:#ffe4e6,stroke:#be123c,color:#881337,stroke-dasharray:4",
    "missing": "fill:#ffffff,stroke:#dc2626,color:#7f1d1d,stroke-dasharray:2",
}
"""By state; each names its own text colour, so that it reads in a dark page, too."""


class Node(msgspec.Struct):
    """A step; ``status`` only of a run, or ``missing``: named by a dependency, but not there."""

    name: str
    type: str
    status: str | None = None


class Drawing(msgspec.Struct):
    """Steps, and edges from a step to one that depends on it, by name."""

    name: str
    nodes: list[Node]
    edges: list[tuple[str, str]]


def of_pipeline(pipeline: Pipeline) -> Drawing:
    """The graph of a pipeline; it need not be valid."""
    nodes = {str(step.name): Node(str(step.name), str(step.step_type)) for step in pipeline.steps}
    edges = [(str(name), str(step.name)) for step in pipeline.steps for name in step.dependencies]
    for name, _ in edges:
        nodes.setdefault(name, Node(name, "", "missing"))
    return Drawing(str(pipeline.name), list(nodes.values()), edges)


def of_run(run: Run) -> Drawing:
    """The graph of a run, with the state of its steps."""
    steps = run.graph.definition.steps
    nodes = [
        Node(step.name, step.type, str(state.status))
        for step, state in zip(steps, run.state.steps, strict=True)
    ]
    edges = [(before, step.name) for step in steps for before in step.dependencies]
    return Drawing(run.state.name, nodes, edges)


def as_json(drawing: Drawing) -> dict[str, Any]:
    """The graph for machines."""
    edges = [{"from": before, "to": after} for before, after in drawing.edges]
    nodes = [
        {key: value for key, value in msgspec.structs.asdict(node).items() if value is not None}
        for node in drawing.nodes
    ]
    return {"name": drawing.name, "nodes": nodes, "edges": edges}


def mermaid(drawing: Drawing) -> str:
    """The graph as a Mermaid flowchart."""
    return "\n".join(_lines(drawing))


def _lines(drawing: Drawing) -> Iterator[str]:
    ids = {node.name: f"s{number}" for number, node in enumerate(drawing.nodes)}
    yield "flowchart TD"
    for node in drawing.nodes:
        kind = (
            f"<br/><small>{escaped(node.type)}</small>" if node.type not in ("", node.name) else ""
        )
        yield f'    {ids[node.name]}["{escaped(node.name)}{kind}"]'
    for before, after in drawing.edges:
        yield f"    {ids[before]} --> {ids[after]}"
    yield from _classes(drawing.nodes, ids)


def _classes(nodes: Iterable[Node], ids: dict[str, str]) -> Iterator[str]:
    members: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node.status is not None:
            members[node.status].append(ids[node.name])
    for status, names in members.items():
        yield f"    classDef {status} {LOOKS[status]}"
        yield f"    class {','.join(names)} {status}"


def escaped(text: str) -> str:
    """``text`` for a quoted label: nothing in it is syntax, markup or a list of Markdown's."""
    text = clean(text)
    opening = re.match(r"\s*(\d+\.|[-+])(?=\s)", text)  # "1. a" would become a list
    mark = opening.end() - 1 if opening else -1
    return "".join(
        c if (c.isalnum() or c in PLAIN) and i != mark else f"#{ord(c)};"
        for i, c in enumerate(text)
    )
