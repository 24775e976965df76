"""The commands that keep a log: copies of it."""

from __future__ import annotations

import click

from .options import common


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
    from .terminal import print_json

    with opened(log) as opened_log:
        made = opened_log.store.backup(Path(file))
    if as_json:
        print_json(msgspec.structs.asdict(made))
    else:
        click.echo(
            f"{made.path}: {made.runs} runs, {made.events} events, {made.artifacts} artifacts, "
            "checked"
        )


COMMANDS = (backup,)
