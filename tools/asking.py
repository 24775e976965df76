"""The commands that ask a log: what ran, how it goes, and when everything was."""

from __future__ import annotations

import signal
import sys
from itertools import islice

import click

from ..events.lines import LEVELS, Wanted
from . import completing
from .options import common, one_run, path_option


@click.command(short_help="List the runs in the log.")
@click.option("--name", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--status", metavar="STATUS", help="Only runs in this status.")
@click.option("--since", metavar="TIME", help="Only runs that were submitted then or later.")
@click.option("--until", metavar="TIME", help="Only runs that were submitted before then.")
@click.option("--error", metavar="TEXT", help="Only runs with an error that has TEXT in it.")
@click.option("--sort", type=click.Choice(("submitted", "changed", "took", "name", "status")),
              default="submitted", show_default=True,
              help="The newest, the longest first; words by the alphabet.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=50, metavar="N", show_default=True,
              help="At most so many.")  # fmt: skip
@click.option("--archived", is_flag=True, help="Runs that have left the log, and where they are.")
@common
def runs(
    name: str | None,
    status: str | None,
    since: str | None,
    until: str | None,
    error: str | None,
    sort: str,
    limit: int,
    archived: bool,
    log: str | None,
    as_json: bool,
) -> None:
    """List the runs in the log, newest first.

    A TIME is '2026-07-01', '2026-07-01 12:30', '12:30' of today, or '2h' ago.

    \b
    Examples:
      semantica-pipeline runs
      semantica-pipeline runs --status failed --json
      semantica-pipeline runs --status queued
      semantica-pipeline runs --since 7d --error 'connection refused' --sort took
      semantica-pipeline runs --archived
    """
    from ..events.errors import nearest
    from ..events.machines import PipelineStatus
    from .choosing import Choice
    from .finding import opened
    from .show import show_runs

    chosen = Choice.of(since, until, error, sort)
    known = [str(one) for one in PipelineStatus]
    status = "pending" if status == "queued" else status
    if status is not None and status.lower() not in known:
        hint = nearest(status, known) or f"; statuses: {', '.join(known)}"
        raise click.UsageError(f"no status {status!r}{hint}")
    statuses = [PipelineStatus(status.lower())] if status else None
    with opened(log) as opened_log:
        if archived:
            if chosen.narrows:
                raise click.UsageError("--archived goes with --name, --status and --limit alone")
            from .keeping import newest_stubs, show_stubs

            show_stubs(newest_stubs(opened_log.store, name, status, limit), as_json)
            return
        rows = chosen.rows(opened_log.store, name, statuses, limit)
        show_runs(opened_log.store, rows, as_json)


@click.command(short_help="Show how a run and its steps are doing.")
@one_run(required=False)
@click.option("--all", "everything", is_flag=True, help="List every step, however many.")
@common
def status(run: str | None, everything: bool, log: str | None, as_json: bool) -> None:
    """Show how RUN, or the newest run, and its steps are doing.

    \b
    Examples:
      semantica-pipeline status
      semantica-pipeline status nightly --json
    """
    from .finding import find, newest, opened
    from .show import show_status

    with opened(log) as opened_log:
        row = newest(opened_log.store) if run is None else find(opened_log.store, run)
        show_status(opened_log.store, row, everything=everything, as_json=as_json)


@click.command(short_help="List what is recorded of a run.")
@one_run(required=False)
@click.option("--type", "types", multiple=True, metavar="TYPE",
              help="Only events of this type, such as StepFailed. May be repeated.")  # fmt: skip
@click.option("--step", "steps", multiple=True, metavar="STEP",
              help="Only events of this step. May be repeated.")  # fmt: skip
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N",
              help="Only events after version N.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--follow", is_flag=True, help="Go on until the run ends, as things happen.")
@common
def events(
    run: str | None,
    types: tuple[str, ...],
    steps: tuple[str, ...],
    after: int,
    limit: int | None,
    follow: bool,
    log: str | None,
    as_json: bool,
) -> None:
    """List what is recorded of RUN, or of the newest run: version, time, event, step, and more.

    With --json, each line is an object with the whole event.

    \b
    Examples:
      semantica-pipeline events
      semantica-pipeline events nightly --type StepFailed --type StepTimedOut
      semantica-pipeline events nightly --step load --follow
      semantica-pipeline events 0197c2 --json | jq .payload
    """
    from ..events.errors import nearest
    from ..events.upcasters import EVENT_TYPES
    from .choosing import check_steps, concerns, following
    from .finding import find, newest, opened
    from .show import show_event
    from .terminal import terminal_width

    for kind in types:
        if kind not in EVENT_TYPES:
            hint = nearest(kind, EVENT_TYPES) or f"; types: {', '.join(EVENT_TYPES)}"
            raise click.UsageError(f"no event type {kind!r}{hint}")
    width = terminal_width()
    with opened(log) as opened_log:
        store = opened_log.store
        row = newest(store) if run is None else find(store, run)
        check_steps(store, row, steps)
        read = following(store, row, after) if follow else store.read(row.stream, after)
        chosen = (one for one in read if concerns(one, types, steps))
        for envelope in islice(chosen, limit):
            show_event(envelope, width, as_json)
            if follow:
                sys.stdout.flush()


@click.command(short_help="List what the handlers of a run have said.")
@one_run(required=False)
@click.option("--step", metavar="STEP", shell_complete=completing.steps,
              help="Only lines of this step.")  # fmt: skip
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default=LEVELS[0],
              help="Only lines this severe, or more.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="At most so many, the last ones.")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on until the run ends, as things are said.")
@common
def logs(
    run: str | None,
    step: str | None,
    level: str,
    limit: int | None,
    follow: bool,
    log: str | None,
    as_json: bool,
) -> None:
    """List what the handlers of RUN, or of the newest run, have said by context.log: time, level,
    step (and the attempt, from the second on), message, and what was said with it.

    Lines below the level of the setting log_level (info, if it is not set) are not kept. With
    --json, each line is an object.

    \b
    Examples:
      semantica-pipeline logs
      semantica-pipeline logs nightly --step load --level warning
      semantica-pipeline logs nightly --limit 20 --follow
      semantica-pipeline logs 0197c2 --json | jq -r .event
    """
    from .choosing import check_steps
    from .finding import find, newest, opened
    from .lines import show_lines

    with opened(log) as opened_log:
        store = opened_log.store
        row = newest(store) if run is None else find(store, run)
        check_steps(store, row, () if step is None else (step,))
        wanted = Wanted(step, level=level.lower())
        show_lines(store, row, wanted, limit, follow=follow, as_json=as_json)


@click.command(short_help="Watch a run until it ends.")
@one_run(required=False)
@click.option("--all", "everything", is_flag=True, help="Watch all runs that go on, in a table.")
@common
def watch(run: str | None, everything: bool, log: str | None, as_json: bool) -> int:
    """Watch RUN, or the newest run, until it ends: how far it is, and what each step does or waits
    for. Ctrl-C leaves; the run goes on.

    The exit status is that of the run. With --json, each change is an object on a line.

    \b
    Examples:
      semantica-pipeline watch
      semantica-pipeline watch nightly && echo done
      semantica-pipeline watch --all
      semantica-pipeline watch nightly --json | jq .percentage
    """
    from .finding import find, newest, opened
    from .watching import watch as follow
    from .watching import watch_all

    if everything and run is not None:
        raise click.UsageError("--all watches every run; leave RUN out")
    # As Ctrl-C, which leaves the terminal as it was.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened(log) as opened_log:
        store = opened_log.store
        if everything:
            return watch_all(store, as_json=as_json)
        row = newest(store) if run is None else find(store, run)
        return follow(store, row, as_json=as_json)


@click.command(short_help="Draw when each step of a run ran.")
@one_run(required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, metavar="N", show_default=True,
              help="At most so many steps: failed ones, then the longest.")  # fmt: skip
@click.option("--output", metavar="FILE", help="Draw it here instead, as .svg or .html.")
@common
def timeline(
    run: str | None, limit: int, output: str | None, log: str | None, as_json: bool
) -> None:
    """Draw when each step of RUN, or of the newest run, ran: a bar for each attempt.

    An attempt without success ends in a cross; dots are the wait for a retry. With --json, all
    attempts with their times, in nanoseconds since 1970.

    \b
    Examples:
      semantica-pipeline timeline
      semantica-pipeline timeline nightly --limit 20
      semantica-pipeline timeline nightly --output nightly.html
      semantica-pipeline timeline 0197c2 --json | jq '.attempts[] | select(.outcome == "failed")'
    """
    from .finding import find, newest, opened
    from .gantt import show_timeline

    with opened(log) as opened_log:
        store = opened_log.store
        row = newest(store) if run is None else find(store, run)
        if output is not None:
            from .drawing.files import draw_timeline

            draw_timeline(store, row, output, limit=limit, as_json=as_json)
            return
        show_timeline(store, row, limit=limit, as_json=as_json)


@click.command(short_help="Draw a pipeline or a run, or the knowledge graph it has built.")
@click.argument("source", metavar="TARGET|RUN", shell_complete=completing.sources)
@click.option("--output", metavar="FILE", help="Draw the knowledge graph that RUN has built: "
              ".svg, or .html to look around in. More of it: knowledge.")  # fmt: skip
@click.option("--steps", is_flag=True, help="With --output: draw the steps, by their states.")
@path_option
@common
def graph(
    source: str,
    output: str | None,
    steps: bool,
    paths: tuple[str, ...],
    log: str | None,
    as_json: bool,
) -> None:
    """Draw the graph of a pipeline or a recorded run as a Mermaid flowchart; a run with the state
    of each step. TARGET is what run takes; a plain word is a RUN or, if there is none, a template.

    \b
    Examples:
      semantica-pipeline graph documents.yaml > documents.mmd
      semantica-pipeline graph nightly
      semantica-pipeline graph flows/nightly.py:pipeline --json
      semantica-pipeline graph nightly --output nightly.svg
      semantica-pipeline graph nightly --steps --output steps.svg
    """
    if steps:
        if output is None:
            raise click.UsageError("--steps says what --output draws; name a file")
        from .drawing.files import draw_graph
        from .inspecting import drawing_of

        draw_graph(drawing_of(source, log, paths), output, as_json=as_json)
        return
    if output is not None:
        from .knowledge import save_graph

        save_graph(source, output, log, as_json=as_json)
        return
    from .inspecting import show_graph

    show_graph(source, log, paths, as_json=as_json)


COMMANDS = (runs, status, events, logs, watch, timeline, graph)
