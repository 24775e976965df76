"""From an exception to what is recorded of it: kind, severity, and whether a retry may help.

An exception is an object of the user's: its text, its attributes and even its ``__class__`` may
raise anything when they are asked for. So it is judged by its type, and what is read of it is read
by the methods of ``BaseException`` itself, or under guard: :func:`describe` never raises.
"""

from __future__ import annotations

import ast
import errno
import re
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeGuard, TypeVar

import msgspec
from msgspec.structs import replace

from ..events.definition import RetryPolicy
from ..events.errors import (
    HandlerNotFound,
    ItemsFailed,
    LogCorrupt,
    RecordedError,
    ReplayMismatch,
    ResourceUnavailable,
    SignalTimeout,
    UnencodableValue,
    UnreadableValue,
    WorkerLost,
)
from ..events.references import resolve_reference
from ..events.values import ErrorInfo, ErrorSeverity

B = TypeVar("B", bound=BaseException)
T = TypeVar("T")

MAX_TEXT = 20_000
"""Most characters of a message or traceback that are recorded; the middle is left out."""

MAX_RETRY_AFTER = 1e9
"""Most seconds that an error may ask for: as much as a policy may."""


class Classification(NamedTuple):
    """The kind of an error."""

    category: str
    severity: ErrorSeverity
    retryable: bool


class Rule(msgspec.Struct, frozen=True):
    """What an engine was told of an error: that of a class, by its ``module:qualname``, or one
    whose message holds a match of ``pattern``."""

    classification: Classification
    kind: str | None = None
    pattern: re.Pattern[str] | None = None

    def fits(self, error: BaseException) -> bool:
        """Whether the rule is about this error."""
        if self.kind is not None:
            return _is_one_of(error, (self.kind,))
        return self.pattern is not None and self.pattern.search(text_of(error)) is not None


LOW, MEDIUM, HIGH, CRITICAL = ErrorSeverity
_RANKS = {severity: rank for rank, severity in enumerate(ErrorSeverity)}
_BY_TYPE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Classification], ...]
_BY_TYPE = (
    (MemoryError, Classification("resource", CRITICAL, False)),
    (LogCorrupt, Classification("corruption", CRITICAL, False)),
    (
        (UnencodableValue, UnreadableValue, HandlerNotFound, ReplayMismatch),
        Classification("programming", HIGH, False),
    ),
    (ResourceUnavailable, Classification("resource", HIGH, False)),
    (WorkerLost, Classification("worker_lost", HIGH, True)),
    (SignalTimeout, Classification("timeout", MEDIUM, False)),
    (TimeoutError, Classification("timeout", MEDIUM, True)),
    (ConnectionError, Classification("network", MEDIUM, True)),
    ((InterruptedError, BlockingIOError), Classification("resource", LOW, True)),
    (
        # NotImplementedError of a handler: no other attempt will find it written.
        (TypeError, AttributeError, NameError, ImportError, SyntaxError, NotImplementedError),
        Classification("programming", HIGH, False),
    ),
    (
        (AssertionError, RecursionError, SystemExit),
        Classification("programming", HIGH, False),
    ),
    ((KeyboardInterrupt, GeneratorExit), Classification("interrupted", HIGH, False)),
    (
        (ValueError, LookupError, ArithmeticError),
        Classification("data", MEDIUM, False),
    ),
    ((FileNotFoundError, PermissionError), Classification("input", MEDIUM, False)),
)
_UNKNOWN = Classification("unknown", MEDIUM, True)
"""What nothing is known of may pass: it is worth another attempt."""
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


def classify(error: BaseException, rules: Sequence[Rule] = ()) -> Classification:
    """Classify by the rules, the last one first; then by system error number, by type and by words
    of the message."""
    for rule in reversed(rules):
        if rule.fits(error):
            return rule.classification
    if is_a(error, ItemsFailed) and error.errors:
        worst = max(error.errors.values(), key=lambda one: _RANKS[one.severity])
        again = any(one.retryable for one in error.errors.values())
        return Classification(worst.category, worst.severity, again)
    if is_a(error, OSError) and error.errno in _FULL:
        return Classification("resource", CRITICAL, False)
    if is_a(error, OSError) and error.errno in _NETWORK:
        return Classification("network", MEDIUM, True)
    for types, classification in _BY_TYPE:
        if issubclass(type(error), types):
            return classification
    told = text_of(error).lower()
    if any(word in told for word in _TRANSIENT_WORDS):
        return Classification("transient", MEDIUM, True)
    return _UNKNOWN


def is_retryable(error: BaseException, kind: Classification, policy: RetryPolicy | None) -> bool:
    """Whether another attempt may help; ``policy.retryable_errors`` overrules the kind."""
    if policy is not None and policy.retryable_errors is not None:
        return _is_one_of(error, policy.retryable_errors)
    return kind.retryable


def is_a(error: BaseException, kind: type[B]) -> TypeGuard[B]:
    """As ``isinstance``, by its type alone: its ``__class__`` may be a property that raises."""
    return issubclass(type(error), kind)


def describe(
    error: BaseException, policy: RetryPolicy | None = None, rules: Sequence[Rule] = ()
) -> ErrorInfo:
    """What is recorded of ``error``. Never raises, whatever the error does."""
    if is_a(error, ChildFailed):
        return _of_child(error.error, policy)
    classification = _guarded(lambda: classify(error, rules), lambda _: _UNKNOWN)
    return ErrorInfo(
        type=_qualified(type(error)).removeprefix("builtins."),
        message=text_of(error),
        category=classification.category,
        severity=classification.severity,
        retryable=_guarded(
            lambda: is_retryable(error, classification, policy), lambda _: classification.retryable
        ),
        traceback=traceback_of(error),
        causes=tuple(_causes(error)),
        retry_after=retry_after_of(error),
    )


def _of_child(error: ErrorInfo, policy: RetryPolicy | None) -> ErrorInfo:
    """The error of a step's run is told as it was there; whether to try again, the policy says."""
    kind = Classification(error.category, error.severity, error.retryable)
    return replace(error, retryable=is_retryable(recorded_error(error), kind, policy))


class ChildFailed(Exception):
    """Stands for the error of a step's run, which is told as that of the step."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(str(error))
        self.error = error


def retry_after_of(error: BaseException) -> float | None:
    """Seconds before which another attempt is of no use: a number from 0 to 1e9 in the error's
    attribute ``retry_after``, as a server's Retry-After is. Never raises."""

    def read() -> float | None:
        said: Any = getattr(error, "retry_after", None)
        known = isinstance(said, (int, float)) and not isinstance(said, bool)
        return float(said) if known and 0 <= said <= MAX_RETRY_AFTER else None

    return _guarded(read, lambda _: None)


def text_of(error: BaseException) -> str:
    """Its message. Never raises."""
    # A __str__ that raises must not hide the error itself.
    return _guarded(
        lambda: _clean(str(error)), lambda broken: f"(its __str__ raised {type(broken).__name__})"
    )


def traceback_of(error: BaseException) -> str:
    """As Python prints it, the chain of causes included, from the handler on: how the engine called
    it helps nobody. Never raises."""
    frames = _TRACEBACK(error)
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next

    def whole() -> str:
        if frames is not None:
            BaseException.with_traceback(error, frames)
        return _clean("".join(traceback.format_exception(error)))

    def alone(broken: BaseException) -> str:
        places = "".join(traceback.format_tb(frames))
        note = f"(could not be described further: that raised {type(broken).__name__})"
        return _clean(f"{places}{_qualified(type(error))}: {text_of(error)}\n{note}\n")

    return _guarded(whole, alone)


def timed_out(attempt: int, seconds: float, how: str, said: str) -> ErrorInfo:
    """What is recorded of an attempt that took longer than it may, or ``said`` nothing for so long,
    and was killed or abandoned."""
    return ErrorInfo(
        type="TimeoutError",
        message=f"attempt {attempt} {said} {seconds:g} s and was {how}",
        category="timeout",
        retryable=True,
    )


def recorded_error(error: ErrorInfo) -> Exception:
    """An exception as it was recorded, with its causes, without what else it held.

    It is of its own class if that can be imported and made from a message, else a RecordedError.
    """
    made = _made(error.type, error.message)
    effect = made
    for cause in error.causes:
        kind, _, message = cause.partition(": ")
        effect.__cause__ = effect = _made(kind.removeprefix("builtins."), message)
    return made


def _made(name: str, message: str) -> Exception:
    kind = _class_named(name)
    error = None if kind is None else _of_class(kind, message)
    return RecordedError(f"{name}: {message}") if error is None else error


def _of_class(kind: type[Exception], message: str) -> Exception | None:
    text = _quoted(message) if issubclass(kind, KeyError) else message
    try:
        error = kind.__new__(kind, text)  # its __init__ may want what was not recorded
        return error if _clean(str(error)) == message else None
    except BaseException:  # so may its __new__ and __str__, and raise whatever they like
        return None


def _class_named(name: str) -> type[Exception] | None:
    """The class that was recorded as ``module.qualname``, perhaps within another class."""
    parts = name.split(".")
    for end in range(len(parts) - 1, -1, -1):
        module = ".".join(parts[:end]) or "builtins"
        try:
            kind = resolve_reference(f"{module}:{'.'.join(parts[end:])}")
        except UnreadableValue:
            continue
        return kind if isinstance(kind, type) and issubclass(kind, Exception) else None
    return None


def _quoted(message: str) -> Any:
    """The key that a KeyError, whose text is the key's representation, was made with."""
    try:
        return ast.literal_eval(message)
    except Exception:  # no literal, or one too deep to be read
        return message


def _is_one_of(error: BaseException, references: tuple[str, ...]) -> bool:
    for reference in references:
        try:
            kind = resolve_reference(reference)
        except UnreadableValue:  # an error cannot be of a class that is not to be had here
            continue
        if isinstance(kind, type) and issubclass(type(error), kind):
            return True
    return False


def _causes(error: BaseException) -> list[str]:
    causes: list[str] = []
    seen = {id(error)}
    following = _CAUSE(error) or (None if _SUPPRESSED(error) else _CONTEXT(error))
    while following is not None and id(following) not in seen and len(causes) < 20:
        seen.add(id(following))
        causes.append(f"{_qualified(type(following))}: {text_of(following)}")
        following = _CAUSE(following) or _CONTEXT(following)
    return causes


def _is_ours(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__")).startswith(_ENGINE)


def _qualified(kind: type[BaseException]) -> str:
    return _guarded(lambda: _clean(_named(kind)), lambda _: "(an exception without a name)")


def _named(kind: type[BaseException]) -> str:
    if not isinstance(kind.__module__, str):
        return kind.__qualname__
    module = kind.__module__.replace("__mp_main__", "__main__")  # as a worker process calls it
    return f"{module}.{kind.__qualname__}"


def _clean(text: str) -> str:
    """Text that JSON can hold, of bounded length."""
    text = str.encode(text, "utf-8", "backslashreplace").decode()
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]}\n... cut ...\n{text[-MAX_TEXT // 2 :]}"
    return text


def _guarded(read: Callable[[], T], otherwise: Callable[[BaseException], T]) -> T:
    """What ``read`` gives; when it raises, even a SystemExit, what is said of that."""
    try:
        return read()
    except BaseException as broken:
        return otherwise(broken)


def _own(name: str) -> Callable[[BaseException], Any]:
    """Reads an attribute of exceptions of which a class of the user's may have made another one."""
    read: Callable[[BaseException], Any] = vars(BaseException)[name].__get__
    return read


_CAUSE, _CONTEXT = _own("__cause__"), _own("__context__")
_SUPPRESSED, _TRACEBACK = _own("__suppress_context__"), _own("__traceback__")

_ENGINE = __name__.rpartition(".")[0]

__all__ = [
    "Classification",
    "Rule",
    "classify",
    "describe",
    "is_a",
    "recorded_error",
    "retry_after_of",
    "text_of",
    "traceback_of",
]
