"""The pure graph algorithms, against brute force and against size."""

from __future__ import annotations

import ast
import inspect
import time
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantica.pipeline.engine.core import graph as graphs

NAMES = "abcdefg"


@st.composite
def graph_of(draw: st.DrawFn, names: str = NAMES) -> dict[str, tuple[str, ...]]:
    size = draw(st.integers(0, len(names)))
    chosen = draw(st.permutations(names))[:size]
    others = st.lists(st.sampled_from(names), max_size=4).map(tuple)  # duplicates and unknown too
    return {name: draw(others) for name in chosen}


def flat(cycles: list[list[list[str]]]) -> list[list[str]]:
    return [cycle for group in cycles for cycle in group]


def edges_of(graph: dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    return {(other, name) for name, others in graph.items() for other in others if other in graph}


def reachable(graph: dict[str, tuple[str, ...]], start: str) -> set[str]:
    edges, seen, todo = edges_of(graph), set(), [start]
    while todo:
        here = todo.pop()
        for source, target in edges:
            if source == here and target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def all_cycles(graph: dict[str, tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Every elementary cycle, beginning with its first declared name."""
    edges, names = edges_of(graph), list(graph)
    found = set()
    for size in range(1, len(names) + 1):
        for path in permutations(names, size):
            if names.index(path[0]) != min(map(names.index, path)):
                continue
            if all(pair in edges for pair in zip(path, (*path[1:], path[0]), strict=True)):
                found.add(path)
    return found


@given(graph_of())
def test_an_order_respects_every_edge(graph: dict[str, tuple[str, ...]]) -> None:
    place = {name: number for number, name in enumerate(graphs.order(graph))}
    for source, target in edges_of(graph):
        if target in place:
            assert place[source] < place[target]
    stuck = {
        n
        for n in graph
        if any(m in reachable(graph, m) and (n == m or n in reachable(graph, m)) for m in graph)
    }
    assert set(graph) - set(place) == stuck
    assert len(place) == len(graphs.order(graph))


@given(graph_of())
def test_levels_are_longest_paths(graph: dict[str, tuple[str, ...]]) -> None:
    levels = graphs.levels(graph)
    level = {name: number for number, names in enumerate(levels) for name in names}
    assert list(level) == [] or set(level) == set(graphs.order(graph))
    for name, number in level.items():
        sources = [level[source] for source, target in edges_of(graph) if target == name]
        assert number == max((source + 1 for source in sources), default=0)


@given(graph_of())
def test_components_against_brute_force(graph: dict[str, tuple[str, ...]]) -> None:
    reach = {name: reachable(graph, name) | {name} for name in graph}
    expected = {frozenset(o for o in graph if o in reach[n] and n in reach[o]) for n in graph}
    components = graphs.components(graph)
    assert {frozenset(component) for component in components} == expected
    assert len(components) == len(expected)
    declared = list(graph)
    assert all(component == sorted(component, key=declared.index) for component in components)
    firsts = [declared.index(component[0]) for component in components]
    assert firsts == sorted(firsts)


@settings(max_examples=200, deadline=None)
@given(graph_of("abcdef"))
def test_cycles_against_brute_force(graph: dict[str, tuple[str, ...]]) -> None:
    found = [tuple(cycle) for cycle in flat(graphs.cycles(graph, limit=10_000))]
    assert len(found) == len(set(found))
    assert set(found) == all_cycles(graph)


@given(graph_of(), st.integers(1, 5))
def test_the_cap_leaves_each_component_a_cycle(
    graph: dict[str, tuple[str, ...]], limit: int
) -> None:
    components = graphs.cyclic(graph)
    found = graphs.cycles(graph, limit)
    assert len(flat(found)) <= limit + len(components)
    for component, cycles in zip(components, found, strict=True):
        assert cycles and all(set(cycle) <= set(component) for cycle in cycles)


@given(graph_of())
def test_roots_and_sinks(graph: dict[str, tuple[str, ...]]) -> None:
    edges = edges_of(graph)
    assert graphs.roots(graph) == [n for n in graph if not any(t == n for _, t in edges)]
    assert graphs.sinks(graph) == [n for n in graph if not any(s == n for s, _ in edges)]


def test_what_is_free_together_keeps_its_order() -> None:
    graph = {"d": ["a"], "c": ["a"], "b": [], "a": [], "e": ["d", "c"]}
    assert graphs.order(graph) == ["b", "a", "d", "c", "e"]
    assert graphs.levels(graph) == [["b", "a"], ["d", "c"], ["e"]]


def test_a_cycle_reads_in_the_direction_of_the_data() -> None:
    assert graphs.cycles({"a": ["c"], "b": ["a"], "c": ["b"]}) == [[["a", "b", "c"]]]
    assert graphs.cycles({"a": ["a"]}) == [[["a"]]]
    assert graphs.cycles({"a": [], "b": ["a"]}) == []


def test_a_chain_of_100000_declared_in_reverse() -> None:
    size = 100_000
    graph = {str(n): [str(n - 1)] if n else [] for n in reversed(range(size))}
    begun = time.process_time()
    assert graphs.order(graph)[-1] == str(size - 1)
    assert len(graphs.levels(graph)) == size
    assert len(graphs.components(graph)) == size
    assert graphs.cycles(graph) == []
    assert time.process_time() - begun < 10


SIZE = 20_000


@pytest.mark.parametrize(
    "graph",
    [
        {n: [m for m in map(str, range(40)) if m != n] for n in map(str, range(40))},
        {str(n): [str((n - 1) % SIZE)] for n in range(SIZE)},
        {str(n): [str((n - 1) % SIZE), str((n + 1) % SIZE)] for n in range(SIZE)},
        {str(n): [str(n - 1 if n % 2 else n + 1)] for n in range(SIZE)},
        {str(n): [str((n - k) % SIZE) for k in (1, 7, 100)] for n in range(SIZE)},
    ],
    ids=["complete", "ring", "two-way ring", "many pairs", "ring with chords"],
)
def test_no_graph_takes_long(graph: dict[str, list[str]]) -> None:
    begun = time.process_time()
    found = flat(graphs.cycles(graph))
    components = graphs.cyclic(graph)
    assert max(1, len(components)) <= len(found) <= max(graphs.CYCLE_LIMIT, len(components) + 100)
    for cycle in found[:3]:
        for source, target in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert source in graph[target]
    assert time.process_time() - begun < 10


def test_the_answers_come_from_the_arguments_alone() -> None:
    tree = ast.parse(inspect.getsource(graphs))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections", "collections.abc"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
