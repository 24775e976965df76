"""From an exception to what is recorded of it: kind, severity, and whether a retry may help."""

from __future__ import annotations

import errno
import traceback
from typing import NamedTuple

from ..events.definition import RetryPolicy
from ..events.errors import (
    HandlerNotFound,
    LogCorrupt,
    UnencodableValue,
    UnreadableValue,
    WorkerLost,
)
from ..events.references import resolve_reference
from ..events.values import ErrorInfo

MAX_TEXT = 20_000
"""Most characters of a message or traceback that are recorded; the middle is left out."""


class Classification(NamedTuple):
    """The kind of an error."""

    category: str
    severity: str
    retryable: bool


_BY_TYPE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Classification], ...]
_BY_TYPE = (
    (MemoryError, Classification("resource", "critical", False)),
    (LogCorrupt, Classification("corruption", "critical", False)),
    (
        (UnencodableValue, UnreadableValue, HandlerNotFound),
        Classification("programming", "high", False),
    ),
    (WorkerLost, Classification("worker_lost", "high", True)),
    (TimeoutError, Classification("timeout", "medium", True)),
    (ConnectionError, Classification("network", "medium", True)),
    ((InterruptedError, BlockingIOError), Classification("resource", "low", True)),
    (
        (TypeError, AttributeError, NameError, ImportError, SyntaxError, NotImplementedError),
        Classification("programming", "high", False),
    ),
    ((AssertionError, RecursionError, SystemExit), Classification("programming", "high", False)),
    ((ValueError, LookupError, ArithmeticError), Classification("data", "medium", False)),
    ((FileNotFoundError, PermissionError), Classification("input", "medium", False)),
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NETWORK = {
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT,
}  # fmt: skip
_TRANSIENT_WORDS = (
    "timed out",
    "timeout",
    "temporar",
    "connection",
    "unavailable",
    "try again",
    "too many requests",
    "rate limit",
)


def classify(error: BaseException) -> Classification:
    """Classify by type, then by system error number, then by words of the message."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return Classification("resource", "critical", False)
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return Classification("network", "medium", True)
    for types, classification in _BY_TYPE:
        if isinstance(error, types):
            return classification
    told = _message(error).lower()
    if any(word in told for word in _TRANSIENT_WORDS):
        return Classification("transient", "medium", True)
    return Classification("unknown", "medium", False)


def describe(error: BaseException, policy: RetryPolicy | None = None) -> ErrorInfo:
    """What is recorded of ``error``; ``policy.retryable_errors`` overrules the classification."""
    category, severity, retryable = classify(error)
    if policy is not None and policy.retryable_errors is not None:
        retryable = _is_one_of(error, policy.retryable_errors)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _qualified(kind)
    return ErrorInfo(
        type=name,
        message=_message(error),
        category=category,
        severity=severity,
        retryable=retryable,
        traceback=_clean("".join(traceback.format_exception(_without_own_frames(error)))),
        causes=tuple(_causes(error)),
    )


def timed_out(attempt: int, seconds: float, how: str) -> ErrorInfo:
    """What is recorded of an attempt that took longer than it may, and was killed or abandoned."""
    return ErrorInfo(
        type="TimeoutError",
        message=f"attempt {attempt} took longer than {seconds:g} s and was {how}",
        category="timeout",
        retryable=True,
    )


def _is_one_of(error: BaseException, references: tuple[str, ...]) -> bool:
    for reference in references:
        kind = resolve_reference(reference)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


def _causes(error: BaseException) -> list[str]:
    causes: list[str] = []
    seen = {id(error)}
    following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while following is not None and id(following) not in seen and len(causes) < 20:
        seen.add(id(following))
        causes.append(f"{_qualified(type(following))}: {_message(following)}")
        following = following.__cause__ or following.__context__
    return causes


def _without_own_frames(error: BaseException) -> BaseException:
    """Start the traceback at the handler: how the engine called it helps nobody."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(_ENGINE):
        frames = frames.tb_next
    return error.with_traceback(frames) if frames is not None else error


def _qualified(kind: type[BaseException]) -> str:
    module = kind.__module__.replace("__mp_main__", "__main__")  # as a worker process calls it
    return f"{module}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return _clean(str(error))
    except Exception as broken:  # a __str__ that raises must not hide the error itself
        return f"(its __str__ raised {type(broken).__name__})"


def _clean(text: str) -> str:
    """Text that JSON can hold, of bounded length."""
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]}\n... cut ...\n{text[-MAX_TEXT // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


_ENGINE = __name__.rpartition(".")[0]

__all__ = ["Classification", "classify", "describe"]
