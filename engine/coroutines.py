"""The asyncio loop on which ``async def`` handlers wait, thousands at a time, in one thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any

from .context import AttemptCancelled, Context
from .logger import logger

Ended = Callable[[Any, BaseException | None], None]
"""Takes a coroutine's result, or what it raised."""


class Coroutines:
    """A running loop; and a thread for what follows a coroutine's end, such as encoding its
    result, which must not keep the others waiting."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._ends: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._wait, name="semantica-asyncio", daemon=True).start()
        threading.Thread(target=self._follow_up, name="semantica-results", daemon=True).start()

    def _wait(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException:  # a SystemExit of a task that a handler began; the others go on
                logger().exception("something in an async handler tried to end the asyncio loop")

    def _follow_up(self) -> None:
        while True:
            end = self._ends.get()
            try:
                end()
            except BaseException:  # what follows must be reported nevertheless
                logger().exception("the end of an async handler could not be reported")

    def run(self, coroutine: Coroutine[Any, Any, Any], context: Context, ended: Ended) -> None:
        """Have a coroutine run; a cancelled context cancels its task. Any thread."""
        self._loop.call_soon_threadsafe(self._begin, coroutine, context, ended)

    def _begin(self, coroutine: Coroutine[Any, Any, Any], context: Context, ended: Ended) -> None:
        task = self._loop.create_task(_caught(coroutine))
        task.add_done_callback(
            lambda done: self._ends.put(partial(ended, *_outcome(done, context)))
        )

        def cancel() -> None:
            self._loop.call_soon_threadsafe(task.cancel)

        context.on_cancel(cancel)


async def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """A SystemExit, or the like, must end the attempt and not the loop."""
    try:
        return await coroutine, None
    except asyncio.CancelledError:
        raise
    except TypeError as error:
        return None, _explained(error)
    except BaseException as error:
        return None, error


def _explained(error: TypeError) -> TypeError:
    """Python's error, which says nothing of what is to be done, if it is about an ``await``."""
    if not str(error).endswith("can't be used in 'await' expression"):
        return error
    told = TypeError(
        f"{error}; sleep, wait_for, map and the other methods of context are called without "
        "await, also in an async handler"
    )
    return told.with_traceback(error.__traceback__)


def _outcome(task: asyncio.Task[tuple[Any, BaseException | None]], context: Context) -> Any:
    if not task.cancelled():
        return task.result()
    if context.was_cancelled:
        return None, AttemptCancelled()
    return None, asyncio.CancelledError("the handler's coroutine was cancelled, not by its run")


_current: Coroutines | None = None
_making = threading.Lock()


def run(coroutine: Coroutine[Any, Any, Any], context: Context, ended: Ended) -> None:
    """Run a coroutine on this process's loop, which is made when first needed.

    ``ended`` is called in a thread of its own, where it may take its time.
    """
    global _current
    with _making:
        if _current is None or _current.pid != os.getpid():  # after a fork: the parent's
            _current = Coroutines()
    _current.run(coroutine, context, ended)
