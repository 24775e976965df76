"""``diff``: two runs, or two moments, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ...engine.encrypting import is_readable
from ...events.store import Store
from ...projections.difference import Change, Difference, StepDifference, difference
from ..show import event_json
from ..terminal import clean, heading, moment, paint, print_json, print_table, seconds
from .moments import Moment, moment_of

MANY = 50
"""Steps whose durations are listed; the ones that changed most."""


def diff(store: Store, one: str, other: str, *, as_json: bool) -> int:
    """Compare two runs, or moments; returns the exit status, 1 if more than durations differs."""
    a, b = moment_of(store, one), moment_of(store, other)
    accounts = a.account(store), b.account(store)
    found = difference(*accounts)
    closed = [
        one for one, told in zip("ab", accounts, strict=True)
        if not is_readable(store, told.submitted.encoding)
    ]  # fmt: skip
    between = _between(store, a, b)
    if as_json:
        plain = msgspec.to_builtins(found, enc_hook=str)
        sides = {"a": _side(a), "b": _side(b)}
        steps = [step for step in plain["steps"] if step["changes"]]
        durations = {step.step: step.seconds for step in found.steps}
        told = {**plain, "steps": steps, "durations": durations, "between": between}
        print_json({**sides, "same": found.same, "unreadable": closed, **told})
        return int(not found.same)
    print(f"a  {_named(a)}")
    print(f"b  {_named(b)}")
    if closed:
        print(f"not compared: what is encrypted of {' and '.join(closed)}, since no key is here")
    _show(found, between, same_run=a.row.run_id == b.row.run_id)
    return int(not found.same)


def _side(one: Moment) -> dict[str, Any]:
    names = {"run_id": one.row.run_id, "name": one.row.name}
    return {**names, "version": one.version, "at": one.at}


def _named(one: Moment) -> str:
    place = f"version {one.version}, {moment(one.at)}"
    return f"{heading(clean(one.row.name))}  {one.row.run_id}  {place}"


def _between(store: Store, a: Moment, b: Moment) -> dict[str, Any] | None:
    """What happened between two moments of one run: how many events, and the first of them."""
    if a.row.run_id != b.row.run_id or a.version == b.version:
        return None
    first, last = sorted((a.version, b.version))
    event = next(store.read(a.row.stream, first))
    return {"events": last - first, "first": event_json(event)}


def _show(found: Difference, between: dict[str, Any] | None, *, same_run: bool) -> None:
    if found.same:
        alike = "the same moment" if same_run else "they came to the same"
        print(paint(alike, "green"))
    if between:
        event = between["first"]
        step = event["payload"].get("step")
        told = f" of step {step!r}" if step else ""
        print(f"{between['events']:,} events lie between them, the first "
              f"{event['type']}{clean(told)}, version {event['version']}")  # fmt: skip
    elif found.run or found.first:
        _show_first(found)
    for change in found.run:
        print(clean(f"run: {change}"))
    for step in found.steps:
        for change in step.changes:
            print(clean(f"{step.step}: {change}"))
    _show_durations(found.steps)


def _show_first(found: Difference) -> None:
    """Where they first differ: what both were given, or the first step."""
    given = [one for one in found.run if one.what in ("definition", "input", "code")]
    step = next((one for one in found.steps if one.step == found.first), None)
    if given:
        where = f"the run: {', '.join(map(_part, given))}"
    elif step is not None:
        where = f"step {step.step!r}: {', '.join(dict.fromkeys(map(_part, step.changes)))}"
        given_same = not any(one.what == "input" for one in step.changes)
        where += ", though its input is the same" if given_same else ""
    else:
        where = f"the run: {', '.join(map(_part, found.run))}"
    print(f"{paint('first divergence:', 'yellow')} {clean(where)}")


def _part(change: Change) -> str:
    return f"{change.what} {change.key}" if change.key else change.what


def _show_durations(steps: Sequence[StepDifference]) -> None:
    ran = [step for step in steps if any(step.seconds)]
    if not ran:
        return
    chosen = sorted(ran, key=lambda step: -abs(step.seconds[1] - step.seconds[0]))[:MANY]
    names = {step.step for step in chosen}
    print_table(("step", "a", "b", ""), list(_rows(ran, names)), right=(1, 2, 3))
    if len(chosen) < len(ran):
        print(f"and {len(ran) - len(chosen):,} more steps that took about as long (--json)")


def _rows(ran: Sequence[StepDifference], names: set[str]) -> Iterator[tuple[str, ...]]:
    for step in ran:
        if step.step in names:
            a, b = step.seconds
            ratio = f"x {b / a:.2f}" if a and b else ""
            yield step.step, seconds(a) if a else "", seconds(b) if b else "", ratio
