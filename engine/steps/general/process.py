"""Process: a function of the user's, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ....events.errors import HandlerNotFound, UnreadableValue
from ... import binding
from ...model import PipelineStep, find_handler
from ..configured import configured

if TYPE_CHECKING:
    from ...context import Context


class Options(msgspec.Struct, kw_only=True):
    """What ``process`` can be told."""

    function: Annotated[
        Annotated[
            str, msgspec.Meta(title="module:function", pattern=r"^[^\W\d][\w.]*:[^\W\d][\w.]*$")
        ]
        | None,
        msgspec.Meta(
            description="called with the step's input; without one the step hands its input on"
        ),
    ] = None
    arguments: Annotated[
        dict[str, Any],
        msgspec.Meta(description="keyword arguments of the function, beside the step's input"),
    ] = {}

    def __post_init__(self) -> None:
        if self.arguments and self.function is None:
            raise ValueError("'arguments' without a 'function' to give them to")


@configured(Options)
def process(
    data: Any, context: Context, step: PipelineStep, function: str | None, arguments: dict[str, Any]
) -> Any:
    """Call a function with the step's input, and hand on what it returns.

    The function gets the input as ``data``, or as its one positional parameter, and if it asks for
    them ``context`` and ``step``, as the handler of a step does. It may be ``async``.

    Without a function the input is handed on as it is: one value, or a mapping from the names of
    the dependencies to their outputs.

    Raises:
        HandlerNotFound: There is no such function.
        TypeError: It does not take those arguments.
    """
    if function is None:
        context.log.warning("nothing is processed: the step has no function", step=context.step)
        return data
    try:
        handler = find_handler(function)
    except UnreadableValue as error:
        raise HandlerNotFound(f"process: {error}") from error
    told = PipelineStep(step.name, step.step_type, arguments, step.dependencies)
    return binding.call(handler, step=told, data=data, context=context)
