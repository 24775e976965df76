"""What is measured, beside what, and what the ratios should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Where = Literal["ours", "floor", "peers"]


class Side(msgspec.Struct, frozen=True):
    """One way to do the work: a workload of a module, with its options; ``rounds`` at most."""

    where: Where
    workload: str
    options: Mapping[str, Any] = {}
    rounds: int = 100


class Group(msgspec.Struct, frozen=True):
    """Sides that are measured in turns, each time in a new process and an empty folder.

    ``whole``: what counts is the time of the whole process, as ``us``.
    """

    title: str
    sides: Mapping[str, Side]
    rounds: int = 5
    whole: bool = False
    history: int = 0
    """Steps of a recorded run that is made once for all sides, which get its ``path``."""


class Target(msgspec.Struct, frozen=True):
    """A ratio of two medians: ``figure`` of a side of a group, over the sum of others."""

    title: str
    figure: str
    over: tuple[str, ...]
    """Figures whose sum it is divided by; none: the figure itself is compared."""
    bound: float
    at_least: bool
    """Whether the bound is the least, not the most."""
    guard: float
    """The bound that a short run on any machine must keep; 0: it is not guarded."""
    inverse: bool = False
    """Of rates: microseconds are turned round."""


def _ours(workload: str, rounds: int = 100, **options: Any) -> Side:
    return Side("ours", workload, options, rounds)


def _floor(workload: str, rounds: int = 100, **options: Any) -> Side:
    return Side("floor", workload, options, rounds)


def _peer(workload: str, rounds: int = 3, **options: Any) -> Side:
    return Side("peers", workload, options, rounds)


FULL: Mapping[str, Group] = {
    "chain": Group(
        "Chain of 1,000 steps, every commit synced",
        {
            "ours": _ours("chain", n=1_000, durability="full"),
            "floor": _floor("commits", n=1_000, durability="full"),
            "dbos": _peer("dbos_chain", n=200),
            "dbos in WAL": _peer("dbos_chain", n=200, wal=True),
            "eventsourcing": _peer("eventsourcing_append", n=1_000),
            "langgraph": _peer("langgraph_chain", n=200),
            "luigi": _peer("luigi_chain", n=200),
            "prefect": _peer("prefect_chain", rounds=1, n=30),
        },
        rounds=9,
    ),
    "normal": Group(
        "Chain of 3,000 steps, `normal`",
        {
            "ours": _ours("chain", n=3_000, durability="normal"),
            "floor": _floor("round_trips", n=3_000, durability="normal"),
        },
        rounds=9,
    ),
    "fan": Group(
        "1 -> 1,000 -> 1 with 4 workers, every commit synced",
        {
            "ours": _ours("fan", n=1_000, durability="full"),
            "floor": _floor("commits", n=1_000, durability="full"),
            "dbos": _peer("dbos_fan", n=200),
        },
        rounds=9,
    ),
    "growth": Group(
        "Chains of 1,000, 10,000 and 100,000 steps, `normal`",
        {
            "short": _ours("chain", n=1_000, durability="normal"),
            "middle": _ours("chain", n=10_000, durability="normal"),
            "long": _ours("chain", rounds=2, n=100_000, durability="normal"),
        },
    ),
    "wide": Group(
        "1 -> 100,000 -> 1 with 4 workers, `normal`",
        {"ours": _ours("fan", n=100_000, durability="normal")},
        rounds=2,
    ),
    "many": Group(
        "Pipelines of 3 steps at once, `normal`, per pipeline",
        {
            "200 pipelines": _ours("many", n=200),
            "10,000 pipelines": _ours("many", rounds=2, n=10_000),
        },
    ),
    "replay": Group(
        "1,000,000 events of a run of 500,000 steps into its state, per event",
        {
            "ours": _ours("replay"),
            "ours, digests verified": _ours("verified", rounds=1),
            "floor": _floor("read"),
            "eventsourcing": _peer("eventsourcing_replay", n=20_000),
        },
        rounds=3,
        history=500_000,
    ),
    "snapshot": Group(
        "The same state from its snapshot and what followed, all of it",
        {"ours": _ours("snapshot")},
        rounds=2,
        history=500_000,
    ),
    "recovery": Group(
        "From the start of a process to the next step, after a kill amid 1,000 or 20,000 steps",
        {"1,000 steps": _ours("recovery", n=1_000), "20,000 steps": _ours("recovery", n=20_000)},
        rounds=3,
    ),
    "pause": Group(
        "From `pause` in another process until nothing runs, steps of 10 ms",
        {"ours": _ours("pause")},
    ),
    "cold": Group(
        "A process that runs one step in a new log, from its start to its end",
        {
            "ours": _ours("cold"),
            "imports alone": _floor("nothing"),
            "dbos": _peer("dbos_cold"),
        },
        rounds=9,
        whole=True,
    ),
    "processes": Group(
        "Chain of 300 steps in a process each beside the thread, `normal`",
        {
            "in processes": _ours("chain", n=300, durability="normal", executor="process"),
            "in threads": _ours("chain", n=300, durability="normal"),
        },
    ),
    "map": Group(
        "A durable `map` of 100,000 items in one step, per item",
        {"ours": _ours("items", n=100_000)},
        rounds=2,
    ),
    "appends": Group(
        "Processes that append to one log, every commit synced, per append",
        {
            "1 writer": _ours("appends", writers=1, each=500),
            "floor, 1 writer": _floor("appends", writers=1, each=500),
            "10 writers": _ours("appends", writers=10, each=50),
            "floor, 10 writers": _floor("appends", writers=10, each=50),
            "100 writers": _ours("appends", rounds=1, writers=100, each=10),
            "floor, 100 writers": _floor("appends", rounds=1, writers=100, each=10),
        },
        rounds=3,
    ),
}

SHORT: Mapping[str, Group] = {
    "chain": Group(
        "Chain of 200 steps, every commit synced",
        {
            "ours": _ours("chain", n=200, durability="full"),
            "floor": _floor("commits", n=200, durability="full"),
        },
        rounds=3,
    ),
    "normal": Group(
        "Chain of 500 steps, `normal`",
        {
            "ours": _ours("chain", n=500, durability="normal"),
            "floor": _floor("round_trips", n=500, durability="normal"),
        },
        rounds=3,
    ),
    "fan": Group(
        "1 -> 200 -> 1 with 4 workers, every commit synced",
        {
            "ours": _ours("fan", n=200, durability="full"),
            "floor": _floor("commits", n=200, durability="full"),
        },
        rounds=3,
    ),
    "growth": Group(
        "Chains of 500 and 5,000 steps, `normal`",
        {
            "short": _ours("chain", n=500, durability="normal"),
            "long": _ours("chain", n=5_000, durability="normal"),
        },
        rounds=1,
    ),
    "replay": Group(
        "20,000 events of a run into its state, per event",
        {"ours": _ours("replay"), "floor": _floor("read")},
        rounds=3,
        history=10_000,
    ),
}

TARGETS = (
    Target(
        "chain, `full`: steps/s over commits/s of bare SQLite",
        "chain/ours/us",
        ("chain/floor/us",),
        0.6,
        at_least=True,
        guard=0.05,
        inverse=True,
    ),
    Target(
        "chain, `normal`: time per step over a round trip to a thread pool and a bare commit",
        "normal/ours/us",
        ("normal/floor/us",),
        2,
        at_least=False,
        guard=20,
    ),
    Target(
        "fan of 1,000, `full`: steps/s over commits/s of bare SQLite",
        "fan/ours/us",
        ("fan/floor/us",),
        2,
        at_least=True,
        guard=0.1,
        inverse=True,
    ),
    Target(
        "chain: times faster than DBOS with its defaults",
        "chain/dbos/us",
        ("chain/ours/us",),
        5,
        at_least=True,
        guard=0,
    ),
    Target(
        "chain: times faster than DBOS in WAL mode",
        "chain/dbos in WAL/us",
        ("chain/ours/us",),
        4,
        at_least=True,
        guard=0,
    ),
    Target(
        "fan: times faster than DBOS",
        "fan/dbos/us",
        ("fan/ours/us",),
        10,
        at_least=True,
        guard=0,
    ),
    Target(
        "chain: times faster than `eventsourcing` appends an event a step",
        "chain/eventsourcing/us",
        ("chain/ours/us",),
        1,
        at_least=True,
        guard=0,
    ),
    Target(
        "replay: events/s over rows read and decoded",
        "replay/ours/us",
        ("replay/floor/us",),
        0.5,
        at_least=True,
        guard=0.05,
        inverse=True,
    ),
    Target(
        "replay: times faster than `eventsourcing`",
        "replay/eventsourcing/us",
        ("replay/ours/us",),
        8,
        at_least=True,
        guard=0,
    ),
    Target(
        "cost per step in a chain a hundred times as long (ten times, in the short form)",
        "growth/long/us",
        ("growth/short/us",),
        1.3,
        at_least=False,
        guard=4,
    ),
    Target(
        "cold start of one step, whole process, in seconds",
        "cold/ours/seconds",
        (),
        0.25,
        at_least=False,
        guard=0,
    ),
    Target(
        "cold start over that of DBOS",
        "cold/ours/us",
        ("cold/dbos/us",),
        0.5,
        at_least=False,
        guard=0,
    ),
    Target(
        "bytes on disk per step of a chain of 1,000, its definition apart",
        "growth/short/bytes",
        (),
        500,
        at_least=False,
        guard=2_000,
    ),
    Target(
        "memory of what a run of 500,000 steps has come to, bytes per finished step",
        "replay/ours/state",
        (),
        1_024,
        at_least=False,
        guard=0,
    ),
    Target(
        "the same with its definition and graph, which are there before it starts",
        "replay/ours/memory",
        (),
        1_024,
        at_least=False,
        guard=0,
    ),
)
"""The bounds that hold for a full run, and those that guard a short one."""
