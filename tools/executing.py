"""Executing runs from the command line: new ones, recovered ones, resumed ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.configuration import PipelineConfig
from ..engine.core.commands import Control, Resume, Signal
from ..engine.core.decide import decide
from ..engine.execution import ExecutionEngine
from ..engine.model import Given, Pipeline, PipelineStep, given_by
from ..engine.result import PipelineFuture
from ..engine.steps import registry
from ..events.codec import encode
from ..events.directory import RunRow
from ..events.errors import HandlerNotFound, MissingKey
from ..events.machines import PipelineStatus, StepStatus
from ..events.sealed_store import artifacts_of_run, require_key
from ..events.store import Member, Store
from ..projections.catchup import load_run
from ..projections.run import Run
from . import origins
from .attending import Ended, Interrupts, attend
from .finding import Log, holder
from .follow import Follower
from .loading import add_path, load, parse_data
from .show import show_result, write_output
from .terminal import BadInput, clean, complain, silence

if TYPE_CHECKING:
    from ..events.store import Durability

PATIENCE = 2.0
"""Seconds that another process gets to answer a command."""


class EngineOptions(msgspec.Struct, frozen=True, dict=True):
    """What the commands that execute have in common."""

    config: str | None
    workers: int | None
    durability: Durability
    lenient: bool
    paths: tuple[str, ...]
    as_json: bool

    @cached_property
    def configuration(self) -> PipelineConfig:
        """The settings that ``--config`` and the environment give. Raises ConfigurationError."""
        return PipelineConfig(self.config)

    def engine(self, log: Log) -> ExecutionEngine:
        """An engine on an open log."""
        return ExecutionEngine(
            log.name,
            max_workers=self.workers,
            durability=self.durability,
            strict=not self.lenient,
            config=self.configuration,
        )

    def load(
        self, target: str, data: str | None, name: str | None, settings: Sequence[str]
    ) -> tuple[Pipeline, Any]:
        """The pipeline that a run is asked for of, and its input. Raises BadInput."""
        from .loading import apply_settings, load, parse_data  # what is to go on needs none

        value = parse_data(data)
        self.prepare()
        pipeline = load(target, self.configuration)
        apply_settings(pipeline, settings)
        if name is not None:
            pipeline.name = name
        return pipeline, value

    def prepare(self, *, several: bool = False) -> None:
        """Have handlers found and their messages shown. ``several``: of which run, too."""
        for folder in reversed((str(Path.cwd()), *self.paths)):
            if not Path(folder).is_dir():
                raise BadInput(f"--path: {folder} is not a folder")
            add_path(folder)
        configure_logging(several=several)


def configure_logging(*, several: bool) -> None:
    """The library's and the handlers' messages in short lines on standard error."""
    import structlog

    if structlog.is_configured():  # by a module of the user's
        return

    def writer(*_: object) -> structlog.WriteLogger:
        return structlog.WriteLogger(sys.stderr)  # as it is now: the live view replaces it

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            partial(_in_a_line, hidden=() if several else ("run",)),
        ],
        logger_factory=writer,
        cache_logger_on_first_use=False,
    )


def _in_a_line(_: Any, method: str, event: Any, hidden: Sequence[str] = ()) -> str:
    """``warning: parse: document not parsed (source=..., reason=...)``."""
    level, text, step = event.pop("level", method), event.pop("event", ""), event.pop("step", None)
    trace, attempt = event.pop("exception", None), event.pop("attempt", 1)
    if attempt != 1:
        event["attempt"] = attempt
    values = ", ".join(f"{key}={value}" for key, value in event.items() if key not in hidden)
    place = f"{step}: " if step else ""
    line = clean(f"{level}: {place}{text}{f' ({values})' if values else ''}")
    return f"{line}\n{trace}" if trace else line


# New runs


def execute(log: Log, options: EngineOptions, pipeline: Pipeline, target: str, **how: Any) -> Ended:
    """Run a pipeline to its end. ``how``: arguments of ``execute_pipeline_async``."""
    with Interrupts() as interrupts:
        engine = options.engine(log)
        new = how["run_id"] is None or log.store.run(how["run_id"]) is None
        origin = origins.origin_of(target)
        future = engine.execute_pipeline_async(pipeline, origin=origin, **how)
        followers = [Follower(log.store, future.run_id, new=new)]
        return attend(engine, log.store, [future], followers, interrupts, quiet=options.as_json)


def finish(log: Log, ended: Ended, *, as_json: bool, output: str | None = None) -> int:
    """Show what became of the runs; returns the exit status."""
    try:
        for result in ended.results:
            show_result(log.store, result, as_json)
            if output is not None and result.success:
                write_output(result, output)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads; the status still counts
        silence(sys.stdout)
    for fault in ended.faults:
        complain("error", fault)
    return ended.status


# Runs that exist


def take_over(
    log: Log, options: EngineOptions, rows: Sequence[RunRow], pipeline: Pipeline | None
) -> Ended:
    """Go on with active runs that nobody owns; a run that cannot go on here is left alone."""
    with Interrupts() as interrupts:
        engine = options.engine(log)
        followers = [Follower(log.store, row.run_id) for row in rows]
        futures: list[PipelineFuture] = []
        faults: list[str] = []
        for row in rows:
            try:
                futures.append(_take_over(engine, log.store, row, pipeline))
            except (BadInput, MissingKey) as error:
                faults.append(str(error))
        taken = {future.run_id for future in futures}
        ended = attend(
            engine,
            log.store,
            futures,
            [follower for follower in followers if follower.run_id in taken],
            interrupts,
            quiet=options.as_json,
            leave_paused=True,
        )
        ended.faults.extend(faults)
        return ended


def _take_over(
    engine: ExecutionEngine, store: Store, row: RunRow, pipeline: Pipeline | None
) -> PipelineFuture:
    handlers = handlers_for(store, row, pipeline, strict=engine.strict)
    if row.status is PipelineStatus.RUNNING:
        engine.control(row.run_id, Resume(), handlers)  # of a running run: claims it, no more
    # Any other only comes to its end, for which it needs no handlers.
    return engine.attach(row.run_id)


def resume(
    log: Log, options: EngineOptions, row: RunRow, pipeline: Pipeline | None
) -> Ended | Member:
    """Go on with a run here, or have the process that holds it do so, which is returned."""
    member = holder(log.store, row)
    check_admitted(log.store, row, Resume())
    with Interrupts() as interrupts:
        handlers: Mapping[str, Given] = {}
        if member is None:
            handlers = handlers_for(log.store, row, pipeline, strict=not options.lenient)
        engine = options.engine(log)
        followers = [Follower(log.store, row.run_id)]
        engine.control(row.run_id, Resume(), handlers)
        if member is not None:
            engine.close(wait=False)
            return member
        futures = [engine.attach(row.run_id)]
        return attend(engine, log.store, futures, followers, interrupts, quiet=options.as_json)


def handlers_for(
    store: Store, row: RunRow, pipeline: Pipeline | None, *, strict: bool
) -> dict[str, Given]:
    """The handlers of a run's steps that cannot be found by name, from the pipeline given or from
    where the run came from.

    Raises:
        BadInput: A step could not be executed here; nothing has been touched.
        MissingKey: Nor could the run, which is encrypted.
    """
    run = load_run(store, row.run_id)
    require_key(store, run.run_id, run.state.encoding)
    pipeline = pipeline or original(store, row)
    steps = pipeline.steps if pipeline else []
    handlers = {step.name: given for step in steps if any(given := given_by(step))}
    _check_handlers(run, handlers, strict=strict)
    return handlers


def original(store: Store, row: RunRow) -> Pipeline | None:
    """The pipeline that the run was started with, loaded again from its file."""
    origin = origins.recall(store, row)
    if origin is None:
        return None
    add_path(origin.folder)
    try:
        return load(origin.target)
    except BadInput as error:
        complain("warning", f"run {row.run_id} came from {origin.target}: {error}")
        return None


def _check_handlers(run: Run, given: Mapping[str, Given], *, strict: bool) -> None:
    """Better not to begin than to fail a run that could go on elsewhere."""
    seen = set()
    waiting = [
        (definition.name, definition, given.get(definition.name, Given()))
        for definition, state in zip(run.graph.definition.steps, run.state.steps, strict=True)
        if state.status is not StepStatus.COMPLETED and state.reason != "condition"
    ]
    for path, definition, here in waiting:  # grows as it is walked
        if definition.pipeline is not None:
            waiting += [
                (f"{path} > {inner.name}", inner, here.nested.get(inner.name, Given()))
                for inner in definition.pipeline.steps
            ]
        step = PipelineStep(definition.name, definition.type)
        step.handler = here.handler or definition.handler
        step.when = here.when or definition.when
        looked_up = (
            None if here.handler else (definition.handler, definition.type),
            None if here.when else definition.when,
        )
        if looked_up in seen:
            continue
        seen.add(looked_up)
        try:
            known = definition.pipeline is not None or registry.resolve(step)
            problem = None if known else registry.missing(step.step_type)
            registry.condition(step)
        except HandlerNotFound as error:
            problem = str(error.__cause__ or error).partition("; make the module")[0]
            problem = problem.removeprefix(f"step {step.name!r}: ")
        if problem and (strict or definition.handler is not None):
            raise BadInput(
                f"run {run.run_id} ({run.state.name}) cannot go on here: step {path!r}: "
                f"{problem}; name the folder of its module with --path FOLDER, or give the "
                "pipeline again with --pipeline TARGET"
            )


# Control


def check_admitted(store: Store, row: RunRow, command: Control) -> bool:
    """Whether ``command`` changes anything. Raises Refused."""
    return bool(decide(load_run(store, row.run_id), command, time.time_ns()))


def send(log: Log, row: RunRow, command: Control, expected: Sequence[PipelineStatus]) -> RunRow:
    """Apply a command, and wait a moment for the run to take it.

    Returns:
        The run afterwards.

    Raises:
        Refused: The run's state does not admit it.
    """
    if not check_admitted(log.store, row, command):
        return row
    return _sent(log, row, command, expected)


def send_signal(log: Log, row: RunRow, name: str, value: str | None) -> RunRow:
    """Send a signal, with the value of a JSON text. Raises Refused or BadInput."""
    if not name or not name.isprintable():
        raise BadInput(f"the name of a signal must be printable text, not {clean(repr(name))}")
    recorded = encode(parse_data(value, "VALUE"), artifacts_of_run(log.store, row.stream))
    command = Signal(name, recorded)
    check_admitted(log.store, row, command)
    return _sent(log, row, command, list(PipelineStatus))


def _sent(log: Log, row: RunRow, command: Control, expected: Sequence[PipelineStatus]) -> RunRow:
    engine = ExecutionEngine(log.name)
    try:
        engine.control(row.run_id, command)
        deadline = time.monotonic() + PATIENCE
        with suppress(KeyboardInterrupt):  # the command is on its way
            while row.status not in expected and time.monotonic() < deadline:
                time.sleep(0.02)
                row = log.store.run(row.run_id) or row
    finally:
        engine.close(wait=False)
    return row
