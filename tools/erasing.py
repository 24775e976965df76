"""The command that erases an encrypted run."""

from __future__ import annotations

import click

from .options import common, one_run


@click.command(short_help="Destroy the key of an encrypted run.")
@one_run()
@click.option("--dry-run", is_flag=True, help="Change nothing; only say which runs it would be.")
@common
def erase(run: str, dry_run: bool, log: str | None, as_json: bool) -> None:
    """Destroy the key of RUN, which was run with --encrypt: its contents are lost for good.

    So are those of the runs within it and of its forks, which have the same key, and of every copy
    of the log. The events stay, with names, times and states, and 'audit verify' finds them whole;
    who erased them, and when, is one of them. A run that has not ended is refused. Killed on the
    way, do it again.

    \b
    Examples:
      semantica-pipeline erase patients-2026-07 --dry-run
      semantica-pipeline erase patients-2026-07 --log runs.db
    """
    import time

    import msgspec

    from ..engine.encrypting import erase
    from ..engine.submission import actor
    from .finding import find, opened
    from .terminal import clean, print_json

    with opened(log) as opened_log:
        store = opened_log.store
        row = find(store, run)
        done = erase(store, row, actor=actor(), now=time.time_ns(), dry_run=dry_run)
    if as_json:
        print_json(msgspec.structs.asdict(done))
        return
    what = "would be erased" if dry_run else "erased"
    for one in done.runs:
        click.echo(f"{clean(one)}: {what}")
    click.echo(f"key {done.key} {'would be' if dry_run else 'is'} destroyed")


COMMANDS = (erase,)
"""The commands about encrypted runs."""
