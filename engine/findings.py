"""What a validation finds, as text that can also be asked for its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN = 10
"""Names, places or cycles that one message spells out."""

_STRUCTURE = frozenset(
    {
        *("empty_pipeline", "invalid_name", "duplicate_step"),
        *("disconnected_step", "unreachable_step"),
        *("unknown_config", "missing_config", "invalid_config"),
    }
)


class Finding(str):
    """Something wrong with a pipeline, as text that can also be asked for its parts.

    Args:
        code: What kind of finding, such as ``"missing_dependency"``.
        message: What is wrong and what to do, without code and step.
        step: The step it is about, if it is about one.
    """

    __slots__ = ("code", "message", "step")
    code: str
    message: str
    step: str | None

    def __new__(cls, code: str, message: str, step: str | None = None) -> Finding:
        kind = f"{code} (structure)" if code in _STRUCTURE else code
        where = "" if step is None else f"step {step!r}: "
        finding = super().__new__(cls, f"{kind}: {where}{message}")
        finding.code, finding.message, finding.step = code, message, step
        return finding

    def within(self, step: str) -> Finding:
        """The same about a part of a nested pipeline, which is the step ``step``."""
        path = step if self.step is None else f"{step} > {self.step}"
        return Finding(self.code, self.message, path)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.code, self.message, self.step


class Findings(list[Finding]):
    """A list of findings; ``"missing_dependency" in findings`` asks for a code."""

    def __contains__(self, item: object) -> bool:
        return super().__contains__(item) or any(finding.code == item for finding in self)


@dataclass
class ValidationResult:
    """The outcome of a validation; true when the pipeline is valid.

    ``metadata`` tells the number of ``steps`` and ``dependencies``, the ``roots`` and ``sinks``,
    of an acyclic pipeline the ``depth`` (steps of the longest path) and ``width`` (the most steps
    at the same depth), and when it was asked for the ``performance``, an :class:`.Estimate`.
    """

    valid: bool
    errors: Findings = field(default_factory=Findings)
    warnings: Findings = field(default_factory=Findings)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.valid
