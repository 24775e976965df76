"""The commands for whoever has to trust a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..group import Commands
from ..options import common, one_run

if TYPE_CHECKING:
    from collections.abc import Callable


@click.group(cls=Commands, short_help="Prove that a log is as it was written.")
def audit() -> None:
    """Prove that a log is as it was written, and tell all that it holds of a run."""


def key_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--key-file``, by which anchors are signed and checked."""
    return click.option(
        "--key-file", metavar="FILE",
        help="The secret key of anchors, 16 bytes or more. [default: $SEMANTICA_AUDIT_KEY]",
    )(function)  # fmt: skip


@audit.command(short_help="Compute every digest anew, and name every fault.")
@one_run(required=False)
@click.option("--archives", is_flag=True, help="Compare the logs that runs were moved to, too.")
@click.option(
    "--anchor", "anchors", multiple=True, metavar="FILE",
    help="Compare what 'audit anchor' wrote. May be repeated.",
)  # fmt: skip
@key_option
@common
def verify(
    run: str | None,
    archives: bool,
    anchors: tuple[str, ...],
    key_file: str | None,
    log: str | None,
    as_json: bool,
) -> int:
    """Compute every digest of the log, or of RUN, anew, and name every fault with its place.

    Checked are the digest chains of all streams, artifacts, the file, the directory and the
    snapshots against the events, and the stubs of archived runs. The exit status is 1 if anything
    is not as it was written. Events that were cut off a run with all that was derived from them,
    a run that was removed, and a history that was written anew leave no trace in the log: an
    anchor that was made before shows them. Of several anchors each tells up to when a history was
    still what it was.

    \b
    Examples:
      semantica-pipeline audit verify
      semantica-pipeline audit verify nightly --json
      semantica-pipeline audit verify --archives --log runs.db
      semantica-pipeline audit verify --anchor /safe/2026-07-01.json --key-file /safe/key
    """
    from .verifying import Verify

    return Verify(log, run, archives=archives, as_json=as_json).show(anchors, key_file)


@audit.command(short_help="Export what proves later that nothing was cut off.")
@click.option("--output", metavar="FILE", help="Write it here, to a new file; else it is shown.")
@key_option
@common
def anchor(output: str | None, key_file: str | None, log: str | None, as_json: bool) -> None:
    """Export the head of every stream: the version and digest of its newest event.

    Keep it where whoever can write the log cannot: 'audit verify --anchor FILE' then finds events
    that were cut off, runs that were removed, and histories that were written anew with digests
    that fit. With a key it is signed (HMAC-SHA-256): nobody without the key can make another one,
    so that it may lie beside the log. A log with faults is refused.

    \b
    Examples:
      semantica-pipeline audit anchor --output /safe/2026-07-01.json
      head -c 32 /dev/urandom > key && semantica-pipeline audit anchor --key-file key
    """
    from .anchoring import export

    export(log, output, key_file, as_json=as_json)


@audit.command(short_help="Tell all that is recorded of a run, in one file.")
@one_run(required=False)
@click.option("--output", metavar="FILE", help="Write it here, as .html or .md; else it is shown.")
@click.option("--anchor", "anchors", multiple=True, metavar="FILE",
              help="Compare what 'audit anchor' wrote. May be repeated.")  # fmt: skip
@key_option
@common
def report(
    run: str | None,
    output: str | None,
    anchors: tuple[str, ...],
    key_file: str | None,
    log: str | None,
    as_json: bool,
) -> int:
    """Tell all that is recorded of RUN, or of the newest run: who asked for it, paused, approved,
    and from which process and version; every step, attempt, input and output, values by their
    digests; from each output the way back to its sources; and whether the record is whole.

    The exit status is 1 if it is not. One file without anything to load; a page prints well.

    \b
    Examples:
      semantica-pipeline audit report nightly --output report.html
      semantica-pipeline audit report nightly --anchor /safe/2026-07-01.json > report.md
    """
    from ..finding import find, newest, opened
    from .anchoring import Anchors
    from .report import report as tell

    given = Anchors(anchors, key_file)
    with opened(log) as opened_log:
        store = opened_log.store
        row = newest(store) if run is None else find(store, run)
        return tell(store, row, output, given, as_json=as_json)


COMMANDS = (audit,)
