"""A run told event by event, with a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contract.runs import SECOND, batch, claim, completed, define, started, submission

from semantica.pipeline.events import step as s
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.upcasters import Event
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.projections.run import Run

ERROR = ErrorInfo("builtins.ValueError", "no", retryable=True)


class Story:
    """Tells events to a run, and records them in a log in memory."""

    def __init__(
        self,
        steps: Mapping[str, Sequence[str]],
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        definition: PipelineDefinition | None = None,
        **fields: Any,
    ) -> None:
        self.definition = definition or define(steps, **(options or {}))
        self.store = MemoryStore()
        self.run = Run("r", self.definition)
        self.seconds = 0.0
        self.tell(submission(self.definition, self.store.artifacts, **fields))

    @property
    def now(self) -> int:
        return int((1_000_000 + self.seconds) * SECOND)

    def after(self, seconds: float) -> Story:
        self.seconds += seconds
        return self

    def tell(self, *events: Event, epoch: int = 1) -> Story:
        version = self.run.state.version
        for event in events:
            next_version = self.run.state.version + 1
            self.run.apply(event, version=next_version, at=self.now, epoch=epoch)
        self.store.append([batch("r", version, *events, epoch=epoch, at=self.now)])
        return self

    def claim(self, owner: str = "engine-1") -> Story:
        return self.tell(claim(owner))

    def start(self, *steps: str) -> Story:
        for name in steps:
            self.tell(started(name, self.run.step(name).attempt + 1))
        return self

    def complete(self, *steps: str) -> Story:
        for name in steps:
            self.tell(completed(name, self.run.step(name).attempt))
        return self

    def fail(self, *steps: str) -> Story:
        for name in steps:
            self.tell(s.StepFailed(name, self.run.step(name).attempt, ERROR))
        return self

    def retry(self, name: str, seconds: float) -> Story:
        number = self.run.step(name).retries + 1
        due = self.now + int(seconds * SECOND)
        return self.tell(s.StepRetryScheduled(name, number, seconds, due))

    def next_ready(self) -> str | None:
        i = self.run.next_ready()
        return None if i is None else self.run.graph.name(i)
