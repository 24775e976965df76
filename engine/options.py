"""What an engine is told: by its constructor, the objects given to it, and configuration."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
from msgspec.structs import replace

from ..events.arguments import MAX_SECONDS, fault, flag, instance, number, whole
from ..events.definition import RetryPolicy
from ..events.pipeline import Origin
from .backends.workers import default_workers
from .configuration import MAX_WORKERS, PipelineConfig, given_config
from .failure import FailureHandler
from .model import EXECUTORS

if TYPE_CHECKING:
    from .parallelism import ParallelismManager
    from .resources import ResourceScheduler

OnFailure = Literal["stop", "continue", "rollback"]


class Options(msgspec.Struct, frozen=True):
    """What holds for an engine."""

    max_workers: int
    executor: str
    parallelism: int | None
    """Steps of a run in flight at once, where its pipeline does not say it."""
    failure_handler: FailureHandler
    retry: RetryPolicy | None
    """Of steps that have none of their own, nor of their type."""
    config: PipelineConfig


def resolve(
    *,
    max_workers: int | None,
    executor: str | None,
    retry_on_failure: bool | None,
    default_max_retries: int | None,
    failure_handler: FailureHandler | None,
    parallelism_manager: ParallelismManager | None,
    config: PipelineConfig | None,
) -> Options:
    """The constructor goes before the objects it was given, and those before the configuration.

    Raises:
        TypeError, ValueError: An option of a wrong type, or out of its range.
        ConfigurationError: The environment or the file is at fault.
    """
    config = given_config(config)
    manager = checked_manager(parallelism_manager)
    if max_workers is None:
        max_workers = manager.max_workers if manager is not None else config.max_workers
    if max_workers is None:
        max_workers = default_workers()
    if executor is None:
        in_processes = manager.use_processes if manager is not None else config.use_processes
        executor = "process" if in_processes else "thread"
    if executor not in EXECUTORS:
        raise fault(ValueError, "executor", "'thread' or 'process'", executor)
    if failure_handler is None:
        failure_handler = FailureHandler(config=config)
    instance("failure_handler", failure_handler, FailureHandler, "a FailureHandler")
    return Options(
        whole("max_workers", max_workers, 1, MAX_WORKERS),
        executor,
        config.parallelism_level,
        failure_handler,
        _retry(failure_handler, config, retry_on_failure, default_max_retries),
        config,
    )


def _retry(
    handler: FailureHandler, config: PipelineConfig, on_failure: bool | None, retries: int | None
) -> RetryPolicy | None:
    """The policy of steps that have none, nor their type."""
    if on_failure is None:
        on_failure = config.retry_on_failure
    policy = handler.default_policy
    if retries is not None:
        policy = replace(policy, max_retries=whole("default_max_retries", retries, 0))
    return policy if flag("retry_on_failure", on_failure) else None


def checked_manager(manager: ParallelismManager | None) -> ParallelismManager | None:
    """A manager, or None. Raises TypeError."""
    if manager is not None:
        from .parallelism import ParallelismManager  # few engines are given one

        instance("parallelism_manager", manager, ParallelismManager, "a ParallelismManager")
    return manager


def checked_scheduler(scheduler: ResourceScheduler | None) -> ResourceScheduler | None:
    """A scheduler, or None. Raises TypeError."""
    if scheduler is not None:
        from .resources import ResourceScheduler  # few engines are given one

        instance("resource_scheduler", scheduler, ResourceScheduler, "a ResourceScheduler")
    return scheduler


def checked_on_failure(on_failure: str) -> str:
    """What a run does when a step has failed for good. Raises ValueError."""
    if on_failure not in get_args(OnFailure):
        listing = "'stop', 'continue' or 'rollback'"
        raise fault(ValueError, "on_failure", listing, on_failure)
    return on_failure


def checked_origin(origin: Origin | None) -> Origin | None:
    """Where a pipeline is from, if that can be recorded. Raises TypeError or ValueError."""
    if origin is not None:
        instance("origin", origin, Origin, "an Origin")
        for name in ("target", "folder"):
            text = instance(f"origin.{name}", getattr(origin, name), str, "text")
            if text.encode(errors="ignore").decode() != text:
                raise fault(ValueError, f"origin.{name}", "text of valid characters", text)
    return origin


def deadline_at(deadline: float | datetime | None, now: int) -> int | None:
    """A deadline as it is recorded, ns since 1970, UTC.

    Args:
        deadline: Seconds from ``now``, or a moment with its time zone.

    Raises:
        TypeError: It is neither.
        ValueError: It is in the past, not finite, too far away, or has no time zone.
    """
    if deadline is None:
        return None
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise ValueError(f"the deadline {deadline} has no time zone; add one, such as UTC")
        at = int(deadline.timestamp() * 1e9)
        if at >= 2**63:
            raise ValueError(f"the deadline {deadline} is too far away: after the year 2262")
    else:
        at = now + int(number("deadline", deadline, -MAX_SECONDS) * 1e9)
    if at <= now:
        raise ValueError(f"the deadline {deadline} is not in the future")
    return at
