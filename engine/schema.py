"""A step's configuration as its handler's schema has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .binding import Misfit, unknown


def read(
    handler: str, schema: type[msgspec.Struct], config: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Misfit]]:
    """The fields of ``schema`` as ``config`` has them, and what is wrong with it.

    Keys that the structure does not have are errors, also where it would let them pass.

    Args:
        handler: How messages call the handler.
    """
    fields = {one.encode_name: one for one in msgspec.structs.fields(schema)}
    misfits = [
        Misfit(
            "unknown_config",
            f"{handler} takes no configuration {name!r}{unknown(name, tuple(fields))}",
        )
        for name in config
        if name not in fields
    ]
    misfits += [
        Misfit("missing_config", f"{handler} needs the configuration {name!r}, which is not given")
        for name, one in fields.items()
        if one.required and name not in config
    ]
    if misfits:
        return {}, misfits
    try:
        filled = msgspec.convert(config, schema)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        key = place.strip("`").removeprefix("$.")
        where = f"configuration {key!r}" if key else "configuration"
        return {}, [Misfit("invalid_config", f"{handler} cannot take the {where}: {problem}")]
    return msgspec.structs.asdict(filled), []
