"""Credentials of steps: named in their configuration, which is recorded, and looked up in the
environment when the step runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import StepConfigError

_NAMED = re.compile(r"(?<!\S)env:([A-Za-z_][A-Za-z0-9_]*)")
_SECRET = re.compile(
    r"authorization|cookie|passw(or)?d|secret|credential|(api|access|private)[-_]?key"
    r"|(\b|_)(?<!page[-_])(?<!next[-_])(?<!sync[-_])(?<!continuation[-_])token$",
    re.IGNORECASE,
)
"""Names under which nobody keeps what everybody may read."""


def refuse_literals(what: str, values: Mapping[str, Any]) -> None:
    """Raise StepConfigError, which does not repeat it, for a credential that stands there itself.

    Args:
        what: How messages call one of the values, such as ``"header"``.
    """
    for name, value in values.items():
        if _SECRET.search(name) and value != "" and not names_one(value):
            raise StepConfigError(
                f"the {what} {name!r} looks like a credential, and what stands in a configuration "
                f"is recorded: put it into the environment and say 'env:NAME' here"
            )


def names_one(value: object) -> bool:
    """Whether it says ``env:NAME``, alone or after other words, as ``Bearer env:TOKEN`` does."""
    return isinstance(value, str) and _NAMED.search(value) is not None


def revealed(step: str, what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with what the environment has in place of each ``env:NAME``.

    Raises:
        StepConfigError: The environment does not have it.
    """

    def look_up(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise StepConfigError(
                f"{step}: a {what} is to be env:{match[1]}, and the environment has no {match[1]}"
            )
        return found

    return {
        name: _NAMED.sub(look_up, value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def secrets_in(values: Iterable[Any]) -> list[str]:
    """What :func:`revealed` puts into values, longest first, for :func:`concealed`."""
    names = (match[1] for value in values if names_one(value) for match in _NAMED.finditer(value))
    return sorted(filter(None, map(os.environ.get, names)), key=len, reverse=True)


def concealed(text: str, secrets: Iterable[str]) -> str:
    """``text``, for a message, with stars where a server or a program has repeated a secret."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
