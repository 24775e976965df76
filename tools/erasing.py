"""The command that erases an encrypted run, and what ``status`` says of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..events.envelope import CLEAR
from .options import common, one_run

if TYPE_CHECKING:
    from ..events.store import Store
    from ..projections.status import Report


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


def encryption(store: Store, told: Report) -> str:
    """The line that ``status`` has of an encrypted run; of any other, nothing."""
    from ..engine.encrypting import is_readable
    from ..events.machines import PipelineStatus
    from ..events.sealed_store import keys_of

    if told.status is PipelineStatus.ERASED:
        return f"erased; it had {told.ended}. Its contents cannot be read any more\n"
    if is_readable(store, told.encoding):
        return "" if told.encoding == CLEAR else "encrypted\n"
    return f"encrypted; its key is not in {keys_of(store).place}, so contents are not shown\n"


COMMANDS = (erase,)
"""The commands about encrypted runs."""
