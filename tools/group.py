"""The frame of the command line: names with suggestions, and errors in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..events.errors import PipelineError, nearest
from .terminal import PROGRAM, complain, finish_streams, prepare_streams, silence

DEBUG = "SEMANTICA_DEBUG"
BAD_INPUT = 2
INTERRUPTED = 130


class Commands(click.Group):
    """A group whose every outcome is an exit status, and every error one line."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.list_commands(ctx)
            hint = nearest(name, known) or f"; commands: {', '.join(known)}"
            raise click.UsageError(f"no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read has seen enough
            silence(sys.stdout)
            return 0
        return status

    def main(  # type: ignore[override]  # never returns
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        prepare_streams()
        extra["standalone_mode"] = False
        try:
            status = super().main(args, prog_name, **extra)
        except BaseException as error:
            status = _explain(error)
        finish_streams()
        sys.exit(status or 0)


def _explain(error: BaseException) -> int:
    """Say what is wrong in a line; returns the exit status."""
    if os.environ.get(DEBUG) and not isinstance(error, (SystemExit, click.ClickException)):
        traceback.print_exception(error)
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else BAD_INPUT
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else PROGRAM
            complain("error", f"{error.format_message().rstrip('.')} (see {path} --help)")
        case click.ClickException():
            complain("error", error.format_message())
        case PipelineError() | ValueError():
            complain("error", str(error))
        case OSError():
            named = f"{error.filename}: " if error.filename else ""
            complain("error", f"{named}{error.strerror or error}")
        case _:
            hint = "" if os.environ.get(DEBUG) else f"; {DEBUG}=1 shows where"
            complain("error", f"unexpected {type(error).__name__}: {error}{hint}")
    return BAD_INPUT
