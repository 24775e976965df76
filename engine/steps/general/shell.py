"""Shell: a program that somebody else has written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ....events.errors import PipelineError
from ..configured import configured
from ..errors import StepConfigError
from .command import Ended, run
from .credentials import concealed, refuse_literals, revealed, secrets_in
from .payload import to_bytes

if TYPE_CHECKING:
    from ...context import Context

Output = Literal["text", "lines", "json", "bytes", "result"]

_HOPELESS = frozenset({*range(64, 69), 70, 72, 77, 78, 126, 127})
"""Exit statuses that another attempt does not change: wrong usage, input or configuration
(sysexits.h, 4.3BSD), and what POSIX shells say of a program that cannot be executed."""
_EXCERPT = 2000
"""Characters of the standard error output, in the message of an error."""


class CommandFailed(PipelineError):
    """A program ended with an exit status that is no success; another attempt may help."""


class CommandRefused(CommandFailed, ValueError):
    """It would do the same again."""


class Options(msgspec.Struct, kw_only=True):
    """What ``shell`` can be told."""

    command: Annotated[
        list[str] | str,
        msgspec.Meta(
            description="the program and its arguments, a list; with shell=True text that "
            "/bin/sh reads"
        ),
    ]
    shell: Annotated[bool, msgspec.Meta(description="have /bin/sh read the command")] = False
    cwd: Annotated[str | None, msgspec.Meta(description="the folder it runs in")] = None
    env: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="environment variables beside this process's own; env:NAME in a value "
            "stands for one of those"
        ),
    ] = {}
    send_data: Annotated[
        bool,
        msgspec.Meta(
            description="give it the step's input to read: text and bytes as they are, else JSON"
        ),
    ] = False
    output: Annotated[
        Output,
        msgspec.Meta(
            description="what the step gives of the standard output: text, its lines, what it says "
            "as JSON, or bytes; result: a mapping of status, stdout and stderr (its end)"
        ),
    ] = "text"
    statuses: Annotated[
        list[int], msgspec.Meta(description="exit statuses that are a success", min_length=1)
    ] = msgspec.field(default_factory=lambda: [0])
    max_output: Annotated[
        int, msgspec.Meta(ge=1, description="bytes of standard output; more is an error")
    ] = 16 << 20

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise StepConfigError("'command' is empty")
        if isinstance(self.command, str) and not self.shell:
            raise StepConfigError(
                f"'command' is text: give a list, {shlex.split(self.command, posix=False)!r}, or "
                "shell=True to have /bin/sh read it"
            )
        if isinstance(self.command, list) and self.shell:
            raise StepConfigError("'command' is a list: with shell=True give it as text")
        refuse_literals("environment variable", self.env)


@configured(Options)
def shell(
    data: Any,
    context: Context,
    command: list[str] | str,
    shell: bool,
    cwd: str | None,
    env: dict[str, str],
    send_data: bool,
    output: Output,
    statuses: list[int],
    max_output: int,
) -> Any:
    """Run a program, and hand on what it writes.

    It is killed, with all that it has started in its process group, when the step is cancelled or
    takes longer than its ``timeout``, when this process dies, and of what it leaves running when
    it ends. It finds the step's ``context.idempotency_key`` in PIPELINE_IDEMPOTENCY_KEY.

    Exit statuses that mean wrong usage or configuration (64 to 68, 70, 72, 77, 78, 126, 127) are
    not worth a retry, others are. The error tells the end of the standard error output.

    Raises:
        CommandFailed: It ended with a status that is not in ``statuses``, or by a signal.
        CommandRefused: The same, with a status that another attempt does not change; or its output
            is too large, or not what ``output`` says.
        FileNotFoundError: There is no such program or folder.
        StepConfigError: A credential is not in the environment.
        StepInputError: The input cannot be sent.
    """
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    name = command if isinstance(command, str) else shlex.join(command)
    name = "shell: " + (name if len(name) <= 100 else f"{name[:97]}...")
    given = {
        **os.environ,
        "PIPELINE_IDEMPOTENCY_KEY": context.idempotency_key,
        **revealed("shell", "variable", env),
    }
    for secret in secrets_in(env.values()):
        context.conceal(secret)  # also in what the program writes
    cwd = None if cwd is None else os.path.expanduser(cwd)  # noqa: PTH111 (text stays text)
    _find(words[0], cwd, given.get("PATH"))
    sent = to_bytes("shell", data)[0] if send_data else b""
    ended = run(words, context, cwd=cwd, env=given, data=sent, max_output=max_output)
    context.raise_if_cancelled()
    if ended.output is None:
        raise CommandRefused(f"{name} wrote more than max_output={max_output} bytes")
    if ended.status not in statuses:
        kind = CommandRefused if ended.status in _HOPELESS else CommandFailed
        said = _errors(ended)[-_EXCERPT:].strip()
        told = f"{name} {_fate(ended.status)}" + (f": {said}" if said else "")
        raise kind(concealed(told, secrets_in(env.values())))
    return _given(name, ended, ended.output, output)


def _find(program: str, cwd: str | None, path: str | None) -> None:
    """Raise FileNotFoundError where the folder or the program is missing."""
    if cwd is not None and not os.path.isdir(cwd):  # noqa: PTH112
        raise FileNotFoundError(f"shell: there is no folder {cwd!r} (cwd)")
    place = os.path.join(cwd or ".", program) if os.sep in program else program  # noqa: PTH118
    if shutil.which(place, path=path) is None:
        where = "" if os.sep in program else " in PATH"
        raise FileNotFoundError(f"shell: there is no program {program!r}{where}")


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _errors(ended: Ended) -> str:
    return ended.errors.decode("utf-8", "replace")


def _given(name: str, ended: Ended, data: bytes, output: Output) -> Any:
    """What the step gives. Raises CommandRefused."""
    if output == "bytes":
        return data
    try:
        if output == "json":
            return json.loads(data)
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CommandRefused(f"{name} wrote no UTF-8: {error}; say output='bytes'") from error
    except (ValueError, RecursionError) as error:
        raise CommandRefused(f"{name} wrote no JSON: {error}") from error
    if output == "result":
        return {"status": ended.status, "stdout": text, "stderr": _errors(ended)}
    return text.splitlines() if output == "lines" else text
