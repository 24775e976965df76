"""A step's configuration as its handler's schema has it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..events.arguments import shown
from .binding import FILLED, FILLS, Misfit, unknown
from .kinds import did_you_mean, kind_of, members_of


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
            f"{handler} takes no configuration {name!r}"
            + (FILLS if name in FILLED else unknown(name, tuple(fields))),
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
        filled = msgspec.convert({key: _plain(value) for key, value in config.items()}, schema)
    except msgspec.ValidationError as error:
        return {}, [
            Misfit("invalid_config", f"{handler} cannot take {_problem(error, fields, config)}")
        ]
    return msgspec.structs.asdict(filled), []


def _plain(value: Any) -> Any:
    """Paths as text: a configuration may hold them, and msgspec has no word for them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [os.fspath(one) if isinstance(one, os.PathLike) else one for one in value]
    return value


def _problem(
    error: msgspec.ValidationError,
    fields: Mapping[str, msgspec.structs.FieldInfo],
    config: Mapping[str, Any],
) -> str:
    """What msgspec says, by the names and in the words of who wrote the configuration."""
    problem, _, place = str(error).partition(" - at ")
    found = re.match(r"`\$\.([^.\[`]+)(.*)`", place)
    if found is None or found[1] not in fields:
        return f"its configuration: {problem}"
    key, inside = found[1], found[2]
    hint = fields[key].type
    nested = (
        f" ({problem} at {key}{inside})" if inside else did_you_mean(config[key], members_of(hint))
    )
    return f"{key}={shown(config[key])}: it should be {kind_of(hint)}{nested}"
