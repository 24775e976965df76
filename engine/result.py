"""What a user gets of a run: its result, and a future of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any

from ..events.artifacts import Artifacts
from ..events.codec import Value, decode
from ..events.errors import RunFailed, UnreadableValue
from ..events.machines import PipelineStatus
from ..events.values import ErrorInfo
from ..projections.metrics import metrics
from ..projections.run import Run
from .classify import recorded_error
from .logger import logger
from .model import plain_to_value


class ExecutionResult:
    """How a run ended.

    Attributes:
        run_id: The run.
        success: Whether it completed.
        status: Its status.
        errors: What failed, a line each: the step, the error's type and message.
        warnings: What was odd about the pipeline or the run.
        metrics: See :func:`semantica.pipeline.projections.metrics.metrics`.
        metadata: The pipeline's metadata, and its name as ``pipeline``.
    """

    def __init__(
        self,
        *,
        run_id: str,
        status: PipelineStatus,
        errors: list[str],
        warnings: list[str],
        metrics: dict[str, Any],
        metadata: dict[str, Any],
        load_output: Callable[[], Any],
        cause: ErrorInfo | None = None,
    ) -> None:
        self.run_id = run_id
        self.status = status
        self.success = status is PipelineStatus.COMPLETED
        self.errors = errors
        self.warnings = warnings
        self.metrics = metrics
        self.metadata = metadata
        self._load_output = load_output
        self._cause = cause

    @cached_property
    def output(self) -> Any:
        """The sink's output, or ``{name: output}`` of several; None without success.

        Read from the log when first asked for, so that a large output costs nothing before.
        """
        return self._load_output()

    def raise_for_status(self) -> ExecutionResult:
        """This result, if the run succeeded.

        Raises:
            RunFailed: It did not. ``__cause__`` is the first error that failed a step, as it was
                recorded, with its own causes.
        """
        if not self.success:
            reasons = "; ".join(self.errors) or "it was ended before it was done"
            cause = recorded_error(self._cause) if self._cause is not None else None
            raise RunFailed(f"run {self.run_id} is {self.status}: {reasons}") from cause
        return self

    def __repr__(self) -> str:
        return (
            f"ExecutionResult(run_id={self.run_id!r}, status={str(self.status)!r}, "
            f"errors={self.errors!r})"
        )


def result_of(
    run: Run, artifacts: Artifacts, now: int, warnings: list[str] | None = None
) -> ExecutionResult:
    """The result of a run that has ended; it keeps nothing of the run but its outputs."""
    state, graph = run.state, run.graph
    outputs: dict[str, Value] = {}
    if state.status == PipelineStatus.COMPLETED:
        for i in graph.sinks:
            # A step skipped, or after one that failed under on_failure="continue", has none.
            value = state.steps[i].output
            if value is not None:
                outputs[graph.name(i)] = value
    several = len(graph.sinks) > 1
    allow_pickle = state.allow_pickle

    def load() -> Any:
        decoded = {
            name: decode(value, artifacts, allow_pickle=allow_pickle)
            for name, value in outputs.items()
        }
        return decoded if several else next(iter(decoded.values()), None)

    return ExecutionResult(
        run_id=run.run_id,
        status=run.status,
        errors=_errors(run),
        warnings=[*state.warnings, *(warnings or ())],
        metrics=metrics(run, now),
        metadata={"pipeline": state.name, **_metadata(run, artifacts)},
        load_output=load,
        cause=state.cause,
    )


def _errors(run: Run) -> list[str]:
    state = run.state
    told = {i: state.steps[i].error for i in state.failed}
    errors = [error.of(run.graph.name(i)) for i, error in told.items() if error is not None]
    if state.status == PipelineStatus.ERASED:
        errors.insert(
            0, f"the run was erased: its contents cannot be read any more ({state.ended})"
        )
    if state.status == PipelineStatus.ROLLBACK_FAILED:
        i = state.undo[-1]
        error = state.steps[i].error
        assert error is not None  # the fold keeps the error of every failed undo
        errors.append(f"undoing {error.of(run.graph.name(i))}")
    return [str(state.cause), *errors] if state.late else errors


def _metadata(run: Run, artifacts: Artifacts) -> dict[str, Any]:
    """The pipeline's metadata; what cannot be read back here stays in its recorded form."""
    plain = run.graph.definition.metadata
    try:
        return plain_to_value(plain, allow_pickle=artifacts.trusted)
    except UnreadableValue:
        return plain


class PipelineFuture(Future[ExecutionResult]):
    """The result of a run that goes on: ``.result(timeout)``, or ``await`` it.

    It is resolved when the run has completed, failed, stopped or been cancelled; a paused run
    keeps it waiting. Use the engine's ``cancel_pipeline`` to cancel: a future cannot.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.keep: object = None
        """Whatever must live as long as this future (its engine)."""

    def cancel(self) -> bool:
        """Never cancels; see the class."""
        return False

    def add_done_callback(self, fn: Callable[[Future[ExecutionResult]], object]) -> None:
        """As of any future; whatever ``fn`` raises is told in the log, and ends nothing."""
        super().add_done_callback(partial(self._call, fn))

    def _call(self, fn: Callable[[Future[ExecutionResult]], object], _: object) -> None:
        try:
            fn(self)
        except BaseException:  # SystemExit too: it is called in a turn that others wait for
            logger().exception("a callback of a future raised; the run is over", run=self.run_id)

    def __await__(self) -> Generator[Any, None, ExecutionResult]:
        import asyncio

        return asyncio.wrap_future(self).__await__()
