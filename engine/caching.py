"""Whether a step need not run, since the same work was done before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from ..events.codec import Value
from ..events.definition import StepDefinition
from ..events.errors import HandlerNotFound, UnreadableValue
from .model import Given, fingerprint, rebuild_step
from .steps import registry
from .version import VERSION


def cache_key(
    definition: StepDefinition, given: Given, inputs: Iterable[tuple[str, Value]]
) -> str | None:
    """What tells this work from other work: the step's type, its handler's code, its configuration
    and its inputs, by their content.

    Returns:
        None: there is nothing to go by, since the handler is not to be had or has no code.
    """
    code = _code_of(definition, given)
    if code is None:
        return None
    told = [definition.type, definition.handler, code, definition.config, VERSION]
    digest = hashlib.blake2b(msgspec.json.encode(told), digest_size=16)
    for name, value in inputs:
        digest.update(msgspec.json.encode([name, value]))
    return digest.hexdigest()


def _code_of(definition: StepDefinition, given: Given) -> str | None:
    if given.handler is not None:
        return fingerprint(given.handler)
    try:
        handler = registry.resolve(rebuild_step(definition, allow_pickle=False))
    except (HandlerNotFound, UnreadableValue):
        return None
    return None if handler is None else fingerprint(handler)
