"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """``--log`` and ``--json``, which every command takes."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines."),
        click.option(
            "--log", metavar="PATH",
            help="The event log. [default: $PIPELINE_LOG, else .semantica/pipeline.db]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def executing(function: F) -> F:
    """The options of commands that execute steps."""
    for option in (
        click.option(
            "--lenient", is_flag=True,
            help="Let a step whose type has no handler pass its input on.",
        ),
        click.option(
            "--path", "paths", multiple=True, metavar="FOLDER",
            help="Find the modules of handlers here, too. May be repeated.",
        ),
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
    "--pipeline", "target", metavar="TARGET",
    help="Take handlers from this pipeline; needed only where they cannot be found again.",
)  # fmt: skip
