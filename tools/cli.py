"""The command line: ``semantica-pipeline``, or ``python -m semantica.pipeline``.

The engine, and what shows its work, is imported by the command that needs it, so that ``--help``
answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import (
    alerts,
    asking,
    carrying,
    checking,
    erasing,
    keeping,
    knowledge,
    models,
    queueing,
    searching,
)
from .audit import commands as auditing
from .group import Commands
from .options import (
    beginning,
    common,
    executing,
    one_run,
    pipeline_option,
)
from .replay import commands as replaying
from .terminal import PROGRAM
from .web import command as window

if TYPE_CHECKING:
    from ..engine.core.commands import Control


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"'{PROGRAM} COMMAND --help' explains a command and gives examples. "
    "Exit status: 0 success, 1 the run did not succeed, 2 bad input, 130 interrupted.",
)
@click.version_option(package_name="semantica-pipeline", prog_name=PROGRAM)
@click.pass_context
def cli(context: click.Context) -> None:
    """Run pipelines whose every step is recorded, and go on where they were after a crash.

    A RUN is named by its id, a unique beginning of its id, or its pipeline's name.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# Executing


@cli.command(short_help="Run a pipeline and wait for its end.")
@beginning
@click.option("--output", metavar="FILE", help="Write the output here, as JSON if it has a form.")
@executing
@common
def run(
    target: str,
    data: str | None,
    name: str | None,
    settings: tuple[str, ...],
    run_id: str | None,
    on_failure: str,
    priority: int,
    deadline: float | None,
    encrypt: bool,
    output: str | None,
    log: str | None,
    as_json: bool,
    **engine: Any,
) -> int:
    """Run a pipeline and wait for its end.

    TARGET is a .yaml or .json file, module:attribute, path/file.py:attribute, or the name of a
    template (see templates); the attribute is a pipeline, a builder, or a function without
    parameters that returns one. Relative paths are meant from the current directory.

    \b
    Examples:
      semantica-pipeline run documents.yaml
      semantica-pipeline run documents.yaml --set ingest.source=letters --set chunk.chunk_size=300
      semantica-pipeline run flows/nightly.py:pipeline --data @input.json --output result.json
      semantica-pipeline run my_package.flows:build --run-id nightly-2026-07-01
    """
    from .executing import EngineOptions, execute, finish
    from .finding import opened

    options = EngineOptions(as_json=as_json, **engine)
    pipeline, value = options.load(target, data, name, settings)
    with opened(log, durability=options.durability, create=True) as opened_log:
        ended = execute(
            opened_log,
            options,
            pipeline,
            target,
            data=value,
            run_id=run_id,
            priority=priority,
            on_failure=on_failure,
            deadline=deadline,
            encrypt=encrypt,
        )
        return finish(opened_log, ended, as_json=as_json, output=output)


@cli.command(short_help="Go on with runs whose process has ended.")
@one_run(required=False)
@pipeline_option
@executing
@common
def recover(
    run: str | None, target: str | None, log: str | None, as_json: bool, **engine: Any
) -> int:
    """Go on with runs whose process has ended.

    Takes over RUN, or every unfinished run that nobody works on, and waits for their end. Completed
    steps are not executed again. Paused and stopped runs stay as they are: see resume.

    \b
    Examples:
      semantica-pipeline recover
      semantica-pipeline recover 0197c2 --pipeline flows/nightly.py:pipeline
    """
    from .executing import EngineOptions, finish, take_over
    from .finding import find, holder, opened, unowned
    from .loading import load
    from .terminal import print_json

    options = EngineOptions(as_json=as_json, **engine)
    with opened(log, durability=options.durability) as opened_log:
        store = opened_log.store
        rows = unowned(store)
        reason = "every run has ended, rests, or is being executed"
        if run is not None:
            row = find(store, run, for_control=True)
            rows = [one for one in rows if one.run_id == row.run_id]
            member = holder(store, row)
            reason = f"run {row.run_id} ({row.name}) is {row.status}"
            if member is not None:
                reason += f", executed by process {member.pid} on {member.host}"
        if not rows:
            if as_json:
                print_json({"recovered": 0, "reason": reason})
            else:
                click.echo(f"nothing to recover: {reason}")
            return 0
        options.prepare(several=len(rows) > 1)
        pipeline = load(target, options.configuration) if target else None
        ended = take_over(opened_log, options, rows, pipeline)
        return finish(opened_log, ended, as_json=as_json)


@cli.command(short_help="Go on with a paused, stopped or failed run.")
@one_run()
@pipeline_option
@executing
@common
def resume(run: str, target: str | None, log: str | None, as_json: bool, **engine: Any) -> int:
    """Go on with a run that is paused, was stopped, or has failed.

    If a living process holds the run, that one goes on with it; otherwise it is executed here.
    Completed steps are not executed again.

    \b
    Examples:
      semantica-pipeline resume nightly
      semantica-pipeline resume 0197c2 --log runs.db --workers 8
    """
    from .attending import Ended
    from .executing import EngineOptions, finish
    from .executing import resume as go_on
    from .finding import find, opened
    from .loading import load
    from .show import show_handed

    options = EngineOptions(as_json=as_json, **engine)
    with opened(log, durability=options.durability) as opened_log:
        row = find(opened_log.store, run, for_control=True)
        options.prepare()
        pipeline = load(target, options.configuration) if target else None
        outcome = go_on(opened_log, options, row, pipeline)
        if isinstance(outcome, Ended):
            return finish(opened_log, outcome, as_json=as_json)
        show_handed(row, outcome, as_json)
        return 0


# Control


def _control(log: str | None, run: str, as_json: bool, word: str) -> int:
    from ..engine.core import commands
    from ..events.machines import PipelineStatus
    from .executing import send
    from .finding import find, opened
    from .show import show_control

    status = PipelineStatus
    choices: dict[str, tuple[Control, list[PipelineStatus]]] = {
        "pause": (commands.Pause(), [status.PAUSING, status.PAUSED]),
        "stop": (commands.Stop(), [status.STOPPING, status.STOPPED]),
        "cancel": (commands.Cancel(), [status.CANCELLING, status.CANCELLED]),
    }
    command, expected = choices[word]
    with opened(log) as opened_log:
        row = find(opened_log.store, run, for_control=True)
        row = send(opened_log, row, command, expected)
        show_control(opened_log.store, row, row.status in expected, as_json)
    return 0


@cli.command(short_help="Let running steps finish and start no more, until resumed.")
@one_run()
@common
def pause(run: str, log: str | None, as_json: bool) -> int:
    """Let the steps of RUN that are in flight finish and start no more, until it is resumed.

    A paused run stays paused when its process ends.

    \b
    Example:
      semantica-pipeline pause nightly
    """
    return _control(log, run, as_json, "pause")


@cli.command(short_help="Let running steps finish and end the run; it can be resumed.")
@one_run()
@common
def stop(run: str, log: str | None, as_json: bool) -> int:
    """Let the steps of RUN that are in flight finish, and end it. It can be resumed later.

    \b
    Example:
      semantica-pipeline stop nightly
    """
    return _control(log, run, as_json, "stop")


@cli.command(short_help="Interrupt a run and end it for good.")
@one_run()
@common
def cancel(run: str, log: str | None, as_json: bool) -> int:
    """Interrupt the steps of RUN that are in flight, and end it for good.

    \b
    Example:
      semantica-pipeline cancel 0197c2
    """
    return _control(log, run, as_json, "cancel")


@cli.command(short_help="Send a signal to a step that waits for it.")
@one_run()
@click.argument("name")
@click.argument("value", required=False)
@common
def signal(run: str, name: str, value: str | None, log: str | None, as_json: bool) -> int:
    """Send the signal NAME to RUN, for the step that waits for it, or will.

    VALUE is JSON, or @FILE of JSON; without it, null is sent.

    \b
    Examples:
      semantica-pipeline signal nightly approve true
      semantica-pipeline signal 0197c2 corrections @corrections.json
    """
    from .executing import send_signal
    from .finding import find, opened
    from .show import show_control

    with opened(log) as opened_log:
        row = find(opened_log.store, run, for_control=True)
        row = send_signal(opened_log, row, name, value)
        show_control(opened_log.store, row, True, as_json)
    return 0


# Asking, checking, keeping

for _command in (
    *queueing.COMMANDS,
    *asking.COMMANDS,
    *searching.COMMANDS,
    *knowledge.COMMANDS,
    *checking.COMMANDS,
    *keeping.COMMANDS,
    *carrying.COMMANDS,
    *erasing.COMMANDS,
    *alerts.COMMANDS,
    *auditing.COMMANDS,
    *replaying.COMMANDS,
    *models.COMMANDS,
    *window.COMMANDS,
):
    cli.add_command(_command)


def main() -> None:
    """The entry point. Ends the process with the exit status."""
    cli(prog_name=PROGRAM)
