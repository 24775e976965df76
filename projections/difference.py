"""How two runs, or two moments of one, differ, and where they first did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..events.definition import StepDefinition
from .account import Account, Datum, StepAccount

ABSENT = "(absent)"


class Change(msgspec.Struct, frozen=True):
    """Something that is not the same.

    Args:
        what: ``definition``, ``configuration``, ``code`` (a handler was changed), ``input``,
            ``output``, ``status``, ``error`` or ``attempts``.
        key: Which part of it; empty: it as such.
        a, b: What it is here and there; values by their digests.
    """

    what: str
    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        named = f"{self.what} {self.key}" if self.key else self.what
        return f"{named}: {_shown(self.a)} -> {_shown(self.b)}"


class StepDifference(msgspec.Struct, frozen=True):
    """A step with what differs, and the seconds that it took (0: it did not run)."""

    step: str
    changes: tuple[Change, ...]
    seconds: tuple[float, float]

    @property
    def diverges(self) -> bool:
        """Whether more differs than how often it was tried."""
        return any(change.what != "attempts" for change in self.changes)


class Difference(msgspec.Struct, frozen=True):
    """How ``b`` differs from ``a``.

    Args:
        run: What differs of the runs as such.
        steps: All steps of both, in the order of ``a``; those of ``b`` alone at the end.
        first: The step at which they first differ though what it depends on is the same; empty:
            the run as such, or nowhere.
    """

    run: tuple[Change, ...]
    steps: tuple[StepDifference, ...]
    first: str = ""

    @property
    def same(self) -> bool:
        """Whether only durations, and how often was tried, may differ."""
        return not self.run and not any(step.diverges for step in self.steps)


def difference(a: Account, b: Account) -> Difference:
    """Compare what two accounts tell."""
    names = [*a.steps, *(name for name in b.steps if name not in a.steps)]
    steps = tuple(_step(name, a.steps.get(name), b.steps.get(name)) for name in names)
    return Difference(tuple(_run(a, b)), steps, _first(a, b, steps))


def _run(a: Account, b: Account) -> Iterator[Change]:
    if a.name != b.name:
        yield Change("definition", "name", a.name, b.name)
    for key in ("on_failure", "priority", "parallelism", "retry", "policies", "fallbacks"):
        here, there = getattr(a.submitted, key), getattr(b.submitted, key)
        if here != there:
            yield Change("definition", key, here, there)
    if a.data.digest != b.data.digest:
        yield Change("input", "", a.data, b.data)
    here, there = _code(a), _code(b)
    if here != there:
        yield Change("code", "semantica-pipeline", here, there)
    if a.status != b.status:
        yield Change("status", "", a.status, b.status)
    if a.cause != b.cause:
        yield Change("error", "", a.cause, b.cause)


def _code(told: Account) -> str | None:
    return told.processes[-1].code if told.processes else None


def _step(name: str, a: StepAccount | None, b: StepAccount | None) -> StepDifference:
    seconds = (a.seconds if a else 0.0, b.seconds if b else 0.0)
    if a is None or b is None:
        here, there = (one.definition.type if one else ABSENT for one in (a, b))
        return StepDifference(name, (Change("definition", "", here, there),), seconds)
    return StepDifference(
        name, (*definition_changes(a.definition, b.definition), *_became(a, b)), seconds
    )


def definition_changes(a: StepDefinition, b: StepDefinition) -> Iterator[Change]:
    """How a step is defined otherwise."""
    for key in a.__struct_fields__:
        here, there = getattr(a, key), getattr(b, key)
        if here == there:
            continue
        if key == "config":
            for name in sorted({*here, *there}):
                values = here.get(name, ABSENT), there.get(name, ABSENT)
                if values[0] != values[1]:
                    yield Change("configuration", name, *values)
        elif key == "fingerprint":
            yield Change("code", "handler", here, there)
        elif key == "pipeline":
            yield Change("definition", key, here and here.name, there and there.name)
        else:
            yield Change("definition", key, here, there)


def _became(a: StepAccount, b: StepAccount) -> Iterator[Change]:
    here, there = _inputs(a), _inputs(b)
    for key in {**here, **there}:
        values = here.get(key), there.get(key)
        if all(values) and _digest(values[0]) != _digest(values[1]):
            yield Change("input", key, *values)
    if _digest(a.output) != _digest(b.output):
        yield Change("output", "", a.output, b.output)
    for what in ("status", "error"):
        if getattr(a, what) != getattr(b, what):
            yield Change(what, "", getattr(a, what), getattr(b, what))
    if len(a.tried) != len(b.tried):
        yield Change("attempts", "", len(a.tried), len(b.tried))


def _inputs(step: StepAccount) -> dict[str, Datum]:
    """What its last attempt was given, by the step that it is from."""
    tried = [one for one in step.tried if not one.undoes]
    given = step.inputs or (tried[-1].inputs if tried else ())
    return {one.step or "": one for one in given}


def _digest(value: Datum | None) -> str | None:
    return value.digest if value else None


def _first(a: Account, b: Account, steps: tuple[StepDifference, ...]) -> str:
    """Of the steps that diverge though none before them does, the one that began first."""
    diverging = {step.step for step in steps if step.diverges}
    roots = [name for name in diverging if not _before(a, b, name) & diverging]
    return min(roots, key=lambda name: (_began(a, b, name), name), default="")


def _before(a: Account, b: Account, name: str) -> set[str]:
    known = (one.steps[name].definition.dependencies for one in (a, b) if name in one.steps)
    return {dependency for dependencies in known for dependency in dependencies}


def _began(a: Account, b: Account, name: str) -> float:
    """Nanoseconds from a run's submission to the step's first attempt; the later of both."""
    begun = 0.0
    for one in (a, b):
        tried = one.steps[name].tried if name in one.steps else []
        begun = max(begun, tried[0].start - one.submitted_at if tried else float("inf"))
    return begun


def _shown(value: Any) -> str:
    if isinstance(value, Datum):
        return f"{value.digest[:12]} ({value.size:,} bytes)"
    if value is None or value == ABSENT:
        return "(none)" if value is None else ABSENT
    plain = msgspec.to_builtins(value, enc_hook=str)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
