"""An attempt in a worker process: the worker's side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import msgspec

from ...events.artifacts import Artifacts
from ...events.codec import Value
from ...events.errors import HandlerNotFound
from ...events.values import ErrorInfo
from ..attempt import Attempt, carry_out, failed
from ..classify import text_of
from ..clock import SystemClock
from ..context import AttemptCancelled, Context
from ..core.commands import Command
from ..model import Given
from ..saying import Said, plain
from .child import Channel
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


def _sendable(said: Said) -> Said:
    """Without what the engine's process may have no classes for."""
    values = {key: plain(value) for key, value in said.values.items()}
    return msgspec.structs.replace(said, values=values, error=None)


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

    def ask(self, message: Put | Get | Saved | Flush) -> Any:
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


class RemoteJournal:
    """The journal of the engine's process."""

    def __init__(self, questions: Questions, say: Callable[[Any], None]) -> None:
        self._questions, self._say = questions, say

    def checkpoint(self, key: str, value: Value) -> None:
        """Recorded there."""
        self._questions.ask(Saved(key, value))

    def item(self, key: str, outcome: Value | ErrorInfo) -> None:
        """Recorded there, later."""
        self._say(Item(key, outcome))

    def flush(self) -> None:
        """All of it is recorded there."""
        self._questions.ask(Flush())


def serve(task: Task, channel: Channel) -> None:
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
        hear=lambda said: say(_sendable(said)),
        journal=RemoteJournal(questions, say),
        checkpoints=task.checkpoints,
        allow_pickle=task.allow_pickle,
        gpus=task.gpus,
        waits=task.waits,
        items=task.items,
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
        f"{type(error).__name__}: {text_of(error)}"
    )
    found.__cause__ = error
    return found
