"""Asking a pool for an allocation, and giving it back: decisions on a draft."""

from __future__ import annotations

from collections.abc import Callable

from ..events import resource as r
from ..events.errors import PipelineError, ResourceUnavailable
from ..projections.pool import PoolState
from .core.capacity import candidates, free, impossible
from .pool import Draft


def take(draft: Draft, allocation: str) -> bool:
    """Grant a request if it is its turn and it fits."""
    for offered, grant in draft.survey():
        if offered == allocation:
            draft.record(r.AllocationGranted(allocation, grant.amounts, grant.gpus))
            return True
    return False


def take_from_the_dead(draft: Draft, allocation: str, is_dead: Callable[[str], bool]) -> bool:
    """The same, after what dead owners hold has been freed."""
    return draft.free_the_dead(is_dead) and take(draft, allocation)


def deny_if_in_vain(draft: Draft, allocation: str) -> None:
    """End a request that can never be granted, since there is less to be had than there was."""
    request = draft.state.requests.get(allocation)
    if request is not None:
        problem = impossible(draft.state, request.amounts, request.names)
        if problem is not None:
            draft.record(r.AllocationDenied(allocation, problem))


def give_up(draft: Draft, allocation: str) -> None:
    """Withdraw a request, or give back what it has got."""
    if allocation in draft.state.requests:
        draft.record(r.AllocationWithdrawn(allocation))
    elif allocation in draft.state.held:
        draft.record(r.AllocationReleased(allocation))


def give_back(draft: Draft, allocation: str) -> bool:
    """Give back what is held; whether it was. Raises PipelineError: it is held for a step."""
    held = draft.state.held.get(allocation)
    if held is None:
        return False
    if held.request.run is not None:
        raise PipelineError(
            f"allocation {allocation!r} is held for step {held.request.step!r} of run "
            f"{held.request.run}, whose engine gives it back"
        )
    draft.record(r.AllocationReleased(allocation))
    return True


def unavailable(state: PoolState, request: r.AllocationRequested) -> ResourceUnavailable:
    """What to say of a request for one resource that was not granted."""
    ((resource_id, wanted),) = request.amounts.items()
    problem = impossible(state, request.amounts, (request.pipeline,))
    if problem is not None:
        return ResourceUnavailable(f"it can never be allocated: {problem}")
    left = max(free(state, key) for key in candidates(state, resource_id))
    waiting = f", and {len(state.requests)} wait" if state.requests else ""
    return ResourceUnavailable(
        f"{wanted:g} of {resource_id!r} are wanted and {max(0.0, left):g} are free{waiting}; wait "
        "for it with timeout=..., or give something back"
    )
