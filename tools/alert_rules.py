"""What is worth an alert, and who is told: a file in YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from ..engine import yaml_safe
from ..events.errors import ConfigurationError, PipelineError, nearest
from .options import span

When = Literal["failed", "stuck", "slow"]


class Rule(msgspec.Struct, frozen=True):
    """One alert.

    Args:
        when: ``failed``: a run fails, or its rollback does. ``stuck``: nothing of an active run was
            recorded for ``after`` seconds. ``slow``: it is active for so long.
        pipeline: Only runs of pipelines whose name fits, as file names do: ``nightly-*``.
        after: Seconds.
        webhook: The address that gets it, as JSON, by POST.
        headers: Of that request; ``env:NAME`` stands for an environment variable.
        command: The program, with arguments, that gets it, as JSON on standard input.
    """

    when: When
    pipeline: str = "*"
    after: float = 0.0
    webhook: str | None = None
    headers: dict[str, str] = {}
    command: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the rule is known by, as long as it says the same."""
        return blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()


class Rules(msgspec.Struct, frozen=True):
    """A file of rules; ``name`` is the consumer's."""

    name: str
    alerts: tuple[Rule, ...]


def read_rules(path: Path) -> Rules:
    """The rules in a file. Raises ConfigurationError, which lists all that is wrong."""
    try:
        told = yaml_safe.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), [error.strerror or str(error)]) from error
    except (PipelineError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [str(error)]) from error
    problems = list[str]()
    told = _mapping("the file", told, ("name", "alerts"), problems)
    given = told.get("alerts")
    if not isinstance(given, list) or not given:
        problems.append("alerts: it must be a list of at least one alert")
        given = []
    rules = [_rule(f"alerts[{i}]", one, problems) for i, one in enumerate(given)]
    name = told.get("name", "alerts")
    if not isinstance(name, str) or not name:
        problems.append(f"name: it must be text, not {name!r}")
    if problems:
        raise ConfigurationError(str(path), problems)
    return Rules(name, tuple(rule for rule in rules if rule))


def _mapping(place: str, told: Any, known: Iterable[str], problems: list[str]) -> Mapping[str, Any]:
    if not isinstance(told, dict):
        problems.append(f"{place}: it must be a mapping, not {told!r}")
        return {}
    for key in told:
        if key not in known:
            hint = nearest(str(key), known) or f"; keys: {', '.join(known)}"
            problems.append(f"{place}: no key {key!r}{hint}")
    return told


def _rule(place: str, told: Any, problems: list[str]) -> Rule | None:
    before = len(problems)
    told = dict(_mapping(place, told, Rule.__struct_fields__, problems))
    when = told.get("when")
    if when not in get_args(When):
        hint = nearest(str(when), get_args(When))
        problems.append(f"{place}.when: it must be failed, stuck or slow, not {when!r}{hint}")
    if when in ("stuck", "slow") or "after" in told:
        told["after"] = _seconds(f"{place}.after", told.get("after"), problems)
    if bool(told.get("webhook")) == bool(told.get("command")):
        problems.append(f"{place}: give either a webhook or a command")
    if len(problems) > before:
        return None
    try:
        return msgspec.convert(told, Rule)
    except msgspec.ValidationError as error:
        problems.append(f"{place}: {error}")
        return None


def _seconds(place: str, told: Any, problems: list[str]) -> float:
    found = span(str(told))
    if not found:
        problems.append(f"{place}: {told!r} is no time such as 30m (units: s, m, h, d, w)")
    return found or 0.0
