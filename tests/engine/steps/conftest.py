"""A double of what the engine hands to a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from semantica.pipeline.engine.binding import settle
from semantica.pipeline.engine.steps.embedding.weights import MINILM, ModelMissing, locate
from semantica.pipeline.events.artifacts import Artifacts, MemoryArtifacts


class Cancelled(BaseException):
    """What the double raises when it is cancelled."""


class StepDouble:
    """Records what a step reports. ``log`` keeps the warnings."""

    def __init__(self, artifacts: Artifacts | None = None) -> None:
        self.artifacts: Artifacts = artifacts or MemoryArtifacts()
        self.metrics: dict[str, float] = {}
        self.reports: list[tuple[float, float | None, str | None]] = []
        self.warnings: list[tuple[str, dict[str, Any]]] = []
        self.cancel_after: int | None = None
        self.listeners: list[Callable[[], None]] = []
        self.log = self

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        self.reports.append((done, total, message))

    def metric(self, name: str, amount: float = 1) -> None:
        self.metrics[name] = self.metrics.get(name, 0) + amount

    def warning(self, event: str, **values: Any) -> None:
        self.warnings.append((event, values))

    def on_cancel(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)
        if self.cancelled:
            listener()

    def cancel(self) -> None:
        self.cancel_after = 0
        for listener in self.listeners:
            listener()

    @property
    def cancelled(self) -> bool:
        return self.cancel_after is not None and len(self.reports) >= self.cancel_after

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise Cancelled


@pytest.fixture(scope="session")
def minilm() -> str:
    """The name of the local model, whose weights are there."""
    try:
        locate(MINILM)
    except ModelMissing as error:
        pytest.fail(str(error))
    return MINILM.name


@pytest.fixture
def context() -> StepDouble:
    return StepDouble()


@pytest.fixture(scope="session")
def fresh_context() -> type[StepDouble]:
    """For property tests, which need a new one for each example."""
    return StepDouble


@pytest.fixture
def cancelled() -> type[BaseException]:
    return Cancelled


@pytest.fixture(scope="session")
def complaint() -> Callable[..., str]:
    """What is said of a configuration of a step, before anything runs; empty when it is sound."""

    def complaint(step: Callable[..., Any], config: dict[str, Any]) -> str:
        return "; ".join(misfit.message for misfit in settle(step, config)[1])

    return complaint
