"""What users say of resources, checked before it is recorded for good."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..events.errors import nearest
from ..events.resource import ResourceType
from ..projections.pool import amount


def type_of(kind: ResourceType | str) -> ResourceType:
    """A type of resource. Raises ValueError."""
    try:
        return ResourceType(kind)
    except ValueError:
        hint = nearest(str(kind), ResourceType) or f"; types: {', '.join(ResourceType)}"
        raise ValueError(f"there is no type of resource {kind!r}{hint}") from None


def figure(name: str, number: float) -> float:
    """An amount. Raises TypeError or ValueError."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number, not {number!r}")
    if not math.isfinite(number) or not 0 <= number <= 1e12:
        raise ValueError(f"{name} must be a number from 0 to 1e12, not {number!r}")
    return amount(float(number))


def whole(name: str, number: int, least: int, most: int) -> int:
    """A whole number. Raises TypeError or ValueError."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be a whole number, not {number!r}")
    if not least <= number <= most:
        raise ValueError(f"{name} must be from {least:,} to {most:,}, not {number:,}")
    return number


def moment(name: str, seconds: float | None) -> int | None:
    """A time in seconds since 1970, in ns. Raises TypeError or ValueError."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be seconds since 1970, not {seconds!r}")
    if not 0 <= seconds < 2**63 / 1e9:
        raise ValueError(f"{name} must be seconds since 1970, not {seconds!r}")
    return int(seconds * 1e9)


def word(name: str, text: str) -> str:
    """A name. Raises TypeError or ValueError."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, not {text!r}")
    if not text or not text.isprintable():
        raise ValueError(f"{name} must be printable and not empty, not {text!r}")
    return text


def device_indices(indices: Iterable[int] | None) -> tuple[int, ...] | None:
    """Indices of a GPU's devices. Raises TypeError or ValueError."""
    if indices is None:
        return None
    return tuple(whole("an index of a GPU", index, 0, 100_000) for index in indices)
