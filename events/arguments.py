"""What is asked of arguments that are recorded: checked, and converted, when they are given.

An argument of a wrong type is an error of the call that gives it. Found later, when its event is
written or read, it would be an error of the log.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any, TypeVar

E = TypeVar("E", TypeError, ValueError)
K = TypeVar("K")

MAX_SECONDS = 1e9
"""Of a delay or timeout: 31 years; clocks and waits take no much larger figure."""
MAX_WHOLE = 2**63 - 1
"""JSON's readers do not agree about what is larger."""
MAX_WORD = 255
"""Characters of a word such as a category."""


def whole(what: str, value: Any, least: int = -MAX_WHOLE, most: int = MAX_WHOLE) -> int:
    """A whole number, as an ``int``: also one of NumPy's.

    Args:
        what: What messages call it.

    Raises:
        TypeError: It is no number, or a truth value.
        ValueError: It has a fraction, or is out of the range.
    """
    bounds = f"from {least}" + (f" to {most}" if most != MAX_WHOLE else "")
    wanted = f"a whole number {'of 64 bits' if least == -MAX_WHOLE else bounds}"
    if isinstance(value, float):
        raise fault(ValueError, what, wanted, value)
    if isinstance(value, bool):
        raise fault(TypeError, what, wanted, value)
    try:
        number = operator.index(value)
    except TypeError:
        raise fault(TypeError, what, wanted, value) from None
    if not least <= number <= most:
        raise fault(ValueError, what, wanted, value)
    return number


def number(what: str, value: Any, least: float = 0.0, most: float = MAX_SECONDS) -> float:
    """A finite number, of Python's own types. As :func:`whole`."""
    wanted = f"a number from {least:g} to {most:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise fault(TypeError, what, wanted, value)
    plain: float = value if type(value) is int else float(value)  # type: ignore[comparison-overlap]
    if not least <= plain <= most:  # nor is NaN
        raise fault(ValueError, what, wanted, value)
    return plain


def flag(what: str, value: Any) -> bool:
    """A truth value. Raises TypeError."""
    return instance(what, value, bool, "True or False")


def word(what: str, value: Any) -> str:
    """Text for reports. Raises TypeError or ValueError."""
    wanted = f"text of 1 to {MAX_WORD} printable characters"
    text = str.__str__(instance(what, value, str, wanted))
    if not 0 < len(text) <= MAX_WORD or not text.isprintable():
        raise fault(ValueError, what, wanted, value)
    return text


def instance(what: str, value: Any, kind: type[K], wanted: str) -> K:
    """An object of a class, which messages call ``wanted``. Raises TypeError."""
    if not isinstance(value, kind):
        raise fault(TypeError, what, wanted, value)
    return value


def fault(kind: type[E], what: str, wanted: str, value: object) -> E:
    """The error that says what an argument must be, and what it is."""
    return kind(f"{what} must be {wanted}, not {shown(value)}")


def shown(value: object) -> str:
    """A value as messages show it, whatever its ``__repr__`` does."""
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__}, whose __repr__ raised {type(error).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
