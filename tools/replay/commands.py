"""The commands that go back in a history: to see it again, to compare it, to understand it, and
to go on from there otherwise."""

from __future__ import annotations

from typing import Any

import click

from .. import completing
from ..options import common, executing, one_run, path_option, pipeline_option, settings_option


@click.command(short_help="Tell why a run, or a step, is where it is.")
@one_run(required=False)
@click.argument("step", required=False, shell_complete=completing.steps)
@click.option("--all", "everything", is_flag=True, help="Tell every step of note, every event.")
@common
def explain(
    run: str | None, step: str | None, everything: bool, log: str | None, as_json: bool
) -> None:
    """Tell why RUN, or the newest run, is where it is: what it waits for, why it failed, what was
    tried again and when, who did what with it. With STEP, the same of that step.

    \b
    Examples:
      semantica-pipeline explain
      semantica-pipeline explain nightly load
      semantica-pipeline explain 0197c2 --json | jq .because
    """
    from ..finding import find, newest, opened
    from .explaining import show

    with opened(log) as opened_log:
        store = opened_log.store
        row = newest(store) if run is None else find(store, run)
        show(store, row, step, everything=everything, as_json=as_json)


@click.command(short_help="Rebuild a run from its events; go back in its history.")
@one_run(required=False)
@click.option("--to", "when", metavar="VERSION|TIME",
              help="Show the state after that version, or at that time.")  # fmt: skip
@click.option("--step", "stepwise", is_flag=True,
              help="Walk through it event by event; on a terminal by keys.")  # fmt: skip
@click.option("--against", "target", metavar="TARGET", shell_complete=completing.targets,
              help="Decide anew with this pipeline; say where it goes another way.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="With --to: list every step.")
@click.option("--limit", type=click.IntRange(min=1), default=100, metavar="N", show_default=True,
              help="With --against and no RUN: at most so many runs, the newest ones.")  # fmt: skip
@path_option
@common
def replay(
    run: str | None,
    when: str | None,
    stepwise: bool,
    target: str | None,
    everything: bool,
    limit: int,
    paths: tuple[str, ...],
    log: str | None,
    as_json: bool,
) -> int | None:
    """Rebuild every projection of RUN, or of the newest run, from its events alone, and compare it
    with what is stored: the directory, the snapshot, the views. Nothing is changed; the exit
    status is 1 if something differs.

    --to shows the run as it was. A time is '2026-07-01 12:30', '12:30:05' of today, or '2h' ago.

    --against tells whether changed code can be trusted with what is going on: every decision that
    is recorded is taken anew by the pipeline TARGET, on what handlers returned and raised then,
    and the first one that comes out otherwise is named. Without RUN, all runs of its name. The
    exit status is 1 if any would go another way. RUN may also be a file of testing.record_run
    (.jsonl), so that histories can be kept with the code and judged by its tests.

    \b
    Examples:
      semantica-pipeline replay nightly
      semantica-pipeline replay nightly --to 12
      semantica-pipeline replay nightly --to '2026-07-01 12:30'
      semantica-pipeline replay nightly --step
      semantica-pipeline replay --against flows/nightly.py:pipeline
    """
    from ..finding import newest
    from .moments import history

    if sum((when is not None, stepwise, target is not None)) > 1:
        raise click.UsageError("--to, --step and --against exclude one another")
    if target is not None:
        from ...engine.configuration import PipelineConfig
        from ..inspecting import find_modules
        from ..loading import load
        from .against import against

        find_modules(paths)
        pipeline = load(target, PipelineConfig())
        with history(log, run) as meant:
            return against(meant.store, meant.row, pipeline, limit, as_json=as_json)
    with history(log, run) as meant:
        store = meant.store
        row = meant.row or newest(store)
        if when is not None:
            from .replaying import show_then

            show_then(store, row, when, everything=everything, as_json=as_json)
            return None
        if stepwise:
            from .walking import walk

            walk(store, row, as_json=as_json)
            return None
        from .replaying import rebuild

        return rebuild(store, row, meant.summary, as_json=as_json)


@click.command(short_help="Compare two runs, or two moments of one.")
@click.argument("a", shell_complete=completing.runs)
@click.argument("b", shell_complete=completing.runs)
@common
def diff(a: str, b: str, log: str | None, as_json: bool) -> int:
    """Compare two runs: definition, configuration, code, inputs and outputs by digest, errors,
    durations; and name the first step that differs though all before it is the same.

    A and B are runs, or moments of runs: RUN@VERSION or RUN@TIME, with a time as for replay --to.
    The exit status is 1 if more differs than durations and numbers of attempts.

    \b
    Examples:
      semantica-pipeline diff 0197c2 0197d8
      semantica-pipeline diff nightly@12 nightly
      semantica-pipeline diff 'nightly@2026-07-01 12:30' nightly --json
    """
    from ..finding import opened
    from .differing import diff as compare

    with opened(log) as opened_log:
        return compare(opened_log.store, a, b, as_json=as_json)


@click.command(short_help="Run again from a step on, otherwise.")
@one_run()
@click.option(
    "--from", "from_steps", multiple=True, metavar="STEP", shell_complete=completing.steps,
    help="Do this step again, and what follows from it. May be repeated.",
)  # fmt: skip
@settings_option
@click.option("--run-id", metavar="ID", help="Of the new run.")
@pipeline_option
@click.option("--output", metavar="FILE", help="Write the output here, as JSON if it has a form.")
@executing
@common
def fork(
    run: str,
    from_steps: tuple[str, ...],
    settings: tuple[str, ...],
    run_id: str | None,
    target: str | None,
    output: str | None,
    log: str | None,
    as_json: bool,
    **engine: Any,
) -> int:
    """Begin a new run from the middle of RUN, whatever became of that, and wait for its end.

    Done again are the steps --from, those that --set configures otherwise, those that were not
    completed, and all that follows from them. The other outputs are taken over. The new run names
    the one that it was forked from; compare them with diff.

    \b
    Examples:
      semantica-pipeline fork nightly --from chunk --set chunk.chunk_size=300
      semantica-pipeline fork 0197c2 --set fetch.timeout=60 --run-id nightly-again
    """
    from ..executing import EngineOptions, finish
    from ..finding import find, opened
    from ..loading import load
    from .forking import fork as begin

    options = EngineOptions(as_json=as_json, **engine)
    with opened(log, durability=options.durability) as opened_log:
        row = find(opened_log.store, run)
        options.prepare()
        pipeline = load(target, options.configuration) if target else None
        ended = begin(opened_log, options, row, pipeline, from_steps, settings, run_id)
        return finish(opened_log, ended, as_json=as_json, output=output)


COMMANDS = (explain, replay, diff, fork)
