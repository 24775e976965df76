"""The commands of queues: putting runs in, executing them, and looking at who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import beginning, common, executing, path_option

if TYPE_CHECKING:
    from ..events.directory import RunRow
    from ..events.store import Store


@click.command(short_help="Put a run into a queue, for a worker to execute.")
@beginning
@click.option("--queue", default="default", show_default=True, metavar="QUEUE",
              help="Where it waits. A queue needs no making.")  # fmt: skip
@click.option("--wait", is_flag=True, help="Wait for the end of the run, and show its result.")
@click.option("--lenient", is_flag=True,
              help="Let a step whose type has no handler pass its input on.")  # fmt: skip
@path_option
@common
def submit(target: str, log: str | None, as_json: bool, wait: bool, **how: Any) -> int:
    """Put a run into a queue, where a worker finds it; its id is printed once it is recorded.

    TARGET is what run takes. A worker on another machine finds the handlers as recover does: by
    their names, or in the same file at the same place.

    \b
    Examples:
      semantica-pipeline submit documents.yaml
      semantica-pipeline submit flows/nightly.py:pipeline --queue nightly --priority 5
      semantica-pipeline submit documents.yaml --run-id monday --wait --json
    """
    from .working import hand_in

    return hand_in(log, target, as_json=as_json, wait=wait, **how)


@click.command(short_help="Execute runs from queues until told to stop.")
@click.option("--queue", "queues", multiple=True, metavar="QUEUE",
              help="Serve this queue. May be repeated. [default: all, and runs that were in none "
              "when their process has died]")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N",
              help="Runs at once. [default: as many as --workers]")  # fmt: skip
@click.option("--limit", "limits", multiple=True, metavar="KIND=NAME:N",
              help="At most N runs at once in the whole log: pipeline=NAME:N or queue=NAME:N. May "
              "be repeated; give the same to all workers.")  # fmt: skip
@click.option("--order", type=click.Choice(["priority", "fifo", "fair_share", "deadline"]),
              default="priority", show_default=True,
              help="Who goes first in a queue; between queues, the one with the fewest runs.",
              )  # fmt: skip
@click.option("--grace", type=click.FloatRange(min=0), default=60.0, metavar="SECONDS",
              show_default=True, help="What steps get to end after SIGTERM or Ctrl-C.")  # fmt: skip
@click.option("--metrics", metavar="[HOST:]PORT",
              help="Answer /healthz, /readyz and /metrics there.")  # fmt: skip
@executing
@common
def worker(log: str | None, as_json: bool, **how: Any) -> int:
    """Execute runs from the queues of the log, until SIGTERM or Ctrl-C.

    Any number of workers, on one machine or many, share a log: no two execute the same run, and
    together they keep to the limits. Runs of a process that has died are taken over. After the
    first SIGTERM nothing more is begun; steps in flight end or hand themselves back, their runs go
    back to the other workers, and the exit status is 0. A second one ends the process at once,
    which loses nothing that is recorded.

    \b
    Examples:
      semantica-pipeline worker
      semantica-pipeline worker --queue nightly --queue urgent --concurrency 4
      semantica-pipeline worker --limit pipeline=embed:2 --limit queue=nightly:8 --metrics 9464
    """
    from .working import work

    return work(log, as_json=as_json, **how)


@click.command(short_help="Show the queues: who waits, who goes on, for how long.")
@common
def queues(log: str | None, as_json: bool) -> None:
    """Show the queues that have runs which wait or go on.

    \b
    Examples:
      semantica-pipeline queues
      semantica-pipeline queues --json
    """
    import time

    from .finding import opened
    from .terminal import print_json, print_table, seconds

    with opened(log) as opened_log:
        told = lines(opened_log.store, time.time_ns())
        if as_json:
            print_json(told)
        elif not told:
            click.echo(f"no run waits or goes on in a queue of {opened_log.store.location}")
        else:
            rows = [
                (one["queue"], str(one["waiting"]), str(one["running"]), seconds(one["oldest"]))
                for one in told
            ]
            print_table(("queue", "waiting", "running", "oldest waits"), rows, right=(1, 2, 3))


def lines(store: Store, now: int) -> list[dict[str, Any]]:
    """A line for each queue, by name; ``oldest`` in seconds."""
    from ..projections.backlog import Backlog

    backlog = Backlog(store)
    backlog.look()
    told: dict[str, dict[str, Any]] = {}
    for entry in backlog.entries.values():
        if entry.queue is None or not (entry.waits or entry.goes_on):
            continue
        empty = {"queue": entry.queue, "waiting": 0, "running": 0, "oldest": 0.0}
        line = told.setdefault(entry.queue, empty)
        line["running" if entry.goes_on else "waiting"] += 1
        if entry.waits:
            line["oldest"] = max(line["oldest"], (now - entry.row.submitted_at) / 1e9)
    return [told[name] for name in sorted(told)]


def place(store: Store, row: RunRow) -> str:
    """Where a run waits, for its status."""
    from ..projections.backlog import Backlog
    from .terminal import clean

    backlog = Backlog(store)
    backlog.look()
    mine = backlog.entries.get(row.run_id)
    if mine is None or mine.queue is None:
        return ", but nobody has begun it"
    others = [one for one in backlog.entries.values() if one.queue == mine.queue]
    waiting, running = sum(one.waits for one in others), sum(one.goes_on for one in others)
    return f", in queue {clean(mine.queue)}: {waiting} wait there, {running} go on"


COMMANDS = (submit, worker, queues)
