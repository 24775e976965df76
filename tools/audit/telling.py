"""The account of a run in headings, facts and tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...events.definition import StepDefinition
from ...events.envelope import CLEAR
from ...events.redaction import HIDDEN_TEXT
from ...projections.account import Account, Act, Datum, StepAccount, Tried, lineage
from ..terminal import counted, seconds
from .document import Block, Cell, Code, Facts, Heading, Paragraph, Table

SHORT = 12
"""Characters of a digest that a table shows; the rest is in its title."""
LONG = 300
"""Characters of a value of the configuration."""
DESCRIBED = ("name", "type", "dependencies", "config", "handler", "fingerprint", "pipeline")
"""What a definition has columns of its own for."""


def when(at: int) -> str:
    """A time (ns, UTC) for whoever reads it anywhere: UTC, to the millisecond."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def digest(value: Datum | None) -> Cell:
    """A value by the beginning of its digest."""
    return Code(value.digest[:SHORT], value.digest) if value is not None else ""


def named(name: str, value: Datum) -> Code:
    """The same, with what it is."""
    return Code(f"{name} {value.digest[:SHORT]}", f"{name} {value.digest}")


def _took(nanoseconds: int) -> str:
    """A duration, short ones to the millisecond."""
    length = nanoseconds / 1e9
    return f"{length:.3f} s" if length < 10 else seconds(length)


def account_blocks(told: Account) -> Iterator[Block]:
    """A run, but for its lineage."""
    yield Facts(list(_facts(told)))
    yield Heading(2, "Who did what")
    rows = [(when(act.at), str(act.version), act.actor, _words(act)) for act in told.acts]
    yield Table(("when", "event", "who", "what"), rows)
    yield Heading(2, "Processes that had it")
    yield Table(
        ("from event", "when", "epoch", "process", "engine", "semantica-pipeline"),
        [
            (str(one.version), when(one.at), str(one.epoch), f"{one.pid} on {one.host}",
             Code(one.owner), one.code)
            for one in told.processes
        ],
    )  # fmt: skip
    yield Heading(2, "Steps")
    yield Table(
        ("step", "state", "type", "after", "handler and code", "configuration", "options"),
        [_defined(step) for step in told.steps.values()],
    )
    yield Heading(2, "Every attempt")
    yield Table(
        ("step", "attempt", "began", "took", "outcome", "where", "inputs"),
        [_tried(step, one) for step in told.steps.values() for one in step.tried],
    )
    yield Heading(2, "Outputs")
    yield Table(
        ("step", "digest", "bytes", "event", "where", "of the run"),
        [
            (step.name, Code(step.output.digest), f"{step.output.size:,}",
             str(step.output.version), "artifact" if step.output.artifact else "in the event",
             "yes" if step.name in told.outputs else "")
            for step in told.steps.values()
            if step.output is not None
        ],
    )  # fmt: skip


def _facts(told: Account) -> Iterator[tuple[str, Cell]]:
    submitted, first = told.submitted, told.acts[0]
    yield "pipeline", told.name
    yield "definition", Code(submitted.identity or HIDDEN_TEXT)
    yield "status", f"{told.status}, after {counted(told.version, 'event')}"
    yield "asked for", f"{when(first.at)} by {first.actor}"
    yield "last event", when(told.at)
    yield "head of its chain", Code(told.digest)
    yield "input", Code(f"{told.data.digest} ({told.data.size:,} bytes)")
    if told.cause:
        yield "error", told.cause
    if submitted.encoding != CLEAR:
        yield "encrypted", Code(submitted.encoding)
    if submitted.origin is not None:
        yield "came from", f"{submitted.origin.target}, in folder {submitted.origin.folder}"
    if submitted.forked_from:
        yield "forked from", Code(submitted.forked_from)
    if submitted.parent is not None:
        yield "is step", f"{submitted.parent.step} of run {submitted.parent.run}"
    options = {
        name: getattr(submitted, name)
        for name in ("on_failure", "priority", "parallelism", "retry", "policies", "fallbacks")
    }
    yield "options", _pairs({key: value for key, value in options.items() if value})
    if submitted.deadline is not None:
        yield "deadline", when(submitted.deadline)
    for warning in submitted.warnings:
        yield "warning", warning


def _words(act: Act) -> list[Cell]:
    told: list[Cell] = [act.type]
    for key, value in act.facts.items():
        if isinstance(value, Datum):
            told.append(named(key, value))
        else:
            told.append(f"{key}: {_text(value)}")
    return told


def _defined(step: StepAccount) -> Sequence[Cell | Sequence[Cell]]:
    own = step.definition
    state = step.status + (f" ({step.reason})" if step.reason else "")
    handler: list[Cell] = [Code(own.handler) if own.handler else _without(own)]
    if own.fingerprint:
        handler.append(Code(own.fingerprint))
    config: list[Cell] = [Code(f"{key} = {_text(value)}") for key, value in own.config.items()]
    options = {
        name: getattr(own, name)
        for name, default in zip(own.__struct_fields__[1:], _DEFAULTS, strict=True)
        if name not in DESCRIBED and getattr(own, name) != default
    }
    return (
        step.name, state, own.type, list(own.dependencies), handler, config, _pairs(options)
    )  # fmt: skip


_DEFAULTS = [getattr(StepDefinition("", ""), name) for name in StepDefinition.__struct_fields__[1:]]


def _without(step: StepDefinition) -> str:
    if step.pipeline is not None:
        return f"pipeline {step.pipeline.name}"
    return "that of its type" if step.handler is None else "given, without a name"


def _tried(step: StepAccount, one: Tried) -> Sequence[Cell | Sequence[Cell]]:
    what = str(one.attempt) + (", undoing" if one.undoes else "")
    what += ", its fallback" if one.fallback else ""
    took = _took(one.end - one.start) if one.end else "unfinished"
    outcome: list[Cell] = [one.outcome.replace("_", " ")]
    if one.error:
        outcome.append(f"{one.error} ({one.category})")
    if one.retry_in is not None:
        outcome.append(f"another one after {seconds(one.retry_in)}")
    where: list[Cell] = [f"{one.backend or 'thread'} {one.worker}".strip()]
    if one.process is not None:
        where.append(f"process {one.process.pid} on {one.process.host}")
    if one.grants:
        where.append(", ".join(f"{amount:g} {name}" for name, amount in one.grants.items()))
    inputs: list[Cell] = [named(source.step or "the run's input", source) for source in one.inputs]
    return step.name, what, when(one.start), took, outcome, where, inputs


def outputs_blocks(told: Account) -> Iterator[Block]:
    """From each output of the run back to where it is from."""
    if not told.outputs:
        yield Paragraph("The run has no output yet.")
    for name in told.outputs:
        yield Heading(3, f"Output of {name}")
        yield _lineage(told, [name])


def taken_over(told: Account, steps: Collection[str]) -> list[tuple[str, list[Datum]]]:
    """The runs from which outputs were taken that those of ``steps`` are made of: by their ids,
    each with the outputs, as they were told of them: which event of theirs, which digest."""
    found: dict[str, list[Datum]] = {}
    for one in _behind(told, steps):
        if one.reused is not None and one.output is not None:
            run_id, version = one.reused
            wanted = Datum(one.output.digest, one.output.size, version=version)
            found.setdefault(run_id, []).append(wanted)
    return list(found.items())


def source_blocks(source: Account, outputs: Sequence[Datum]) -> Iterator[Block]:
    """From outputs that another run has taken over back to where they are from."""
    yield Heading(3, f"Taken over from run {source.name} {source.run_id}")
    found = found_in(source, outputs)
    if len(found) < len(outputs):
        yield Paragraph("It does not have all outputs that were taken over, as they are.", "bad")
    yield _lineage(source, found)


def found_in(source: Account, outputs: Sequence[Datum]) -> list[str]:
    """The steps of a run that have given these outputs: by the same event, with the same digest."""
    made = {
        (one.output.version, one.output.digest): one.name
        for one in source.steps.values()
        if one.output is not None
    }
    keys = [(one.version, one.digest) for one in outputs]
    return [made[key] for key in keys if key in made]


def _behind(told: Account, steps: Collection[str]) -> Iterator[StepAccount]:
    """These steps and all whose outputs theirs were made of, each once."""
    seen: set[str] = set()
    for name in steps:
        if name in told.steps:
            for one in lineage(told, name):
                if one.name not in seen:
                    seen.add(one.name)
                    yield one


def _lineage(told: Account, steps: Collection[str]) -> Table:
    rows = [(one.name, digest(one.output), _made_of(one)) for one in _behind(told, steps)]
    return Table(("output of step", "digest", "was made of"), rows)


def _made_of(step: StepAccount) -> list[Cell]:
    if step.reused is not None:
        run_id, version = step.reused
        return [f"the output of run {run_id}, event {version}: see below"]
    made: list[Cell] = [
        named(f"output of {source.step}" if source.step else "the run's input", source)
        for source in step.inputs
    ]
    if step.child:
        made.append(f"by run {step.child}")
    if not any(source.step for source in step.inputs):
        made += [Code(f"{key} = {_text(value)}") for key, value in step.definition.config.items()]
    return made or ["nothing that is recorded"]


def _pairs(values: dict[str, Any]) -> str:
    return "; ".join(f"{key}: {_text(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    plain = msgspec.to_builtins(value, enc_hook=str)
    text = plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
    return text if len(text) <= LONG else text[: LONG - 1] + "…"
