"""Whether another attempt follows a failure, and after how long."""

from __future__ import annotations

from ...events.definition import RetryPolicy, RetryStrategy


def retry_in(
    policy: RetryPolicy | None,
    retryable: bool,
    retries: int,
    elapsed: float,
    draw: float = 0.0,
    least: float | None = None,
) -> float | None:
    """Seconds until another attempt; None: there is none.

    Args:
        policy: None: nothing is retried.
        retryable: Whether another attempt may help, by the kind of the error.
        retries: How many there have been.
        elapsed: Seconds since the first attempt began.
        draw: Chance, for the jitter; see :func:`delay`.
        least: Seconds that the error asks for, which ``max_delay`` does not shorten.
    """
    if policy is None or not retryable or retries >= policy.max_retries:
        return None
    seconds = max(delay(policy, retries, draw), least or 0.0)
    late = policy.max_elapsed is not None and elapsed + seconds > policy.max_elapsed
    return None if late else seconds


def delay(policy: RetryPolicy, retry: int, draw: float = 0.0) -> float:
    """Seconds before retry number ``retry`` (from 0).

    Exponential ``initial * factor ** retry``, linear ``initial * (1 + retry * factor)`` or fixed,
    at most ``max_delay``; then shortened by up to the share ``jitter``, as ``draw`` in [0, 1) says
    ("equal jitter" with a chosen share; M. Brooker, "Exponential Backoff And Jitter", AWS 2015).
    """
    if policy.strategy is RetryStrategy.EXPONENTIAL:
        try:
            seconds = policy.initial_delay * float(policy.backoff_factor) ** retry
        except OverflowError:  # nothing grows to nothing, anything else beyond all bounds
            seconds = policy.max_delay if policy.initial_delay else 0.0
    elif policy.strategy is RetryStrategy.LINEAR:
        seconds = policy.initial_delay * (1 + retry * policy.backoff_factor)
    else:
        seconds = policy.initial_delay
    return min(seconds, policy.max_delay) * (1 - policy.jitter * draw)
