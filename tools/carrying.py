"""The commands that carry runs from one log to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing
from .options import common

if TYPE_CHECKING:
    from ..events.directory import RunRow
    from ..events.store import Store


@click.command(name="export", short_help="Write runs to one file, which any log can take in.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=completing.runs)
@click.option("--all", "everything", is_flag=True, help="Every run of the log.")
@click.option("--output", metavar="FILE", help="The new file.")
@click.option("--with-keys", is_flag=True, help="Write the keys of encrypted runs, too.")
@click.option(
    "--otlp",
    metavar="FILE|URL",
    help="Instead, write OpenTelemetry spans to a new file (OTLP as JSON), or send them to a "
    "collector. Needs the extra otel.",
)
@common
def export_(
    runs: tuple[str, ...],
    everything: bool,
    output: str | None,
    with_keys: bool,
    otlp: str | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Write RUNs to one file: their events and all values, what their handlers have said, and the
    steps of them that are runs.

    'import' takes it into any log, unchanged, and its digests prove that it is. The file is a zip
    of JSON; the same runs give the same bytes. What pools of resources hold does not belong to a
    run and stays here: backup copies the whole log. Encrypted runs stay encrypted, and their keys
    here, unless --with-keys says so.

    With --otlp, each run is a trace, and its steps and their attempts are spans of it.

    \b
    Examples:
      semantica-pipeline export nightly --output nightly.zip
      semantica-pipeline export --all --output runs.zip --log runs.db
      semantica-pipeline export nightly --otlp http://localhost:4318
    """
    from pathlib import Path

    import msgspec

    from ..engine.exporting import export_runs
    from .finding import find, opened
    from .terminal import print_json

    if everything == bool(runs):
        raise click.UsageError("say which runs: RUN, several, or --all")
    if (output is None) == (otlp is None):
        raise click.UsageError("say where to: --output FILE, or --otlp FILE|URL")
    with opened(log) as opened_log:
        store = opened_log.store
        rows = None if everything else [find(store, run) for run in runs]
        if otlp is not None:
            _trace(store, rows, otlp, as_json)
            return
        assert output is not None
        made = export_runs(store, rows, Path(output), with_keys=with_keys)
    if as_json:
        print_json(msgspec.structs.asdict(made))
    else:
        click.echo(
            f"{made.path}: {made.runs:,} runs, {made.events:,} events, "
            f"{made.artifacts:,} artifacts{f', {made.keys:,} keys' if with_keys else ''}, checked; "
            f"{made.lines:,} lines of handlers"
        )


def _trace(store: Store, rows: list[RunRow] | None, target: str, as_json: bool) -> None:
    from ..engine.retention import with_children
    from .otlp import send
    from .terminal import print_json

    every = store.runs()[::-1]
    chosen = every if rows is None else with_children(every, rows)
    spans = send(store, chosen, target)
    if as_json:
        print_json({"path": target, "runs": len(chosen), "spans": spans})
    else:
        click.echo(f"{target}: {len(chosen):,} runs, {spans:,} spans")


@click.command(name="import", short_help="Take runs into the log from a file of export.")
@click.argument("file", type=click.Path())
@click.option(
    "--allow-pickle",
    is_flag=True,
    help="Take in values that are pickled, or encrypted without their key: reading a pickle runs "
    "code of whoever wrote the file.",
)
@common
def import_(file: str, allow_pickle: bool, log: str | None, as_json: bool) -> None:
    """Take the runs of FILE into the log, made if need be, with the same versions and digests.

    All of the file is checked first: if it is damaged, or the log has another history of a run in
    it, nothing changes. Doing it again changes nothing; killed on the way, do it again. A run that
    was unfinished can be recovered here too: then it executes in both logs.

    \b
    Examples:
      semantica-pipeline import nightly.zip
      semantica-pipeline import runs.zip --log elsewhere.db --json
    """
    import time
    from pathlib import Path

    import msgspec

    from ..engine.importing import import_runs
    from .finding import opened
    from .terminal import print_json

    with opened(log, create=Path(file).is_file()) as opened_log:
        store, now = opened_log.store, time.time_ns()
        done = import_runs(store, Path(file), allow_pickle=allow_pickle, now=now)
    if as_json:
        print_json(msgspec.structs.asdict(done))
    else:
        click.echo(
            f"{done.path}: {done.runs:,} runs, {done.events:,} events, {done.artifacts:,} "
            f"artifacts, {done.lines:,} lines of handlers; {done.already:,} runs were here already"
        )


COMMANDS = (export_, import_)
