"""What a built-in step says when it cannot do its work."""

from __future__ import annotations

from ...events.errors import PipelineError, nearest


class StepInputError(PipelineError, TypeError):
    """A step was given data it has no use for."""


class StepConfigError(PipelineError, ValueError):
    """A configuration value of a step that means nothing."""


class DocumentError(PipelineError):
    """A document that cannot be read; with ``on_error="skip"`` it is recorded in the document."""


class MissingExtra(PipelineError, ImportError):
    """An optional library is needed and not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs an optional library: pip install 'semantica-pipeline[{extra}]'"
        )
        self._said = purpose, extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return MissingExtra, self._said  # it may have to leave a worker process


class ServiceUnavailable(PipelineError, ConnectionError):
    """The service did not answer, or asked to come back later: another attempt may help."""

    retry_after: float | None = None
    """Seconds that it asks to wait."""


class ServiceRefused(PipelineError, ValueError):
    """The service will refuse the same request again."""


def one_of(step: str, key: str, value: object, known: tuple[str | None, ...]) -> None:
    """Raise StepConfigError unless ``value`` is one of ``known``."""
    if value not in known:
        hint = nearest(value, filter(None, known)) if isinstance(value, str) else ""
        listing = ", ".join(map(repr, known))
        raise StepConfigError(f"{step}: {key}={value!r} is not one of {listing}{hint}")
