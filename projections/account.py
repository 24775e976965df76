"""All that a log can tell of a run to whoever has to answer for it: who, when, with what, to what.

Values are told by their digests (BLAKE2b over their recorded text), never by themselves: equal
digests are equal values, and an artifact has its digest as its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..events import pipeline as p
from ..events import step as s
from ..events.artifacts import digest_of
from ..events.codec import Value
from ..events.definition import StepDefinition
from ..events.envelope import Envelope
from ..events.redaction import hidden_at
from ..events.upcasters import to_event
from .run import Run
from .timeline import OUTCOMES, outcome_of


class Datum(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded value.

    Args:
        digest: Of its recorded text, in hex; for a small value that cannot be read, its place.
        size: Bytes of that text.
        artifact: It lies beside the log, not in an event.
        version: Of the event that has brought it about; 0: the run's input.
        step: Whose output it is, in this run.
    """

    digest: str
    size: int
    artifact: bool = False
    version: int = 0
    step: str | None = None


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was done with the run as a whole: by a person, or by the engine that had it.

    Args:
        actor: Who: ``user/process`` of whoever asked, or the id of the engine.
        type: Of the event.
        facts: What else the event says, values by their digests.
    """

    version: int
    at: int
    actor: str
    epoch: int
    type: str
    facts: dict[str, Any] = {}


class Process(msgspec.Struct, frozen=True):
    """A process that had the run, from a version on."""

    version: int
    at: int
    epoch: int
    owner: str
    host: str
    pid: int
    code: str
    """Version of this library."""


class Tried(msgspec.Struct, omit_defaults=True):
    """An attempt at a step, or at undoing it. Times are ns since 1970, UTC; ``end`` 0: it runs.

    Args:
        version: Of the event that began it.
        process: That began it; None where no process had claimed the run.
        inputs: What it was given, by the order of the step's dependencies.
        outcome: As in :class:`~.timeline.Attempt`.
        how: The category of the error, or why there was another attempt or none.
    """

    attempt: int
    version: int
    start: int
    worker: str
    backend: str = ""
    process: Process | None = None
    end: int = 0
    outcome: str = "running"
    inputs: tuple[Datum, ...] = ()
    grants: dict[str, float] = {}
    error: str | None = None
    category: str | None = None
    fallback: bool = False
    undoes: bool = False
    retry_in: float | None = None
    """Seconds after which another one was to follow."""


class StepAccount(msgspec.Struct, omit_defaults=True):
    """A step: what it was told to be, every attempt, and what came of it."""

    definition: StepDefinition
    status: str
    tried: list[Tried] = []
    output: Datum | None = None
    inputs: tuple[Datum, ...] = ()
    """What its output was made of."""
    reused: tuple[str, int] | None = None
    """The run, and the version there, whose output it took."""
    child: str | None = None
    """The run that it is, if it is a pipeline."""
    reason: str | None = None
    """Why it was skipped, or how it was cancelled."""
    error: str | None = None

    @property
    def name(self) -> str:
        """The step's name."""
        return self.definition.name

    @property
    def seconds(self) -> float:
        """In all its attempts that are over."""
        return sum((one.end - one.start) / 1e9 for one in self.tried if one.end)


class Account(msgspec.Struct, omit_defaults=True):
    """A run. ``digest`` is that of event ``version``, the last one that was read, in hex."""

    run_id: str
    name: str
    status: str
    version: int
    digest: str
    at: int
    submitted: p.PipelineSubmitted
    data: Datum
    acts: list[Act] = []
    processes: list[Process] = []
    steps: dict[str, StepAccount] = {}
    outputs: list[str] = []
    """The steps whose outputs are the run's, so far."""
    cause: str | None = None

    @property
    def submitted_at(self) -> int:
        """When it was asked for, ns since 1970, UTC."""
        return self.acts[0].at


def account(run: Run, envelopes: Iterable[Envelope]) -> Account:
    """The account of a run.

    Args:
        run: Its state after these events.
        envelopes: All its events, from the first on.
    """
    teller = _Teller(run)
    for envelope in envelopes:
        teller.tell(envelope, to_event(envelope))
    return teller.result()


def datum(value: Value, version: int = 0, step: str | None = None) -> Datum:
    """A value by its digest."""
    if value.artifact is not None:
        return Datum(value.artifact, value.size, True, version, step)
    place = hidden_at(value)
    if place is not None:
        return Datum(f"encrypted: {place}", 0, False, version, step)
    text = bytes(value.inline)
    return Datum(digest_of(text), len(text), False, version, step)


def lineage(told: Account, step: str) -> Iterator[StepAccount]:
    """The step, and all whose outputs its own was made of, each once, the nearest first."""
    waiting, seen = [step], {step}
    for name in waiting:  # grows as it is walked
        here = told.steps[name]
        yield here
        for source in here.inputs:
            if source.step is not None and source.step not in seen:
                seen.add(source.step)
                waiting.append(source.step)


class _Teller:
    """The fold: what is known so far."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._acts: list[Act] = []
        self._processes: list[Process] = []
        self._steps = {
            definition.name: StepAccount(definition, str(step.status), child=step.child)
            for definition, step in zip(
                run.graph.definition.steps, run.state.steps or [], strict=True
            )
        }
        self._made: dict[int, Datum] = {}
        """Outputs, by the version of the event that has them."""
        self._open: dict[str, Tried] = {}
        self._submitted: p.PipelineSubmitted | None = None
        self._last: Envelope | None = None

    def tell(self, e: Envelope, event: Any) -> None:
        """The next event."""
        self._last = e
        if isinstance(event, p.PipelineSubmitted):
            self._submitted = event
            self._made[0] = datum(event.data)
        if isinstance(event, p.PipelineClaimed):
            claimed = (event.owner, event.host, event.pid, event.code)
            self._processes.append(Process(e.version, e.at, e.epoch, *claimed))
        if isinstance(getattr(event, "step", None), str) and e.type.startswith("Step"):
            self._of_step(e, event)
        else:
            self._acts.append(Act(e.version, e.at, e.actor, e.epoch, e.type, _facts(event)))

    def _of_step(self, e: Envelope, event: Any) -> None:
        step = self._steps[event.step]
        if isinstance(event, s.StepStarted | s.StepCompensationStarted):
            self._begin(e, event, step)
        elif type(event) in OUTCOMES and event.step in self._open:
            self._end(e, event, self._open.pop(event.step))
        elif isinstance(event, s.StepRetryScheduled) and step.tried:
            step.tried[-1].retry_in = event.delay
        if isinstance(event, s.StepCompleted | s.StepReused):
            step.output = self._made[e.version] = datum(event.output, e.version, event.step)
        if isinstance(event, s.StepCompleted):
            step.inputs = step.tried[-1].inputs
        elif isinstance(event, s.StepReused):
            step.reused = (event.source, event.version)

    def _begin(self, e: Envelope, event: Any, step: StepAccount) -> None:
        tried = Tried(event.attempt, e.version, e.at, event.worker)
        tried.process = self._processes[-1] if self._processes else None
        if isinstance(event, s.StepStarted):
            tried.backend, tried.fallback = event.backend, event.fallback
            tried.grants = event.grants
            sources = event.inputs or (() if step.definition.dependencies else (0,))
            tried.inputs = tuple(self._made[one] for one in sources if one in self._made)
        else:
            tried.undoes = True
        step.tried.append(tried)
        self._open[event.step] = tried

    def _end(self, e: Envelope, event: Any, tried: Tried) -> None:
        tried.end, tried.outcome = e.at, outcome_of(event)
        error = getattr(event, "error", None)
        if error is not None:
            tried.error, tried.category = str(error), error.category
        if isinstance(event, s.StepCompensationRetryScheduled):
            tried.retry_in = event.delay

    def result(self) -> Account:
        """What has been told."""
        run, last = self._run, self._last
        assert self._submitted is not None and last is not None  # every run begins with it
        for name, here in self._steps.items():
            state = run.step(name)
            here.reason, here.error = state.reason, str(state.error) if state.error else None
        sinks = (run.graph.name(i) for i in run.graph.sinks)
        return Account(
            run_id=run.run_id,
            name=run.state.name,
            status=str(run.status),
            version=last.version,
            digest=last.digest.hex(),
            at=last.at,
            submitted=self._submitted,
            data=self._made[0],
            acts=self._acts,
            processes=self._processes,
            steps=self._steps,
            outputs=[name for name in sinks if self._steps[name].output is not None],
            cause=str(run.state.cause) if run.state.cause else None,
        )


def _facts(event: Any) -> dict[str, Any]:
    """What an event of the run says, but for what is told elsewhere."""
    if isinstance(event, p.PipelineSubmitted):
        return {}
    facts: dict[str, Any] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, Value):
            facts[name] = datum(value)
        elif name == "cause" and value is not None:
            facts[name] = str(value)
        elif value not in (None, (), {}, ""):
            facts[name] = value
    return facts
