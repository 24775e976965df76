"""What handlers have said, for people and for machines."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from ..events.directory import RunRow
from ..events.errors import PipelineError
from ..events.lines import LogLine, Wanted, said
from ..events.store import Store
from .choosing import to_come
from .terminal import clean, moment, paint, print_json, terminal_width

COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}
_PLAIN = re.compile(r"[^\s=\"'{}\[\]]+")


def show_lines(
    store: Store, row: RunRow, wanted: Wanted, limit: int | None, *, follow: bool, as_json: bool
) -> None:
    """Print lines of a run: the last ones, at most ``limit``; also those to come, to follow it."""
    lines = store.lines
    chosen: Iterator[LogLine]
    if limit is not None:
        chosen = iter(lines.newest(row.run_id, limit, wanted=wanted))
    else:
        chosen = lines.read(row.run_id, wanted=wanted)
    last = 0
    for line in chosen:
        show_line(line, as_json)
        last = line.id
    if follow:
        for line in _to_come(store, row, wanted, last):
            show_line(line, as_json)
            sys.stdout.flush()
    elif not last and not as_json:
        narrowed = "" if wanted == Wanted() else " of that kind"
        print(f"nothing{narrowed} was said in run {row.run_id} ({clean(row.name)})")


def _to_come(store: Store, row: RunRow, wanted: Wanted, after: int) -> Iterator[LogLine]:
    """Lines with a higher id, as they are said, until the run is over."""
    read = partial(store.lines.read, row.run_id, wanted=wanted)
    return to_come(store, row, after, read, lambda line: line.id)


def show_line(line: LogLine, as_json: bool, indent: str = "") -> None:
    """One line: time, level, step and attempt, the message, what was said with it; a traceback, and
    other texts of several lines, below it."""
    if as_json:
        print_json(line_json(line))
        return
    width = terminal_width()
    wide = width is None or width >= 120
    at = moment(line.at)[0 if wide else 11 :] + f".{line.at // 10**6 % 1000:03d}"
    step = line.step if line.attempt == 1 else f"{line.step} ({line.attempt})"
    try:
        fields = said(line)
    except PipelineError as error:
        fields = {"event": str(error)}
    message = clean(str(fields.pop("event", "")))
    about = {"item": line.item} if line.item is not None else {}
    short = [f"{clean(key)}={_value(one)}" for key, one in (about | fields).items() if _fits(one)]
    head = f"{indent}{at}  {line.level:<8}  {clean(step):<14}  "
    print(paint("  ".join([head + message, *short]).rstrip(), COLOURS.get(line.level)))
    for key, value in fields.items():
        if not _fits(value):
            print(f"{indent}    {clean(key)}:")
            for one in str(value).splitlines():
                print(f"{indent}      {clean(one)}")


def line_json(line: LogLine) -> dict[str, Any]:
    """A whole line, for machines; ``at`` is ns since 1970."""
    fields = said(line)
    event = fields.pop("event", "")
    head = {"id": line.id, "run": line.run, "step": line.step, "attempt": line.attempt}
    told = {"item": line.item, "at": line.at, "level": line.level}
    return {**head, **told, "event": event, "fields": fields}


def _fits(value: Any) -> bool:
    """Whether a value is no text of several lines."""
    return not (isinstance(value, str) and "\n" in value)


def _value(value: Any) -> str:
    """As it is, if that leaves no doubt, else as JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return clean(value)
    return clean(msgspec.json.encode(value).decode())
