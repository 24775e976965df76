"""Handing runs in, and working them off: what ``submit`` and ``worker`` do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import click

from ..engine.core.queueing import Limits
from ..engine.execution import ExecutionEngine
from ..engine.result import ExecutionResult, result_of
from ..engine.worker import Worker
from ..events.errors import EngineClosed, nearest
from ..events.machines import PipelineStatus
from ..events.resource import Ordering
from ..projections.catchup import load_run
from . import origins
from .attending import Interrupts
from .executing import EngineOptions, handlers_for
from .finding import Log, opened
from .follow import Follower
from .live import REFRESH
from .show import show_result
from .terminal import BadInput, clean, command, one_line, print_json, say, seconds

KINDS = ("pipeline", "queue")


def hand_in(
    log: str | None,
    target: str,
    *,
    as_json: bool,
    wait: bool,
    data: str | None,
    name: str | None,
    settings: Sequence[str],
    lenient: bool,
    paths: tuple[str, ...],
    **how: Any,
) -> int:
    """Record a run in a queue; returns the exit status."""
    options = EngineOptions(None, None, "full", lenient, paths, as_json)
    pipeline, value = options.load(target, data, name, settings)
    with opened(log, create=True) as opened_log:
        if opened_log.store.location == ":memory:":
            raise BadInput("a queue in memory ends with its process; name a file with --log")
        with options.engine(opened_log) as engine:
            origin = origins.origin_of(target)
            run_id = engine.submit(pipeline, value, origin=origin, **how)
        if not wait:
            _tell(opened_log, run_id, how["queue"], as_json)
            return 0
        if not as_json:
            _tell(opened_log, run_id, how["queue"], as_json)
        return _wait(opened_log, run_id, as_json)


def _tell(log: Log, run_id: str, queue: str, as_json: bool) -> None:
    if as_json:
        print_json({"run": run_id, "queue": queue, "log": log.store.location})
    else:
        click.echo(run_id)


def _wait(log: Log, run_id: str, as_json: bool) -> int:
    """Until the run ends, wherever it is executed."""
    follower = Follower(log.store, run_id)
    while True:
        follower.catch_up()
        status = follower.status
        if status is not None and (status.finished or status is PipelineStatus.STOPPED):
            break
        time.sleep(REFRESH)
    result = result_of(load_run(log.store, run_id), log.store.artifacts, time.time_ns())
    show_result(log.store, result, as_json)
    return 0 if result.success else 1


# Working


def work(
    log: str | None,
    *,
    as_json: bool,
    queues: Sequence[str],
    concurrency: int | None,
    limits: Sequence[str],
    order: str,
    grace: float,
    metrics: str | None,
    **engine: Any,
) -> int:
    """Serve queues until a signal; returns the exit status."""
    options = EngineOptions(as_json=as_json, **engine)
    allowed = parse_limits(limits)
    options.prepare(several=True)
    with (
        opened(log, durability=options.durability, create=True) as opened_log,
        Interrupts() as interrupts,
        ExitStack() as stack,
    ):
        if opened_log.store.location == ":memory:":
            raise BadInput("a queue in memory ends with its process; name a file with --log")
        executing = options.engine(opened_log)
        stack.callback(executing.close, wait=False)
        worker = Worker(
            executing,
            queues=queues,
            concurrency=concurrency,
            limits=allowed,
            ordering=Ordering(order),
            handlers=lambda row: handlers_for(opened_log.store, row, None, strict=executing.strict),
            ended=_Ends(opened_log, as_json),
        )
        if metrics is not None:
            from .monitoring.serving import serving

            stack.enter_context(serving(metrics, opened_log.store, worker))
        if not as_json:
            _announce(opened_log, worker)
        failure = _serve(worker, interrupts)
        if failure is not None:
            raise failure
        return _drain(executing, grace, as_json)


def parse_limits(texts: Sequence[str]) -> Limits:
    """What ``--limit`` says. Raises BadInput."""
    found: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for text in texts:
        kind, equals, rest = text.partition("=")
        name, colon, number = rest.rpartition(":")
        if kind not in KINDS and equals:
            hint = nearest(kind, KINDS) or f"; kinds: {', '.join(KINDS)}"
            raise BadInput(f"--limit {text}: no kind {kind!r}{hint}")
        if not (equals and colon and name and number.isascii() and number.isdigit()):
            raise BadInput(f"--limit {text}: give it as pipeline=NAME:N or queue=NAME:N")
        if name in found[kind]:
            raise BadInput(f"--limit: {kind} {name!r} has two")
        found[kind][name] = int(number)
    return Limits(found["pipeline"], found["queue"])


def _announce(log: Log, worker: Worker) -> None:
    served = ", ".join(map(clean, worker.queues)) or "all queues"
    say(f"serving {served} of {log.store.location}, {worker.concurrency} runs at once")


def _serve(worker: Worker, interrupts: Interrupts) -> BaseException | None:
    """Until the first signal; returns what went wrong, if something did."""

    def serve() -> None:
        try:
            worker.serve()
        except BaseException as error:
            interrupts.inbox.put(error)

    thread = threading.Thread(target=serve, name="semantica-worker", daemon=True)
    thread.start()
    told = interrupts.inbox.get()
    worker.stop()
    thread.join()
    return told if isinstance(told, BaseException) else None


def _drain(engine: ExecutionEngine, grace: float, as_json: bool) -> int:
    """Let what is in flight end, and hand the runs back; returns the exit status."""
    left: list[Any] = []
    thread = threading.Thread(target=lambda: left.extend(engine.close(wait=False)), daemon=True)
    thread.start()
    thread.join(grace)
    if thread.is_alive():
        say(f"steps still run after {grace:g} s; other workers take their runs over")
        os._exit(1)
    for run in left:
        if not as_json:
            done = f"{run.completed} of {run.total} steps done"
            say(f"handed back: run {run.run_id} ({clean(run.name)}), {run.status}, {done}")
    return 0


class _Ends:
    """Tells of runs that have ended, a line each."""

    def __init__(self, log: Log, as_json: bool) -> None:
        self._log = log
        self._as_json = as_json

    def __call__(self, run_id: str, future: Future[ExecutionResult]) -> None:
        error = future.exception()
        if isinstance(error, EngineClosed):
            return  # handed back, which is told then
        if error is not None:
            text = (
                f"{error}; go on with: {command('recover', run_id, log=self._log.store.location)}"
            )
            self._say({"run": run_id, "error": str(error)}, f"run {run_id}: {text}")
            return
        result = future.result()
        name, took = str(result.metadata["pipeline"]), float(result.metrics["total_time"])
        told = {"run": run_id, "name": name, "status": str(result.status), "seconds": took}
        why = f": {result.errors[0]}" if result.errors else ""
        self._say(told, f"run {run_id} ({name}) {result.status} in {seconds(took)}{why}")

    def _say(self, told: dict[str, Any], text: str) -> None:
        if self._as_json:
            print_json(told)
        else:
            say(one_line(text))
