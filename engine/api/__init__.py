"""Event-sourced pipelines: every transition is in a durable log, so that runs survive ``kill -9``.

Everything public is here. A pipeline is built, executed, and its place never lost::

    from semantica.pipeline import ExecutionEngine, PipelineBuilder

    pipeline = PipelineBuilder().add_step("ingest", "ingest", source="./documents").build()
    result = ExecutionEngine().execute_pipeline(pipeline)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from semantica.pipeline.engine.builder import PipelineBuilder
from semantica.pipeline.engine.context import AttemptCancelled, Context
from semantica.pipeline.engine.core.commands import Refused
from semantica.pipeline.engine.execution import ExecutionEngine
from semantica.pipeline.engine.failure import ErrorRecovery, FailureHandler, FallbackHandler
from semantica.pipeline.engine.findings import ValidationResult
from semantica.pipeline.engine.model import Pipeline, PipelineStep
from semantica.pipeline.engine.result import ExecutionResult, PipelineFuture
from semantica.pipeline.engine.secrecy import Secret
from semantica.pipeline.engine.steps.registry import step
from semantica.pipeline.events.definition import RetryPolicy, RetryStrategy
from semantica.pipeline.events.errors import (
    AmbiguousRun,
    AppendRefused,
    ArchivedRun,
    ConfigurationError,
    EngineClosed,
    HandlerNotFound,
    IllegalTransition,
    ItemsFailed,
    LogCorrupt,
    LogError,
    LogTooNew,
    LogUnavailable,
    MissingKey,
    NotALog,
    PipelineError,
    PipelineValidationError,
    RecordedError,
    ReplayMismatch,
    ResourceUnavailable,
    RunConflict,
    RunFailed,
    RunNotFound,
    SecretNotFound,
    SerializationError,
    SignalTimeout,
    UnencodableValue,
    UnknownEvent,
    UnreadableValue,
)
from semantica.pipeline.events.machines import PipelineStatus, StepStatus
from semantica.pipeline.events.pipeline import Origin
from semantica.pipeline.events.resource import ResourceType
from semantica.pipeline.events.values import ErrorSeverity
from semantica.pipeline.projections.progress import Progress

if TYPE_CHECKING:
    from semantica.pipeline.engine.holdings import ResourceAllocation
    from semantica.pipeline.engine.parallelism import (
        ParallelExecutionResult,
        ParallelismManager,
        Task,
        TaskCancelled,
    )
    from semantica.pipeline.engine.resources import ResourceScheduler
    from semantica.pipeline.engine.steps.knowledge.graph import KnowledgeGraph
    from semantica.pipeline.engine.steps.vectors.searching import search
    from semantica.pipeline.engine.steps.vectors.store import Hit
    from semantica.pipeline.engine.subscribing import Projection, Record, Subscription, subscribe
    from semantica.pipeline.engine.templates import PipelineTemplate, PipelineTemplateManager
    from semantica.pipeline.engine.validator import PipelineValidator

_LATER = {
    "ParallelExecutionResult": "parallelism",
    "ParallelismManager": "parallelism",
    "Task": "parallelism",
    "TaskCancelled": "parallelism",
    "PipelineTemplate": "templates",
    "PipelineTemplateManager": "templates",
    "PipelineValidator": "validator",
    "ResourceAllocation": "holdings",
    "ResourceScheduler": "resources",
    "Projection": "subscribing",
    "Record": "subscribing",
    "Subscription": "subscribing",
    "subscribe": "subscribing",
    "KnowledgeGraph": "steps.knowledge.graph",
    "Hit": "steps.vectors.store",
    "search": "steps.vectors.searching",
}
"""What a small pipeline does not need is imported when it is first asked for, from these modules of
the engine."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.engine.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    # building
    "Pipeline",
    "PipelineBuilder",
    "PipelineStep",
    "PipelineTemplate",
    "PipelineTemplateManager",
    "PipelineValidator",
    "RetryPolicy",
    "RetryStrategy",
    "ValidationResult",
    # failures
    "ErrorRecovery",
    "ErrorSeverity",
    "FailureHandler",
    "FallbackHandler",
    # resources
    "ResourceAllocation",
    "ResourceScheduler",
    "ResourceType",
    # tasks without a pipeline
    "ParallelExecutionResult",
    "ParallelismManager",
    "Task",
    "TaskCancelled",
    # executing
    "ExecutionEngine",
    "ExecutionResult",
    "Origin",
    "PipelineFuture",
    "PipelineStatus",
    "Progress",
    "StepStatus",
    # handlers
    "AttemptCancelled",
    "Context",
    "Secret",
    "step",
    # following the log
    "Projection",
    "Record",
    "Subscription",
    "subscribe",
    # what steps have stored
    "Hit",
    "KnowledgeGraph",
    "search",
    # errors
    "AmbiguousRun",
    "AppendRefused",
    "ArchivedRun",
    "ConfigurationError",
    "EngineClosed",
    "HandlerNotFound",
    "IllegalTransition",
    "ItemsFailed",
    "LogCorrupt",
    "LogError",
    "LogTooNew",
    "LogUnavailable",
    "MissingKey",
    "NotALog",
    "PipelineError",
    "PipelineValidationError",
    "RecordedError",
    "ReplayMismatch",
    "ResourceUnavailable",
    "Refused",
    "RunConflict",
    "RunFailed",
    "RunNotFound",
    "SecretNotFound",
    "SerializationError",
    "SignalTimeout",
    "UnencodableValue",
    "UnknownEvent",
    "UnreadableValue",
]
