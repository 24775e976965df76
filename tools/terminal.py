"""What the command line writes, and where: plain text, colours only for people."""

from __future__ import annotations

import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import IO, Any

import click

from ..events.errors import PipelineError

PROGRAM = "semantica-pipeline"
COLOURS = {
    "completed": "green",
    "running": "cyan",
    "pausing": "yellow",
    "paused": "yellow",
    "retrying": "yellow",
    "waiting": "yellow",
    "suspended": "magenta",
    "compensating": "yellow",
    "compensated": "yellow",
    "compensation_failed": "red",
    "rolling_back": "yellow",
    "rolled_back": "red",
    "rollback_failed": "red",
    "stopping": "yellow",
    "stopped": "yellow",
    "cancelling": "red",
    "cancelled": "red",
    "erased": "red",
    "failed": "red",
    "lost": "red",
}
"""By the status of a run or a step; any other stays as it is."""


class BadInput(PipelineError):
    """What the user asks for cannot be done; the message says what is wrong and what to do."""


def prepare_streams() -> None:
    """No character, not even an undecodable file name, may break the output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: IO[str]) -> None:
    """After a broken pipe: nothing more is written, also not when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def finish_streams() -> None:
    """Write what is still buffered; a reader who has gone must not change the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            silence(stream)


def is_terminal(stream: IO[str]) -> bool:
    """Whether somebody looks at ``stream`` on a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None, stream: IO[str] | None = None) -> str:
    """``text`` in a colour, if ``stream`` (standard output) shows colours and they are wanted."""
    if colour is None or os.environ.get("NO_COLOR") or not is_terminal(stream or sys.stdout):
        return text
    return click.style(text, fg=colour)


def heading(text: str) -> str:
    """``text`` in bold where it is seen: a colour for it would not suit every background."""
    if os.environ.get("NO_COLOR") or not is_terminal(sys.stdout):
        return text
    return click.style(text, bold=True)


def say(text: str) -> None:
    """A line about what is going on, to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def complain(kind: str, text: str) -> None:
    """``error: ...`` or ``warning: ...`` in one line, to standard error."""
    colour = "red" if kind == "error" else "yellow"
    say(f"{paint(kind + ':', colour, sys.stderr)} {one_line(text)}")


def one_line(text: str) -> str:
    """Several lines as one; lists of faults are joined by semicolons."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    joined = lines[0] if lines else ""
    for line in lines[1:]:
        separator = " " if joined.endswith((":", ";", ",", ".")) else "; "
        joined += separator + line.removeprefix("- ")
    return clean(joined)


def clean(text: str) -> str:
    """``text`` without control characters, which could drive a terminal, and lone surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def command(*words: str, log: str) -> str:
    """A command line that can be copied to a shell."""
    return shlex.join([PROGRAM, *words, "--log", log])


def seconds(amount: float) -> str:
    """A duration as people say it: ``0.31 s``, ``1 min 05 s``, ``2 h 03 min``, ``3 d 04 h``."""
    if amount < 9.95:
        return f"{amount:.2f} s" if amount < 0.995 else f"{amount:.1f} s"
    whole = round(amount)
    for size, unit, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small:02d} {below}"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def rate(per_second: float) -> str:
    """A pace as people say it: ``12/s``, ``3.4/min``."""
    units = (("s", 1), ("min", 60), ("h", 3600))
    unit, size = next((one for one in units if per_second * one[1] >= 0.95), units[-1])
    value = per_second * size
    return f"{value:,.0f}/{unit}" if value >= 9.95 else f"{value:.1f}/{unit}"


def moment(at: int, *, brief: bool = False) -> str:
    """A time (ns, UTC) on the local clock, to the second, or in ``brief`` to the minute."""
    from datetime import datetime

    form = "%m-%d %H:%M" if brief else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(at // 10**9).strftime(form)


def amount(value: float) -> str:
    """A counter: whole when it is."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"


def counted(number: int, what: str) -> str:
    """So many of something: ``1 event``, ``1,234 events``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """One JSON object on a line of standard output."""
    import msgspec

    plain = msgspec.to_builtins(value, enc_hook=str)
    # ASCII: a lone surrogate in a step's name is legal in JSON only as an escape.
    sys.stdout.write(json.dumps(plain, allow_nan=False, default=str) + "\n")


Row = Sequence[str]


def print_table(
    headers: Row, rows: Iterable[Row], *, right: Sequence[int] = (), status: int = -1
) -> None:
    """Columns of text; on a terminal all but the first one are cut where the line ends.

    Args:
        right: Columns of figures, aligned to the right.
        status: The column whose words have a colour.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(columns_of, column)) for column in zip(headers, *cells, strict=True)]
    room = _shrink(widths) if is_terminal(sys.stdout) else widths
    for number, row in enumerate([list(headers), *cells]):
        line = []
        for i, cell in enumerate(row):
            text = fitted(cell, room[i], i in right, last=i == len(row) - 1)
            if i == status and number:
                text = paint(text, COLOURS.get(cell.partition(",")[0]))
            line.append(text)
        text = "  ".join(line).rstrip()
        sys.stdout.write(f"{paint(text, 'bright_black') if not number else text}\n")


def _shrink(widths: list[int]) -> list[int]:
    """Widths that fit the terminal: the last column gives way first, then the widest, but never
    the first, which people copy."""
    room = (terminal_width() or 80) - 2 * (len(widths) - 1)
    widths = list(widths)
    kept = min(widths[-1], 24)
    widths[-1] = max(kept, min(widths[-1], room - sum(widths[:-1])))
    while sum(widths) > room and max(widths[1:]) > 8:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    return widths


def terminal_width() -> int | None:
    """Columns of the terminal on standard output; None when it is something else."""
    if not is_terminal(sys.stdout):
        return None
    import shutil

    return shutil.get_terminal_size().columns


def wrapped(text: str, indent: int) -> str:
    """A paragraph, indented; on a terminal in lines that fit it, without breaking a word."""
    import textwrap

    before, width = " " * indent, terminal_width()
    if width is None:
        return before + clean(text)
    return textwrap.fill(
        clean(text),
        max(width, indent + 20),
        initial_indent=before,
        subsequent_indent=before,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns_of(text: str) -> int:
    """Columns of a terminal that ``text`` takes: wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def fitted(text: str, room: int, right: bool = False, *, last: bool = False) -> str:
    """``text`` in so many columns: cut, or filled up, but for the ``last`` of a line."""
    if columns_of(text) > room:
        while text and columns_of(text) > room - 1:
            text = text[:-1]
        text += "…"
    padding = " " * (room - columns_of(text))
    if right:
        return padding + text
    return text if last else text + padding
