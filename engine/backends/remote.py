"""An attempt in a worker process: the engine's side."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from ...events.artifacts import FileArtifacts
from ...events.errors import AppendRefused, HandlerNotFound, WorkerLost
from ..attempt import Attempt, Report, carry_out, failed
from ..context import AttemptCancelled, Context
from ..core.commands import Command
from ..model import Given, PipelineStep
from ..saying import Said
from ..steps import registry
from .child import survives_pickling
from .messages import (
    Asked,
    Beat,
    Begun,
    Cancel,
    Ended,
    Flush,
    Get,
    Item,
    Progressed,
    Put,
    Saved,
    Task,
)
from .serving import serve
from .worker_process import WorkerProcess

_serials = count()


def carry_out_in(process: Callable[..., WorkerProcess], attempt: Attempt, report: Report) -> None:
    """As :func:`carry_out`, in a worker process, which ``process`` gives."""
    began = time.perf_counter()
    try:
        given = _given(attempt)
        if given.handler is None and not attempt.strict:
            carry_out(attempt, report, lambda: None)  # its input is its output
            return
        serial = next(_serials)
        task = _pickled(attempt, given, serial)
        gpus = attempt.context.gpus
        try:
            outcome = _converse(process(gpus), attempt, task, serial)
        except _NeverBegun:  # it was dying while it was idle: nothing has happened
            outcome = _converse(process(gpus), attempt, task, serial)
    except _NeverBegun as error:
        outcome = failed(attempt, WorkerLost(*error.args), time.perf_counter() - began)
    except BaseException as error:  # pickling what a user made may raise anything
        outcome = failed(attempt, error, time.perf_counter() - began)
    report(outcome)


def _given(attempt: Attempt) -> Given:
    definition = attempt.definition
    step = PipelineStep(definition.name, definition.type)
    step.handler = attempt.given.handler or definition.handler
    step.when = attempt.given.when or definition.when
    return Given(registry.resolve(step), registry.condition(step))


def _pickled(attempt: Attempt, given: Given, serial: int) -> bytes:
    if given.handler is None:
        kind = attempt.definition.type
        raise HandlerNotFound(f"step {attempt.definition.name!r}: {registry.missing(kind)}")
    artifacts = attempt.artifacts
    task = Task(
        serial=serial,
        step=attempt.step,
        number=attempt.number,
        definition=attempt.definition,
        inputs=attempt.inputs,
        policy=attempt.policy,
        checkpoints=attempt.context.checkpoints,
        rules=attempt.rules,
        given=pickle_given(attempt.definition.name, given),
        artifacts=artifacts if isinstance(artifacts, FileArtifacts) else None,
        allow_pickle=attempt.allow_pickle,
        run_id=attempt.context.run_id,
        gpus=attempt.context.gpus,
        waits=attempt.context.waits,
        items=attempt.context.items,
    )
    return pickle.dumps(partial(serve, task))


def pickle_given(step: str, given: Given) -> bytes:
    """Handler and condition as they are sent to a worker process. Raises HandlerNotFound."""
    try:
        return pickle.dumps(given)
    except Exception as error:  # pickling may raise anything
        called = " or ".join(getattr(one, "__qualname__", repr(one)) for one in given if one)
        raise HandlerNotFound(
            f"step {step!r} runs in a process, where its handler {called} cannot be found "
            f"({error}); define it at the top level of a module, or use executor='thread'"
        ) from error


def _converse(worker: WorkerProcess, attempt: Attempt, task: bytes, serial: int) -> Command | None:
    """Send the task and answer what comes back, until it ends."""
    context = attempt.context
    begun = False
    worker.send(task)
    context.on_cancel(lambda: worker.tell((serial, Cancel())))
    context.on_asking(lambda back: worker.tell((serial, Asked(back))))
    try:
        while True:
            of, message = worker.receive()
            if of != serial:
                continue
            if isinstance(message, Ended):
                return message.command
            if isinstance(message, Begun):
                begun = True
                context.heartbeat()
                continue
            if isinstance(message, Progressed):
                context.report(*message.arguments)
            elif isinstance(message, Beat):
                context.heartbeat()
            elif isinstance(message, Item):
                context.journal.item(message.key, message.outcome)
            elif isinstance(message, Said):
                context.hear(message)
            else:
                worker.tell((serial, _answer(context, message)))
    except BaseException as error:
        worker.kill()  # it may be in the middle of the handler
        if isinstance(error, WorkerLost) and not begun:
            raise _NeverBegun(*error.args) from None
        raise


class _NeverBegun(WorkerLost):
    """The worker process died before it took the task."""


def _answer(context: Context, message: Put | Get | Saved | Flush) -> Any:
    try:
        if isinstance(message, Put):
            return context.artifacts.put(message.data)
        if isinstance(message, Get):
            return context.artifacts.get(message.digest)
        if isinstance(message, Saved):
            return context.journal.checkpoint(message.key, message.value)
        return context.journal.flush()
    except (AttemptCancelled, AppendRefused):
        return AttemptCancelled()
    except Exception as error:
        return error if survives_pickling(error) else RuntimeError(repr(error))
