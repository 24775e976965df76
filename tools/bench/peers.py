"""The same work done by others, each with its own defaults on SQLite or files.

A script of its own, for an interpreter that has them installed and not this library:
``python peers.py NAME '{"n": 200}'``. It runs in an empty folder. Prints one line of JSON:
microseconds a step, or which package is absent.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

DBOS_LOG = "dbos.sqlite"


def dbos_launched(wal: bool) -> Any:
    """DBOS on a file of this folder."""
    from dbos import DBOS

    if wal:
        sqlite3.connect(DBOS_LOG).execute("PRAGMA journal_mode = WAL")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{Path(DBOS_LOG).resolve()}",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    return DBOS


def dbos_chain(n: int, wal: bool = False) -> dict[str, float]:
    """A workflow of ``n`` steps."""
    dbos = dbos_launched(wal)

    @dbos.step()
    def grow(x: int) -> int:
        return x + 1

    @dbos.workflow()
    def chain(length: int) -> int:
        x = 0
        for _ in range(length):
            x = grow(x)
        return x

    dbos.launch()
    chain(2)
    begun = time.perf_counter()
    assert chain(n) == n
    took = time.perf_counter() - begun
    dbos.destroy()
    return {"us": took / n * 1e6}


def dbos_fan(n: int) -> dict[str, float]:
    """``n`` workflows on a queue with four workers."""
    dbos = dbos_launched(False)

    @dbos.workflow()
    def grow(x: int) -> int:
        return x + 1

    dbos.launch()
    dbos.register_queue("fan", worker_concurrency=4, polling_interval_sec=0.01)
    begun = time.perf_counter()
    handles = [dbos.enqueue_workflow("fan", grow, i) for i in range(n)]
    assert sum(handle.get_result() for handle in handles) == n * (n + 1) // 2
    took = time.perf_counter() - begun
    dbos.destroy()
    return {"us": took / n * 1e6}


def dbos_cold() -> dict[str, float]:
    """One step, in a database that is new; whoever starts this process takes its time."""
    dbos_chain(1)
    return {}


def _aggregate() -> tuple[Any, Any]:
    os.environ["PERSISTENCE_MODULE"] = "eventsourcing.sqlite"
    os.environ["SQLITE_DBNAME"] = "es.db"
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event

    class Run(Aggregate):
        @event("Started")
        def __init__(self) -> None:
            self.done = 0

        @event("Stepped")
        def step(self, name: str, output: int) -> None:
            self.done = output

    return Application(), Run()


def eventsourcing_append(n: int) -> dict[str, float]:
    """An event a step, saved one by one."""
    application, run = _aggregate()
    application.save(run)
    begun = time.perf_counter()
    for i in range(n):
        run.step(f"s{i}", i)
        application.save(run)
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def eventsourcing_replay(n: int) -> dict[str, float]:
    """The state of an aggregate from its events."""
    application, run = _aggregate()
    for i in range(n):
        run.step(f"s{i}", i)
    application.save(run)
    begun = time.perf_counter()
    assert application.repository.get(run.id).done == n - 1
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def langgraph_chain(n: int) -> dict[str, float]:
    """A graph of ``n`` nodes with the SQLite checkpointer, which waits for every checkpoint."""
    from typing import TypedDict

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    state = TypedDict("state", {"x": int})  # noqa: UP013 - a class here could not be resolved
    graph = StateGraph(state)
    for i in range(n):
        graph.add_node(f"s{i}", lambda state: {"x": state["x"] + 1})
        graph.add_edge(f"s{i - 1}" if i else START, f"s{i}")
    graph.add_edge(f"s{n - 1}", END)
    with SqliteSaver.from_conn_string("langgraph.db") as saver:
        compiled = graph.compile(checkpointer=saver)
        options: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": n + 5}
        begun = time.perf_counter()
        assert compiled.invoke({"x": 0}, options, durability="sync") == {"x": n}
        return {"us": (time.perf_counter() - begun) / n * 1e6}


def luigi_chain(n: int) -> dict[str, float]:
    """Tasks that follow one another, each with a file; nothing is synced."""
    import luigi

    class Step(luigi.Task):
        i = luigi.IntParameter()

        def requires(self) -> Any:
            return Step(self.i - 1) if self.i else []

        def output(self) -> Any:
            return luigi.LocalTarget(f"out-{self.i}")

        def run(self) -> None:
            with self.output().open("w") as file:
                file.write("1")

    begun = time.perf_counter()
    assert luigi.build([Step(n - 1)], local_scheduler=True, log_level="ERROR", no_lock=True)
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def prefect_chain(n: int) -> dict[str, float]:
    """A flow of ``n`` tasks, on a server that it starts, which is not counted."""
    os.environ["PREFECT_HOME"] = str(Path().resolve())
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect import flow, task

    @task
    def grow(x: int) -> int:
        return x + 1

    @flow
    def chain(length: int) -> int:
        x = 0
        for _ in range(length):
            x = grow(x)
        return x

    chain(1)
    begun = time.perf_counter()
    assert chain(n) == n
    return {"us": (time.perf_counter() - begun) / n * 1e6}


def main(name: str, options: str) -> None:
    """Carry out what the command line names."""
    sys.path.pop(0)  # this folder is no place to import from
    try:
        measured = globals()[name](**json.loads(options))
    except ImportError as error:
        measured = {"absent": error.name}
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
