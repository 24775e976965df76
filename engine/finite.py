"""Numbers that handlers give, as they can be recorded."""

from __future__ import annotations

import math

MAX_SECONDS = 3e9
"""Of a wait: a century."""


def finite(name: str, amount: float) -> float:
    """A number that JSON can hold: a plain int or a finite float, also of one of NumPy's.
    Raises ValueError."""
    if type(amount) is int and abs(amount) < 2**63:
        return amount
    number = float(amount)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, not {amount!r}")
    return number


def waitable(seconds: float) -> float:
    """A time to wait, in seconds. Raises ValueError."""
    number = finite("the time", seconds)
    if not 0 <= number <= MAX_SECONDS:
        raise ValueError(f"a time to wait is 0 to {MAX_SECONDS:.0e} seconds, not {seconds!r}")
    return number
