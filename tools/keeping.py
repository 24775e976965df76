"""The commands that keep a log: copies of it, and what may leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import common, length

if TYPE_CHECKING:
    from ..events.store import Store
    from ..events.stub import RunArchived


@click.command(short_help="Copy the log while it is in use.")
@click.argument("file", type=click.Path())
@common
def backup(file: str, log: str | None, as_json: bool) -> None:
    """Copy the log, as it is at this moment, to FILE; who works on it goes on.

    The copy is a log, with its artifacts beside it in FILE.artifacts: its digest chains have been
    checked, and 'recover --log FILE' goes on with the runs that are unfinished in it.

    \b
    Examples:
      semantica-pipeline backup backups/2026-07-01.db
      semantica-pipeline backup /mnt/copies/runs.db --log runs.db --json
    """
    from pathlib import Path

    import msgspec

    from .finding import opened
    from .terminal import counted, print_json

    with opened(log) as opened_log:
        made = opened_log.store.backup(Path(file))
    if as_json:
        print_json(msgspec.structs.asdict(made))
    else:
        click.echo(
            f"{made.path}: {counted(made.runs, 'run')}, {counted(made.events, 'event')}, "
            f"{counted(made.artifacts, 'artifact')}, checked"
        )


@click.command(short_help="Move old finished runs to another log.")
@click.option(
    "--older-than",
    callback=length,
    required=True,
    metavar="AGE",
    help="Only runs that ended so long ago: 30d, 12h, 90s.",
)
@click.option("--to", metavar="FILE", help="The log that they are moved to; made if need be.")
@click.option("--discard", is_flag=True, help="Keep their events nowhere.")
@click.option("--name", metavar="NAME", help="Only runs of this pipeline.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    metavar="STATUS",
    help="Only runs that ended like this. May be repeated. [default: all that ended]",
)
@click.option("--dry-run", is_flag=True, help="Only list them.")
@common
def archive(
    older_than: float,
    to: str | None,
    discard: bool,
    name: str | None,
    statuses: tuple[str, ...],
    dry_run: bool,
    log: str | None,
    as_json: bool,
) -> None:
    """Move finished runs to another log, or discard them. Of each a stub stays, with the number of
    its events and the digest of the last, which proves that the other log has them unchanged.

    What has left cannot be resumed, forked, or taken from the cache here any more, and its id is
    not given again. Runs that go on, wait, are paused or were stopped stay. Killed on the way, do
    it again. vacuum then frees the space.

    \b
    Examples:
      semantica-pipeline archive --older-than 30d --to archive.db
      semantica-pipeline archive --older-than 1w --discard --status completed --dry-run
      semantica-pipeline audit verify --archives
    """
    import time

    from ..engine.retention import archive as leave
    from ..engine.submission import actor
    from .finding import opened

    if (to is None) != discard:
        both = "--to keeps the events and --discard does not: say one of them, not both"
        raise click.UsageError(both if discard else "say where to: --to FILE, or --discard")
    with opened(log) as opened_log:
        stubs = leave(
            opened_log.store,
            older_than=older_than,
            to=to,
            name=name,
            statuses=[status.lower() for status in statuses] or None,
            dry_run=dry_run,
            actor=actor(),
            now=time.time_ns(),
        )
    show_stubs(stubs, as_json)


@click.command(short_help="Remove what nothing names, and free the file's space.")
@click.option(
    "--grace",
    callback=length,
    default="1d",
    show_default=True,
    metavar="AGE",
    help="Leave artifacts that were put, or whose run left, within this time.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@common
def vacuum(grace: float, dry_run: bool, log: str | None, as_json: bool) -> None:
    """Remove artifacts that no event names any more, and give free space of the log's file back.

    Engines may work on the log; they cannot record anything while the file is written anew, which
    takes its size once more on the disk, and some seconds for a gigabyte. Killed on the way, the
    log is whole.

    \b
    Examples:
      semantica-pipeline vacuum --dry-run
      semantica-pipeline vacuum --grace 1h
    """
    import msgspec

    from ..engine.retention import vacuum as sweep
    from .finding import opened
    from .terminal import counted, print_json

    with opened(log) as opened_log:
        done = sweep(opened_log.store, grace=grace, dry_run=dry_run)
    if as_json:
        print_json({**msgspec.structs.asdict(done), "dry_run": dry_run})
    else:
        would = "would remove" if dry_run else "removed"
        freed = "" if dry_run else f"; the file is {done.file_bytes:,} bytes smaller"
        what = counted(done.artifacts, "artifact")
        click.echo(f"{would} {what} of {done.artifact_bytes:,} bytes{freed}")


def newest_stubs(
    store: Store, name: str | None, status: str | None, limit: int
) -> list[RunArchived]:
    """The runs that have left, the last one first."""
    from ..events.retention import stubs

    chosen = [one for one in stubs(store, name) if status in (None, one.status)]
    return chosen[::-1][:limit]


def show_stubs(stubs: Sequence[RunArchived], as_json: bool) -> None:
    """A table of runs that have left, or a JSON array."""
    from .terminal import moment, print_json, print_table

    if as_json:
        print_json(stubs)
    elif not stubs:
        click.echo("no such runs")
    else:
        lines = [
            (
                one.run,
                one.status,
                moment(one.ended_at),
                f"{one.events:,}",
                one.name,
                one.to or "discarded",
            )
            for one in stubs
        ]
        headings = ("run", "status", "ended", "events", "pipeline", "moved to")
        print_table(headings, lines, right=(3,), status=1)


COMMANDS = (backup, archive, vacuum)
