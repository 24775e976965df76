"""The law: every pair of state and event, in the table, in the machine, and in the fold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from contract.runs import claim, completed, define, started, submission
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace
from transitions import Machine, MachineError

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.codec import NONE
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.errors import IllegalTransition
from semantica.pipeline.events.machines import (
    ALLOCATION_ROWS,
    ALLOCATION_TABLE,
    ARCHIVE_ROWS,
    ARCHIVE_TABLE,
    NEW,
    PIPELINE_ROWS,
    PIPELINE_TABLE,
    RESOURCE_ROWS,
    RESOURCE_TABLE,
    STEP_ROWS,
    STEP_TABLE,
    PipelineStatus,
    Row,
    StepStatus,
    Table,
    allocation_machine,
    archive_machine,
    build_machine,
    compile_table,
    pipeline_machine,
    resource_machine,
    step_machine,
)
from semantica.pipeline.events.upcasters import EVENT_TYPES, Event
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.projections.run import Run

ERROR = ErrorInfo("builtins.ValueError", "no", retryable=True)
DEFINITION = define({"a": [], "b": ["a"]}, a={"compensate": "m:f"})
_P, _S = PipelineStatus, StepStatus

SAMPLES: dict[str, Event] = {
    "PipelineSubmitted": submission(DEFINITION),
    "PipelineClaimed": claim(),
    "PipelineCompleted": p.PipelineCompleted(()),
    "PipelineFailed": p.PipelineFailed("a", ERROR),
    "PipelineErased": p.PipelineErased("key", "completed"),
    "StepStarted": started("a", 2),
    "StepQueued": s.StepQueued("a"),
    "StepProgressed": s.StepProgressed("a", 1, 0.5),
    "StepCheckpointed": s.StepCheckpointed("a", 1, "key", NONE),
    "StepYielded": s.StepYielded("a", 1, 0.5),
    "StepCompleted": completed("a"),
    "StepFailed": s.StepFailed("a", 1, ERROR),
    "StepTimedOut": s.StepTimedOut("a", 1, ERROR),
    "StepRetryScheduled": s.StepRetryScheduled("a", 1, 1.0, 10**18),
    "StepFallbackScheduled": s.StepFallbackScheduled("a"),
    "StepInterrupted": s.StepInterrupted("a", 1),
    "StepSkipped": s.StepSkipped("a", "upstream", "z"),
    "StepCancelled": s.StepCancelled("a", 1, "cooperative"),
    "StepItemCompleted": s.StepItemCompleted("a", 1, "1/x", NONE),
    "StepItemFailed": s.StepItemFailed("a", 1, "1/x", ERROR),
    "StepReused": s.StepReused("a", NONE, "other", 4),
    "StepSuspended": s.StepSuspended("a", 1, "key", 0.5),
    "StepWoken": s.StepWoken("a", "key", value=NONE),
    "StepCompensationStarted": s.StepCompensationStarted("a", 2, "worker"),
    "StepCompensated": s.StepCompensated("a", 2, 0.5),
    "StepCompensationFailed": s.StepCompensationFailed("a", 2, ERROR),
    "StepCompensationRetryScheduled": s.StepCompensationRetryScheduled("a", 2, ERROR, 1, 1.0, 9),
    "PipelineRollbackFailed": p.PipelineRollbackFailed("a", ERROR),
    "SignalReceived": p.SignalReceived("go", NONE),
}
RUN_EVENTS = [name for name in EVENT_TYPES if name.startswith(("Pipeline", "Step", "Signal"))]
SAMPLES.update({name: EVENT_TYPES[name]() for name in RUN_EVENTS if name not in SAMPLES})
SETTINGS = {"PoolConfigured", "RateLimited", "RunsAdmitted"}
"""Events that change no state of the law."""

PIPELINE_PATHS: dict[str, list[str]] = {
    NEW: [],
    _P.PENDING: ["Submitted"],
    _P.RUNNING: ["Submitted", "Claimed"],
    _P.PAUSING: ["Submitted", "Claimed", "PauseRequested"],
    _P.PAUSED: ["Submitted", "Paused"],
    _P.STOPPING: ["Submitted", "StopRequested"],
    _P.STOPPED: ["Submitted", "StopRequested", "Stopped"],
    _P.CANCELLING: ["Submitted", "CancelRequested"],
    _P.CANCELLED: ["Submitted", "CancelRequested", "Cancelled"],
    _P.COMPLETED: ["Submitted", "Claimed", "Completed"],
    _P.FAILED: ["Submitted", "Claimed", "Failed"],
    _P.ERASED: ["Submitted", "Claimed", "Completed", "Erased"],
    _P.ROLLING_BACK: ["Submitted", "Claimed", "RollbackStarted"],
    _P.ROLLED_BACK: ["Submitted", "Claimed", "RollbackStarted", "RolledBack"],
    _P.ROLLBACK_FAILED: ["Submitted", "Claimed", "RollbackStarted", "RollbackFailed"],
}
UNDOING = ["StepStarted", "StepCompleted", "PipelineRollbackStarted", "StepCompensationStarted"]
STEP_PATHS: dict[StepStatus, list[str]] = {
    _S.PENDING: [],
    _S.WAITING: ["StepQueued"],
    _S.RUNNING: ["StepStarted"],
    _S.RETRYING: ["StepStarted", "StepFailed", "StepRetryScheduled"],
    _S.COMPLETED: ["StepStarted", "StepCompleted"],
    _S.FAILED: ["StepStarted", "StepFailed"],
    _S.SKIPPED: ["StepSkipped"],
    _S.CANCELLED: ["StepStarted", "PipelineCancelRequested", "StepCancelled"],
    _S.SUSPENDED: ["StepStarted", "StepSuspended"],
    _S.COMPENSATING: UNDOING,
    _S.COMPENSATED: [*UNDOING, "StepCompensated"],
    _S.COMPENSATION_FAILED: [*UNDOING, "StepCompensationFailed"],
}


def apply(run: Run, event: Event, epoch: int = 1) -> None:
    run.apply(event, version=run.state.version + 1, at=run.state.version + 1, epoch=epoch)


def run_in(path: list[str]) -> Run:
    run = Run("r", DEFINITION)
    for name in path:
        # The attempt of the path is the first; the one that is tried on it would be the second.
        apply(run, started("a") if name == "StepStarted" else SAMPLES[name])
    return run


def pipeline_in(status: str) -> Run:
    return run_in([f"Pipeline{name}" for name in PIPELINE_PATHS[status]])


def step_in(status: StepStatus) -> Run:
    return run_in(["PipelineSubmitted", "PipelineClaimed", *STEP_PATHS[status]])


def nested_in(status: StepStatus) -> Run:
    """A step that is a pipeline, which has done a part of its work."""
    steps = replace(DEFINITION.steps[0], compensate="m:undo")
    inner = PipelineDefinition("inner", (steps,))
    outer = replace(DEFINITION.steps[0], compensate=None, pipeline=inner)
    run = Run("r", replace(DEFINITION, steps=(outer, *DEFINITION.steps[1:])))
    for name in ("PipelineSubmitted", "PipelineClaimed"):
        apply(run, SAMPLES[name])
    apply(run, started("a"))
    apply(run, s.StepSuspended("a", 1, "pipeline", 0.5, run="child"))
    apply(run, s.StepWoken("a", "pipeline", ended=s.ChildEnd(outputs={"z": NONE})))
    apply(run, started("a", 2))
    for name in STEP_PATHS[status][1:]:
        sample = SAMPLES[name]
        apply(run, replace(sample, attempt=2) if hasattr(sample, "attempt") else sample)
    return run


PIPELINE_EVENTS = [name for name in RUN_EVENTS if not name.startswith("Step")]
STEP_EVENTS = [name for name in RUN_EVENTS if name.startswith("Step")]


@pytest.mark.parametrize(("state", "event"), [*product([NEW, *_P], PIPELINE_EVENTS)])
def test_a_pipeline_event_leads_where_the_law_says_or_is_refused(state: str, event: str) -> None:
    run = pipeline_in(state)
    assert run.state.status == state
    check(run, event, allowed(PIPELINE_ROWS, state, event), lambda: run.state.status)


@pytest.mark.parametrize(("state", "event"), [*product(_S, STEP_EVENTS)])
def test_a_step_event_leads_where_the_law_says_or_is_refused(state: StepStatus, event: str) -> None:
    part = event == "StepCompensationStarted" and state in (_S.FAILED, _S.CANCELLED)
    run = nested_in(state) if part else step_in(state)
    assert run.step("a").status == state
    check(run, event, allowed(STEP_ROWS, state, event), lambda: run.step("a").status)


def allowed(rows: tuple[Row, ...], state: str, event: str) -> list[str]:
    """Where the rows say that the event leads; nowhere when it is not in them."""
    found = [row for row in rows if row.trigger == event and state in row.sources]
    return [row.dest or state for row in found]


def check(run: Run, event: str, expected: list[str], status: Callable[[], str]) -> None:
    before = (status(), run.state.version)
    if expected:
        sample = SAMPLES[event]
        if event == "StepCompensationStarted":
            apply(run, SAMPLES["PipelineRollbackStarted"])
        if event in STEP_EVENTS and hasattr(sample, "attempt"):
            begins = event in ("StepStarted", "StepCompensationStarted")
            sample = replace(sample, attempt=run.step("a").attempt + begins)
        apply(run, sample)
        assert [status()] == expected
    else:
        with pytest.raises(IllegalTransition, match=event):
            apply(run, SAMPLES[event])
        assert (status(), run.state.version) == before, "a refusal must change nothing"


@pytest.mark.parametrize("event", STEP_EVENTS)
@pytest.mark.parametrize(
    "state", [NEW, _P.PENDING, _P.PAUSED, _P.STOPPED, _P.COMPLETED, _P.FAILED, _P.CANCELLED]
)
def test_steps_stand_still_while_their_pipeline_does(state: str, event: str) -> None:
    with pytest.raises(IllegalTransition):
        apply(pipeline_in(state), SAMPLES[event])


@pytest.mark.parametrize("state", [_S.PENDING, _S.RETRYING, _S.WAITING])
def test_a_cancelled_pipeline_cancels_the_steps_that_had_not_started(state: StepStatus) -> None:
    run = step_in(state)
    apply(run, SAMPLES["PipelineCancelRequested"])
    apply(run, SAMPLES["PipelineCancelled"])
    assert {step.status for step in run.state.steps} == {_S.CANCELLED}


def test_the_law_names_every_event_type() -> None:
    rows = (*PIPELINE_ROWS, *STEP_ROWS, *ALLOCATION_ROWS, *RESOURCE_ROWS, *ARCHIVE_ROWS)
    assert {row.trigger for row in rows} | SETTINGS == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("table", "machine"),
    [
        (PIPELINE_TABLE, pipeline_machine()),
        (STEP_TABLE, step_machine()),
        (ALLOCATION_TABLE, allocation_machine()),
        (RESOURCE_TABLE, resource_machine()),
        (ARCHIVE_TABLE, archive_machine()),
    ],
)
def test_the_compiled_table_is_the_machine(table: Table, machine: Machine) -> None:
    for state, event in product(machine.states, machine.events):
        found = machine.get_transitions(event, state)
        destinations = [transition.dest or state for transition in found]
        assert destinations == ([table[state, event]] if (state, event) in table else [])


def test_two_rows_that_disagree_are_refused() -> None:
    row = next(row for row in STEP_ROWS if row.trigger == "StepStarted")
    with pytest.raises(ValueError, match="two rows for StepStarted"):
        compile_table(build_machine("step", _S, _S.PENDING, [row, row._replace(dest=_S.FAILED)]))


def test_what_has_not_ended_is_not_archived() -> None:
    assert {state for state, _ in ARCHIVE_TABLE} == {status for status in _P if status.finished}


@pytest.mark.parametrize("state", [status for status in _P if not status.finished])
def test_every_active_state_can_reach_a_terminal_one(state: PipelineStatus) -> None:
    reached, waiting = set[str](), [str(state)]
    while waiting:
        here = waiting.pop()
        reached.add(here)
        ways = [dest for (source, _), dest in PIPELINE_TABLE.items() if source == here]
        waiting.extend(set(ways) - reached)
    assert {_P.COMPLETED, _P.FAILED} <= reached or reached & {_P.CANCELLED, _P.ROLLED_BACK}


def test_a_refusal_names_run_state_event_and_story() -> None:
    run = run_in(["PipelineSubmitted", "PipelineClaimed", "StepStarted"])
    apply(run, completed("a"))
    apply(run, SAMPLES["PipelinePauseRequested"])
    with pytest.raises(IllegalTransition) as refused:
        apply(run, completed("a"))
    error = refused.value
    assert (error.stream, error.state, error.event) == ("run/r", "completed", "StepCompleted")
    assert str(error).startswith(
        "run/r: StepCompleted is not allowed for step 'a' in state completed after "
    )
    assert "3 StepStarted -> 4 StepCompleted" in str(error)


class TwoMachines(RuleBasedStateMachine):
    """The real machine with a model beside the compiled table: random events, the same answers."""

    @initialize(which=st.booleans())
    def begin(self, which: bool) -> None:
        self.machine = pipeline_machine() if which else step_machine()
        self.table = PIPELINE_TABLE if which else STEP_TABLE
        self.model = Model()
        self.machine.add_model(self.model)
        self.state: str = str(self.machine.initial)
        self.events = sorted(self.machine.events)

    @rule(number=st.integers(0, 100))
    def offer_any(self, number: int) -> None:
        self.offer(self.events[number % len(self.events)])

    @rule(number=st.integers(0, 100))
    def offer_a_legal_one(self, number: int) -> None:
        legal = sorted(event for state, event in self.table if state == self.state)
        if legal:
            self.offer(legal[number % len(legal)])

    def offer(self, event: str) -> None:
        after = self.table.get((self.state, event))
        if after is None:
            with pytest.raises(MachineError):
                self.model.trigger(event)  # type: ignore[attr-defined]
        else:
            assert self.model.trigger(event)  # type: ignore[attr-defined]
            self.state = str(after)
        assert self.model.state == self.state  # type: ignore[attr-defined]


class Model:
    """What ``transitions`` keeps the state on."""


TestTwoMachines = TwoMachines.TestCase
TestTwoMachines.settings = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize("attempt", [0, 2])
def test_attempts_count_up_one_by_one(attempt: int) -> None:
    run = step_in(_S.PENDING)
    with pytest.raises(IllegalTransition, match=f"attempt {attempt} of step 'a'"):
        apply(run, started("a", attempt))
