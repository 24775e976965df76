"""Graphs of step names: orders, levels, components and cycles.

A graph maps each name to the names it depends on, in the order of declaration, which every answer
here keeps: the same graph gives the same answer in every process. A dependency that is not a name
of the graph is left out, one given twice counts once. Nothing recurses and all but
:func:`cycles_of` is O(V + E), so a chain of 100,000 steps declared in reverse is no trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

Graph = Mapping[str, Sequence[str]]

CYCLE_LIMIT = 100
"""A component's cycles can be exponentially many; more than these tell nobody anything."""


def known(graph: Graph) -> dict[str, list[str]]:
    """The graph with each dependency once, and only those it has a name for."""
    return {
        name: [other for other in dict.fromkeys(dependencies) if other in graph]
        for name, dependencies in graph.items()
    }


def dependents(graph: Graph) -> dict[str, list[str]]:
    """The graph turned round: each name with the names that depend on it."""
    return _turned(known(graph))


def _turned(edges: Graph) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {name: [] for name in edges}
    for name, dependencies in edges.items():
        for other in dependencies:
            turned[other].append(name)
    return turned


def roots(graph: Graph) -> list[str]:
    """The names that depend on nothing."""
    return [name for name, dependencies in known(graph).items() if not dependencies]


def sinks(graph: Graph) -> list[str]:
    """The names that nothing depends on."""
    return [name for name, others in dependents(graph).items() if not others]


def order(graph: Graph) -> list[str]:
    """The names, each after all it depends on; what is free at the same time in FIFO order.

    Names on a cycle or behind one have no place in an order and are missing from the result, so
    the graph is acyclic exactly when the result is as long as the graph.

    Source: A. B. Kahn, "Topological sorting of large networks", CACM 5 (1962).
    """
    edges = known(graph)
    missing = {name: len(dependencies) for name, dependencies in edges.items()}
    followers = _turned(edges)
    ready = deque(name for name, count in missing.items() if not count)
    result = []
    while ready:
        name = ready.popleft()
        result.append(name)
        for follower in followers[name]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    return result


def levels(graph: Graph) -> list[list[str]]:
    """The names grouped by the length of the longest path to them, roots first.

    Names on a cycle or behind one are missing, as in :func:`order`.
    """
    depth: dict[str, int] = {}
    result: list[list[str]] = []
    for name in order(graph):
        level = max((depth[other] + 1 for other in graph[name] if other in depth), default=0)
        depth[name] = level
        if level == len(result):
            result.append([])
        result[level].append(name)
    return result


def components(graph: Graph) -> list[list[str]]:
    """The strongly connected components, by their first name; most have a single name.

    Source: R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972),
    with an explicit stack.
    """
    edges = known(graph)
    found: list[list[str]] = []
    index: dict[str, int] = {}  # order of discovery
    low: dict[str, int] = {}  # the earliest name on the stack that is reached from here
    stack: list[str] = []
    on_stack: set[str] = set()
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        while work:
            name, rest = work[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                stack.append(name)
                on_stack.add(name)
            for other in rest:
                if other not in index:
                    work.append((other, iter(edges[other])))
                    break
                if other in on_stack:
                    low[name] = min(low[name], index[other])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[name])
                if low[name] == index[name]:
                    cut = _position(stack, name)
                    found.append(stack[cut:])
                    on_stack.difference_update(stack[cut:])
                    del stack[cut:]
    return _declared(found, edges)


def _position(stack: Sequence[str], name: str) -> int:
    """Where ``name`` stands, looked for from the top: each entry is passed over once."""
    place = len(stack) - 1
    while stack[place] != name:
        place -= 1
    return place


def _declared(groups: Iterable[list[str]], names: Iterable[str]) -> list[list[str]]:
    """The groups and their members in the order of ``names``, without sorting."""
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    result: dict[int, list[str]] = {}
    for name in names:
        result.setdefault(group_of[name], []).append(name)
    return list(result.values())


def cyclic(graph: Graph) -> list[list[str]]:
    """The components that hold a cycle: several names, or one that depends on itself."""
    if len(order(graph)) == len(graph):
        return []
    return [
        component
        for component in components(graph)
        if len(component) > 1 or component[0] in graph[component[0]]
    ]


def cycles(graph: Graph, limit: int = CYCLE_LIMIT) -> list[list[list[str]]]:
    """The cycles of each component that has any, in the order of :func:`cyclic`.

    Up to ``limit`` in all, but one of each component at the least. A cycle ``[a, b, c]`` says that
    b depends on a, c on b, and a on c.
    """
    result: list[list[list[str]]] = []
    found = cyclic(graph)
    followers = dependents(graph) if found else {}
    for component in found:
        result.append(cycles_of(followers, component, max(1, limit)))
        limit -= len(result[-1])
    return result


def cycles_of(followers: Graph, component: Sequence[str], limit: int) -> list[list[str]]:
    """Elementary cycles inside one strongly connected component, along ``followers``.

    All of them when they are at most ``limit`` and turn up within a number of steps proportional
    to the component; else those found by then, and always one.

    Source: D. B. Johnson, "Finding all the elementary circuits of a directed graph", SIAM J.
    Comput. 4 (1975), with an explicit stack.
    """
    result: list[list[str]] = []
    effort = 10_000 + 3 * _size(_within(followers, component))
    waiting = [list(component)]
    while waiting and effort > 0:
        part = waiting.pop()
        inside = _within(followers, part)
        effort -= _Circuits(inside, part[0]).run(result, limit, effort)
        if len(result) == limit:
            break
        effort -= 5 * _size(inside)  # what finding the components costs, in steps of the search
        waiting += reversed(cyclic(_within(followers, part[1:])))
    return result


def _within(graph: Graph, names: Sequence[str]) -> dict[str, list[str]]:
    inside = set(names)
    return {name: [other for other in graph[name] if other in inside] for name in names}


def _size(graph: Graph) -> int:
    return sum(len(others) + 1 for others in graph.values())


class _Circuits:
    """Johnson's search for the cycles through ``start``.

    A name is blocked while it is on the path, and stays so after it proved to be a dead end, until
    a name it leads to is freed. So between two cycles each edge is walked at most twice.
    """

    def __init__(self, graph: Graph, start: str) -> None:
        self.graph = graph
        self.start = start
        self.blocked = {start}
        self.blocks: dict[str, set[str]] = {name: set() for name in graph}

    def run(self, result: list[list[str]], limit: int, effort: int) -> int:
        """Add cycles to ``result`` until it holds ``limit``, and return the steps this took.

        After ``effort`` steps the search ends, unless ``result`` is still empty.
        """
        path = [self.start]
        fruitful: set[str] = set()  # names on a cycle found since they were entered
        work = [iter(self.graph[self.start])]
        walked = 0
        while work and len(result) < limit and (walked < effort or not result):
            walked += 1
            other = next(work[-1], None)
            if other is None:
                self._leave(path.pop(), fruitful)
                work.pop()
            elif other == self.start:
                result.append(list(path))
                fruitful.update(path)
                walked += len(path)
            elif other not in self.blocked:
                path.append(other)
                work.append(iter(self.graph[other]))
                fruitful.discard(other)
                self.blocked.add(other)
        return walked

    def _leave(self, name: str, fruitful: set[str]) -> None:
        if name in fruitful:
            self._free(name)
            return
        for other in self.graph[name]:
            self.blocks[other].add(name)

    def _free(self, name: str) -> None:
        waiting = [name]
        while waiting:
            freed = waiting.pop()
            if freed in self.blocked:
                self.blocked.remove(freed)
                waiting.extend(self.blocks[freed])
                self.blocks[freed].clear()
