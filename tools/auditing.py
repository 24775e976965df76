"""The commands for whoever has to trust a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .group import Commands
from .options import common, one_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..events.store import Store
    from ..events.verify import Fault, Verification

MANY = 10_000
"""Faults that are listed; more are counted."""


@click.group(cls=Commands, short_help="Prove that a log is as it was written.")
def audit() -> None:
    """Prove that a log is as it was written."""


@audit.command(short_help="Compute every digest anew, and name every fault.")
@one_run(required=False)
@click.option("--archives", is_flag=True, help="Compare the logs that runs were moved to, too.")
@common
def verify(run: str | None, archives: bool, log: str | None, as_json: bool) -> int:
    """Compute every digest of the log, or of RUN, anew, and name every fault with its place.

    Checked are the digest chains of all streams, artifacts, the file, the directory and the
    snapshots against the events, and the stubs of archived runs. The exit status is 1 if anything
    is not as it was written. Cutting off the newest events of a run, with all that was derived
    from them, leaves no trace in the log: compare a backup.

    \b
    Examples:
      semantica-pipeline audit verify
      semantica-pipeline audit verify nightly --json
      semantica-pipeline audit verify --archives --log runs.db
    """
    from ..events.errors import LogCorrupt, NotALog
    from ..events.verify import Fault, Verification
    from .finding import find, opened, place_of
    from .terminal import clean, one_line, paint, print_json

    place = place_of(log)
    listed: list[Fault] = []
    count, checked = 0, None

    def told(fault: Fault) -> None:
        nonlocal count
        count += 1
        if count > MANY:
            return
        if as_json:
            listed.append(fault)
        else:
            click.echo(f"{paint('fault:', 'red')} {one_line(clean(str(fault)))}")

    if place is not None and place.exists() and place.is_file() and not place.stat().st_size:
        told(Fault(f"{place} is empty"))
    else:
        try:
            with opened(log) as opened_log:
                store = opened_log.store
                run_id = None if run is None else find(store, run).run_id
                checked = Verification(store, run_id)
                for fault in _faults(store, checked, archives):
                    told(fault)
        except (LogCorrupt, NotALog) as error:
            told(Fault(str(error)))
    facts = _facts(checked)
    if as_json:
        print_json({"ok": not count, "faults": count, **facts, "listed": listed})
    else:
        what = ", ".join(f"{number:,} {name}" for name, number in facts.items())
        verdict = paint(f"{count:,} faults", "red") if count else paint("whole", "green")
        click.echo(f"{verdict}: {what}")
    return 1 if count else 0


def _faults(store: Store, checked: Verification, archives: bool) -> Iterator[Fault]:
    from ..projections.consistency import snapshot_faults

    broken = set()
    for fault in checked.faults():
        broken.add(fault.stream)
        yield fault
    yield from snapshot_faults(store, [name for name in checked.streams if name not in broken])
    if archives:
        from ..engine.retention import archive_faults

        yield from archive_faults(checked.stubs.values())


def _facts(checked: Verification | None) -> dict[str, Any]:
    if checked is None:
        return {"events": 0, "streams": 0, "artifacts": 0, "archived": 0}
    return {
        "events": checked.events,
        "streams": len(checked.streams),
        "artifacts": checked.artifacts,
        "archived": len(checked.stubs),
    }


COMMANDS = (audit,)
