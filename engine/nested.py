"""A step that is a pipeline, as a worker carries it out: it hands over, or tells the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..events.codec import decode, encode
from ..events.step import ChildEnd
from .classify import ChildFailed
from .context import AttemptDelegated, Context


def hand_over(allow_pickle: bool, data: Any, context: Context) -> None:
    """The handler of a step that is a pipeline. Raises AttemptDelegated."""
    raise AttemptDelegated(encode(data, context.artifacts, allow_pickle=allow_pickle))


def tell(
    allow_pickle: bool, ended: ChildEnd, step: Any, read: Callable[[], Any], context: Context
) -> Any:
    """What the run of a step gave. Raises ChildFailed."""
    if ended.error is not None:
        raise ChildFailed(ended.error)
    for name, amount in ended.metrics.items():
        context.metric(name, amount)
    outputs = {
        name: decode(value, context.artifacts, allow_pickle=allow_pickle)
        for name, value in ended.outputs.items()
    }
    return outputs if ended.several else next(iter(outputs.values()), None)
