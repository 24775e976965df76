"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import completing

F = TypeVar("F", bound=Callable[..., Any])


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}


def span(text: str) -> float | None:
    """A length of time such as ``30d``, in seconds; None if ``text`` is none."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)([smhdw])", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def length(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A time such as 30d, in seconds; None where none is given. Raises BadParameter."""
    found = None if value is None else span(value)
    if value is not None and found is None:
        raise click.BadParameter(f"{value!r} is no time such as 30d (units: s, m, h, d, w)")
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")


def common(function: F) -> F:
    """``--log`` and ``--json``, which every command takes that works on a log."""
    for option in (
        json_option,
        click.option(
            "--log", metavar="PATH",
            help="The event log. [default: $PIPELINE_LOG, else .semantica/pipeline.db]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


config_option = click.option(
    "--config", type=click.Path(), metavar="FILE",
    help="Settings, in YAML or JSON; environment variables go before them. "
    "[default: $PIPELINE_CONFIG, else none]",
)  # fmt: skip
path_option = click.option(
    "--path", "paths", multiple=True, metavar="FOLDER",
    help="Find the modules of handlers here, too. May be repeated.",
)  # fmt: skip
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="STEP.KEY=VALUE",
    help="Configure a step; the value is JSON, else text. May be repeated.",
)  # fmt: skip
pipeline_source = click.argument("target", shell_complete=completing.targets)


def beginning(function: F) -> F:
    """TARGET and the options of commands that begin a run of it."""
    for option in (
        click.option(
            "--encrypt", is_flag=True,
            help="Record nothing of it in clear but names, times and states; see erase.",
        ),
        click.option(
            "--deadline", callback=length, metavar="TIME",
            help="An unfinished run fails after it: 30m, 2h.",
        ),
        click.option(
            "--priority", type=int, default=0, metavar="N", show_default=True,
            help="Higher ones go first.",
        ),
        click.option(
            "--on-failure", type=click.Choice(["stop", "continue", "rollback"]), default="stop",
            help="After a failure start nothing more, or go on with branches that do not depend "
            "on it, or undo what was done.",
        ),
        settings_option,
        click.option("--name", metavar="NAME", help="Another name for the pipeline."),
        click.option(
            "--run-id", metavar="ID", help="Chosen by you: a run of this id is never begun twice."
        ),
        click.option(
            "--data", metavar="JSON", help="The input of the first steps, or @FILE of JSON."
        ),
        pipeline_source,
    ):  # fmt: skip
        function = option(function)
    return function


def one_run(*, required: bool = True) -> Callable[[F], F]:
    """The RUN that a command is about; without ``required`` it may be left out."""
    return click.argument("run", required=required, shell_complete=completing.runs)


def executing(function: F) -> F:
    """The options of commands that execute steps."""
    for option in (
        click.option(
            "--lenient", is_flag=True,
            help="Let a step whose type has no handler pass its input on.",
        ),
        path_option,
        config_option,
        click.option(
            "--durability", type=click.Choice(["full", "normal", "off"]), default="full",
            help="What recorded events survive: full: power loss; normal: a killed process, and "
            "power loss but for the newest ones; off: a killed process.",
        ),
        click.option(
            "--workers", type=click.IntRange(min=1), metavar="N", help="Steps in flight at once."
        ),
    ):  # fmt: skip
        function = option(function)
    return function


pipeline_option = click.option(
    "--pipeline", "target", metavar="TARGET", shell_complete=completing.targets,
    help="Take handlers from this pipeline; needed only where they cannot be found again.",
)  # fmt: skip
