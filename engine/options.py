"""What an engine is told: by its constructor, the objects given to it, and configuration."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ..events.definition import RetryPolicy
from .backends.workers import default_workers
from .configuration import PipelineConfig
from .failure import FailureHandler
from .model import EXECUTORS

if TYPE_CHECKING:
    from .parallelism import ParallelismManager


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
        ValueError: An option out of its range.
        ConfigurationError: The environment or the file is at fault.
    """
    config = config or PipelineConfig()
    if parallelism_manager is not None:
        max_workers = max_workers or parallelism_manager.max_workers
        executor = executor or ("process" if parallelism_manager.use_processes else "thread")
    if max_workers is None:
        max_workers = config.max_workers or default_workers()
    if max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, not {max_workers}")
    executor = executor or ("process" if config.use_processes else "thread")
    if executor not in EXECUTORS:
        raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
    if not isinstance(failure_handler, FailureHandler | None):
        raise TypeError(f"failure_handler: not a FailureHandler: {failure_handler!r:.60}")
    failure_handler = failure_handler or FailureHandler(config=config)
    retry: RetryPolicy | None = failure_handler.default_policy
    if not (config.retry_on_failure if retry_on_failure is None else retry_on_failure):
        retry = None
    elif default_max_retries is not None:
        retry = replace(failure_handler.default_policy, max_retries=default_max_retries)
    return Options(max_workers, executor, config.parallelism_level, failure_handler, retry, config)


def deadline_at(deadline: float | datetime | None, now: int) -> int | None:
    """A deadline as it is recorded, ns since 1970, UTC.

    Args:
        deadline: Seconds from ``now``, or a moment with its time zone.

    Raises:
        ValueError: It is in the past, or has no time zone.
    """
    if deadline is None:
        return None
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise ValueError(f"the deadline {deadline} has no time zone; add one, such as UTC")
        at = int(deadline.timestamp() * 1e9)
    else:
        at = now + int(deadline * 1e9)
    if not now < at < 2**63:
        raise ValueError(f"the deadline {deadline} is not in the future")
    return at
