"""The commands that look before anything runs: at pipelines, their parts, and the machine."""

from __future__ import annotations

import click

from . import completing
from .options import (
    common,
    config_option,
    json_option,
    path_option,
    pipeline_source,
    settings_option,
)
from .terminal import PROGRAM


@click.command(short_help="Find what is wrong with a pipeline without running it.")
@pipeline_source
@settings_option
@click.option(
    "--strict/--lenient", default=True,
    help="Whether a step whose type has no handler is an error, as for run. [default: strict]",
)  # fmt: skip
@click.option(
    "--performance",
    is_flag=True,
    help="Estimate what a run takes, from how long earlier runs in the log took.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Steps in flight at once, for the estimate. [default: as for run]",
)
@path_option
@config_option
@common
def validate(
    target: str,
    settings: tuple[str, ...],
    strict: bool,
    performance: bool,
    workers: int | None,
    paths: tuple[str, ...],
    config: str | None,
    log: str | None,
    as_json: bool,
) -> int:
    """Find what is wrong with a pipeline, without running it. TARGET is what run takes.

    The exit status is 2 when it is not valid. The log is opened for --performance only.

    \b
    Examples:
      semantica-pipeline validate documents.yaml
      semantica-pipeline validate documents.yaml --set chunk.chunk_size=300 --lenient
      semantica-pipeline validate flows/nightly.py:pipeline --json | jq .errors
      semantica-pipeline validate documents.yaml --performance --workers 8
    """
    from ..engine.validator import PipelineValidator
    from .inspecting import check

    if performance:
        from .performance import check_log

        check_log(log)
    elif log is not None or workers is not None:
        raise click.UsageError("--log and --workers are for the estimate: add --performance")
    validator = PipelineValidator(log=log, workers=workers)
    options = {"strict": strict, "check_performance": performance}
    return check(validator, target, settings, paths, config, options, as_json=as_json)


@click.command(short_help="List the types of steps, or the configuration of one.")
@click.argument("kind", metavar="[TYPE]", required=False, shell_complete=completing.types)
@json_option
def steps(kind: str | None, as_json: bool) -> None:
    """List the types of steps that need no handler, or say what the steps of TYPE can be told.

    \b
    Examples:
      semantica-pipeline steps
      semantica-pipeline steps chunk
    """
    from .catalogue import show_type, show_types

    if kind is None:
        show_types(as_json)
    else:
        show_type(kind, as_json)


@click.command(short_help="List the templates of pipelines, or show one.")
@click.argument("name", required=False, shell_complete=completing.templates)
@click.option("--category", metavar="CATEGORY", help="Only templates of this category.")
@config_option
@json_option
def templates(name: str | None, category: str | None, config: str | None, as_json: bool) -> None:
    """List the templates of pipelines, or show the steps of the one called NAME.

    A template's name can be given as TARGET to run, validate and graph. Its settings in a
    configuration file count when it is shown.

    \b
    Examples:
      semantica-pipeline templates
      semantica-pipeline templates document_processing
      semantica-pipeline run document_processing --set ingest.source=letters
    """
    from .catalogue import show_template, show_templates

    if name is None:
        show_templates(category, as_json)
    else:
        show_template(name, config, as_json)


@click.command(short_help="Check that pipelines can run here, and that the log is whole.")
@config_option
@common
def doctor(config: str | None, log: str | None, as_json: bool) -> int:
    """Check that pipelines can run here: Python, SQLite, disk, libraries, handlers, settings, and
    the log.

    Nothing is changed. The exit status is 1 when something fails.

    \b
    Examples:
      semantica-pipeline doctor
      semantica-pipeline doctor --log runs.db --json
    """
    from .doctor import examine

    return examine(log, config, as_json)


@click.command(short_help="Print the script by which a shell completes this program.")
@click.argument("shell", type=click.Choice(completing.SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options, runs and pipelines.

    \b
    Examples:
      eval "$(semantica-pipeline completion bash)"                 # in ~/.bashrc
      eval "$(semantica-pipeline completion zsh)"                  # in ~/.zshrc
      semantica-pipeline completion fish > ~/.config/fish/completions/semantica-pipeline.fish
    """
    click.echo(completing.script(shell, context.find_root().command, PROGRAM))


COMMANDS = (validate, steps, templates, doctor, completion)
