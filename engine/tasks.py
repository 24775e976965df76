"""Tasks, which a ``ParallelismManager`` executes, and their results."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ..events.errors import PipelineError, nearest


class TaskCancelled(PipelineError):
    """The error of a task that was cancelled; the message says what became of it."""


class Task:
    """A function to call once.

    Args:
        task_id: Names the task among those it is given with.
        handler: Called as ``handler(*args, **kwargs)``; an ``async def`` one is run to its end.
            To run in a process, it has to be importable: defined at the top level of a module, or
            of the main script.
        args: Positional arguments.
        kwargs: Keyword arguments.
        priority: Of the tasks that wait for a worker, those with the highest one start first,
            and among equals those that were given first.
        timeout: Seconds that the task may take once it has started; None: as long as it likes.

    Raises:
        TypeError: An unknown option, or one of a wrong type.
        ValueError: An empty id, or a timeout that is not above 0.
    """

    __slots__ = ("task_id", "handler", "args", "kwargs", "priority", "timeout")  # noqa: RUF023

    def __init__(
        self,
        task_id: str,
        handler: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
        timeout: float | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            hint = nearest(name, ("task_id", "handler", *self.__slots__))
            raise TypeError(f"Task has no option {name!r}{hint}")
        if not isinstance(task_id, str):
            raise TypeError(f"a task's id must be text, not {task_id!r}")
        if not task_id:
            raise ValueError("a task's id must not be empty")
        what = f"task {task_id!r}"
        if not callable(handler):
            raise TypeError(f"{what}: its handler must be callable, not {handler!r}")
        if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
            raise TypeError(f"{what}: args must be a tuple such as (value,), not {args!r}")
        named = {} if kwargs is None else kwargs
        if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
            raise TypeError(
                f"{what}: kwargs must be a dictionary with names as keys, not {named!r}"
            )
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise TypeError(f"{what}: priority must be an integer, not {priority!r}")
        self.task_id = task_id
        self.handler = handler
        self.args = tuple(args)
        self.kwargs = dict(named)
        self.priority = priority
        self.timeout = checked_timeout(what, timeout)

    def __repr__(self) -> str:
        return f"Task({self.task_id!r}, {self.handler!r}, priority={self.priority})"


class ParallelExecutionResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How a task ended.

    Attributes:
        task_id: The task.
        success: Whether its handler returned.
        result: What it returned; None without success.
        error: Without success, why: what the handler raised, ``TimeoutError``,
            :class:`TaskCancelled`, ``WorkerLost`` (its process died), ``HandlerNotFound`` or
            ``UnencodableValue`` (what cannot be sent to a process, or back).
        duration: Seconds that the handler took, or had taken when it was given up, without any
            waiting; None if it never started.
        cancelled: It was given up by a cancel or by the timeout of the call, not by its own.
        abandoned: It was given up, and goes on in a thread, which cannot be killed, for as long as
            it likes; what it returns is lost.
        worker: Name of the worker that had it; None if none had.
    """

    task_id: str
    success: bool
    result: Any = None
    error: BaseException | None = None
    duration: float | None = None
    cancelled: bool = False
    abandoned: bool = False
    worker: str | None = None


def checked_timeout(what: str, timeout: float | None) -> float | None:
    """The timeout. Raises TypeError or ValueError."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{what}: timeout must be a number of seconds, not {timeout!r}")
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(f"{what}: timeout must be finite and above 0, not {timeout!r}")
    return timeout


def checked_tasks(tasks: Iterable[Task]) -> list[Task]:
    """The tasks. Raises TypeError for what is none, ValueError for an id that is there twice."""
    found = list(tasks)
    ids: set[str] = set()
    for task in found:
        if not isinstance(task, Task):
            raise TypeError(f"tasks must be Task objects, not {task!r}")
        if task.task_id in ids:
            raise ValueError(f"task {task.task_id!r} is given twice; ids must differ within a call")
        ids.add(task.task_id)
    return found


def call(handler: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the handler returns; an ``async def`` one is run in an event loop of its own."""
    result = handler(*args, **kwargs)
    if inspect.iscoroutine(result):
        import asyncio  # slow to import

        return asyncio.run(result)
    return result
