"""An attempt in a worker process: what crosses the border, on both sides of it."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Any

import msgspec

from ...events.artifacts import Artifacts, FileArtifacts
from ...events.codec import Value
from ...events.definition import RetryPolicy, StepDefinition
from ...events.errors import AppendRefused, HandlerNotFound, WorkerLost
from ..attempt import Attempt, Report, carry_out, failed
from ..classify import Rule
from ..clock import SystemClock
from ..context import AttemptCancelled, Context
from ..core.commands import Command
from ..model import Given, PipelineStep
from ..steps import registry
from .child import Channel, survives_pickling
from .worker_process import WorkerProcess


class Task(msgspec.Struct, frozen=True):
    """An attempt as it is sent; ``serial`` tells it from the others of this process."""

    serial: int
    step: int
    number: int
    definition: StepDefinition
    inputs: Mapping[str, Value] | Value
    policy: RetryPolicy | None
    checkpoints: Mapping[str, Value]
    rules: tuple[Rule, ...]
    given: bytes
    """A pickle, so that an error in loading it is the attempt's."""
    artifacts: FileArtifacts | None
    """None: they are in the memory of the process that sends the task."""
    allow_pickle: bool
    run_id: str
    gpus: tuple[int, ...]
    waits: Mapping[str, Value | None]


class Begun(msgspec.Struct, frozen=True):
    """The task has arrived; nothing of the handler has run."""


class Ended(msgspec.Struct, frozen=True):
    """How the attempt ended."""

    command: Command | None


class Progressed(msgspec.Struct, frozen=True):
    """Arguments of the context's report."""

    arguments: tuple[float, float | None, str | None]


class Beat(msgspec.Struct, frozen=True):
    """The attempt shows life."""


class Logged(msgspec.Struct, frozen=True):
    """A message of the handler's logger."""

    level: str
    values: dict[str, Any]


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint; None, once it is committed, or an error is the answer."""

    key: str
    value: Value


class Put(msgspec.Struct, frozen=True):
    """An artifact to keep; its digest, or an error, is the answer."""

    data: bytes


class Get(msgspec.Struct, frozen=True):
    """An artifact that is wanted; its bytes, or an error, are the answer."""

    digest: str


class Cancel(msgspec.Struct, frozen=True):
    """Said to an attempt whose run is being cancelled."""


class Asked(msgspec.Struct, frozen=True):
    """Said to an attempt: whether it should hand its step back."""

    back: bool


_serials = count()
"""Every message is a pair of a task's serial and what is said: what a thread that outlived its
attempt says, and what comes too late for one, must not concern the next."""


# The engine's side


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
    )
    return pickle.dumps(partial(_serve, task))


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
                continue
            if isinstance(message, Progressed):
                context.report(*message.arguments)
            elif isinstance(message, Beat):
                context.heartbeat()
            elif isinstance(message, Logged):
                getattr(context.log, message.level)(**message.values)
            else:
                worker.tell((serial, _answer(context, message)))
    except BaseException as error:
        worker.kill()  # it may be in the middle of the handler
        if isinstance(error, WorkerLost) and not begun:
            raise _NeverBegun(*error.args) from None
        raise


class _NeverBegun(WorkerLost):
    """The worker process died before it took the task."""


def _answer(context: Context, message: Put | Get | Saved) -> Any:
    try:
        if isinstance(message, Put):
            return context.artifacts.put(message.data)
        if isinstance(message, Get):
            return context.artifacts.get(message.digest)
        return context.save(message.key, message.value)
    except (AttemptCancelled, AppendRefused):
        return AttemptCancelled()
    except Exception as error:
        return error if survives_pickling(error) else RuntimeError(repr(error))


# The worker's side

BEAT_INTERVAL = 100_000_000
"""Least nanoseconds between two signs of life that are passed on."""


class RemoteContext(Context):
    """The context in a worker process: what it is told goes to the engine's process."""

    say: Callable[[Any], None]

    def heartbeat(self) -> None:
        """Passed on ten times a second at most."""
        before = self.beat_at
        if self._clock.monotonic() - before >= BEAT_INTERVAL:
            super().heartbeat()
            self.say(Beat())

    @property
    def log(self) -> Any:
        """A logger whose messages appear where the engine's do."""
        return _forwarding_logger(self.say)


def _forwarding_logger(say: Callable[[Any], None]) -> Any:
    import structlog

    def forward(_: Any, level: str, values: Any) -> Any:
        plain = {key: _sendable(value) for key, value in values.items()}
        say(Logged(level, plain))
        raise structlog.DropEvent

    return structlog.wrap_logger(None, processors=[structlog.processors.format_exc_info, forward])


def _sendable(value: Any) -> Any:
    """Plain values as they are; of others, whose classes the engine may not know, their text."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    try:
        return repr(value)
    except Exception as error:  # a broken __repr__ must not cost the attempt
        return f"<{type(value).__name__}, whose __repr__ raised {type(error).__name__}>"


class Questions:
    """Asks the engine's process, one thing at a time, and waits for the answer."""

    def __init__(self, say: Callable[[Any], None]) -> None:
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self._say = say
        self._asking = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """The attempt is over: a thread that outlives it can ask nothing more."""
        with self._asking:
            self._closed = True

    def ask(self, message: Put | Get | Saved) -> Any:
        """The answer. Raises the one that is an error."""
        with self._asking:
            if self._closed:
                raise AttemptCancelled
            self._say(message)
            answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class RemoteArtifacts:
    """Artifacts in the memory of the engine's process."""

    trusted = True

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def put(self, data: bytes) -> str:
        """Keep ``data`` there."""
        return str(self._questions.ask(Put(data)))

    def get(self, digest: str) -> bytes:
        """The bytes of that digest."""
        return bytes(self._questions.ask(Get(digest)))


def _serve(task: Task, channel: Channel) -> None:
    """Carry the attempt out and send how it ended."""

    def say(message: Any) -> None:
        channel.send((task.serial, message))

    say(Begun())
    questions = Questions(say)
    artifacts: Artifacts = task.artifacts or RemoteArtifacts(questions)
    context = RemoteContext(
        run_id=task.run_id,
        step=task.definition.name,
        attempt=task.number,
        artifacts=artifacts,
        clock=SystemClock(),
        report=lambda *arguments: say(Progressed(arguments)),
        save=lambda key, value: questions.ask(Saved(key, value)),
        checkpoints=task.checkpoints,
        allow_pickle=task.allow_pickle,
        gpus=task.gpus,
        waits=task.waits,
    )
    context.say = say
    words = threading.Thread(
        target=_hear, args=(channel, task.serial, context, questions), daemon=True
    )
    words.start()
    outcome: SimpleQueue[Command | None] = SimpleQueue()
    attempt = Attempt(
        step=task.step,
        number=task.number,
        definition=task.definition,
        inputs=task.inputs,
        given=Given(),
        policy=task.policy,
        rules=task.rules,
        artifacts=artifacts,
        allow_pickle=task.allow_pickle,
        strict=True,
        context=context,
        closing=threading.Event(),
    )
    try:
        attempt = msgspec.structs.replace(attempt, given=channel.load(task.given))
    except BaseException as error:  # importing its module may raise anything
        outcome.put(failed(attempt, _not_found(task, error), 0))
    else:
        carry_out(attempt, outcome.put, lambda: None)
    command = outcome.get()
    questions.close()
    channel.words.put((task.serial, Ended(None)))
    words.join()
    say(Ended(command))


def _hear(channel: Channel, serial: int, context: Context, questions: Questions) -> None:
    """Take what is said to the attempt, until it has ended."""
    while True:
        of, word = channel.words.get()
        if of != serial:
            continue
        if isinstance(word, Ended):
            return
        if isinstance(word, Cancel):
            context.cancel()
        elif isinstance(word, Asked):
            context.ask_back(word.back)
        else:
            questions.answers.put(word)


def _not_found(task: Task, error: BaseException) -> HandlerNotFound:
    found = HandlerNotFound(
        f"step {task.definition.name!r}: its handler cannot be loaded in the worker process: "
        f"{type(error).__name__}: {error}"
    )
    found.__cause__ = error
    return found
