"""What a shell offers after Tab: commands by click, and here the runs and the pipelines.

Whatever goes wrong offers nothing: somebody is typing, and an error would land in their line.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE = "_SEMANTICA_PIPELINE_COMPLETE"
"""The environment variable by which the shell's script asks."""
SHELLS = ("bash", "zsh", "fish")
SUFFIXES = (".yaml", ".yml", ".json", ".py")
OFFERED = 50
"""Newest runs among which one is looked for."""


def script(shell: str, command: click.Command, program: str) -> str:
    """What a shell has to execute so that it completes ``program``."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell!r}")
    asking = kind(command, {}, program, VARIABLE)
    return asking.source_template % asking.source_vars()


def runs(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The names and ids of the newest runs in the log that is meant."""
    from click.shell_completion import CompletionItem

    from .finding import opened
    from .terminal import clean

    offered: dict[str, str] = {}
    with suppress(Exception), opened(context.params.get("log")) as log:
        rows = log.store.runs(limit=OFFERED)
        for row in rows:
            offered.setdefault(row.name, f"the newest run, {row.status}")
        for row in rows:
            offered.setdefault(row.run_id, f"{row.name}, {row.status}")
    return [
        CompletionItem(value, help=clean(told))
        for value, told in offered.items()
        if value.startswith(typed) and value.isprintable()
    ]


def steps(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The steps of the run that was typed before."""
    from click.shell_completion import CompletionItem

    from .finding import find, opened

    with suppress(Exception), opened(context.params.get("log")) as log:
        from ..projections.catchup import load_run

        names = load_run(log.store, find(log.store, context.params["run"]).run_id).graph.index
        chosen = [name for name in names if name.startswith(typed) and name.isprintable()]
        return [CompletionItem(name) for name in chosen[:OFFERED]]
    return []


def targets(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Templates and files of pipelines; deeper in, the shell completes files itself."""
    from click.shell_completion import CompletionItem

    found = []
    with suppress(Exception):
        from .loading import template_names

        found = [CompletionItem(name, help="template") for name in template_names()]
    if "/" not in typed:
        with suppress(OSError):
            found += [
                CompletionItem(path.name)
                for path in sorted(Path().iterdir())
                if path.suffix in SUFFIXES and path.name.isprintable()
            ]
    found = [item for item in found if item.value.startswith(typed)]
    return found or [CompletionItem(typed, type="file")]


def sources(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Runs, templates and files."""
    found = [*runs(context, parameter, typed), *targets(context, parameter, typed)]
    # A request for files besides other offers would make bash drop those.
    return [item for item in found if item.type != "file"] or found


def templates(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """The names of templates."""
    return [item for item in targets(context, parameter, typed) if item.help == "template"]


def types(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The types of steps."""
    from click.shell_completion import CompletionItem

    with suppress(Exception):
        from ..engine.steps.registry import known_types

        return [CompletionItem(kind) for kind in known_types() if kind.startswith(typed)]
    return []
