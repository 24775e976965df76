"""From the name of a model to the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ....events.errors import nearest
from ..errors import StepConfigError
from .model import Model
from .weights import MINILM, ModelMissing

KEY = "OPENAI_API_KEY"
OPENAI = ("text-embedding-3-large", "text-embedding-3-small", "text-embedding-ada-002")
PREFIX = "openai:"
"""Before the name of any other model behind an API of that kind."""
HASHING = "hashing"
LOCAL = (MINILM.name, f"sentence-transformers/{MINILM.name}")


class Choice(NamedTuple):
    """A model, and what there is to warn of."""

    model: Model
    warning: str | None = None


def choose(name: str | None, max_length: int | None = None) -> Choice:
    """The model of that name; None: the local one.

    What needs OPENAI_API_KEY is replaced by the local model, with a warning, when that is not set.

    Raises:
        StepConfigError: There is no such model.
        ModelMissing: The local model is not installed.
        MissingExtra: A library it needs is not installed.
    """
    if name is None or name in LOCAL:
        return Choice(_local(max_length))
    if name == HASHING:
        from .hashing import Hashing

        return Choice(Hashing(), "the model 'hashing' knows no meaning, only words")
    if name not in OPENAI and not name.startswith(PREFIX):
        known = (*LOCAL, *OPENAI, HASHING)
        hint = nearest(name, known) or f"; known are {', '.join(known)}, and {PREFIX}NAME"
        raise StepConfigError(f"embed: model={name!r} is not known{hint}")
    if os.environ.get(KEY):
        from .openai_api import OpenAIModel

        return Choice(OpenAIModel(name, name.removeprefix(PREFIX), max_length))
    try:
        local = _local(max_length)
    except ModelMissing as error:
        raise ModelMissing(f"{KEY} is not set, so {name} cannot be used, and {error}") from None
    return Choice(
        local, f"{KEY} is not set: embedded with the local model {local.name} in place of {name}"
    )


def _local(max_length: int | None) -> Model:
    from .minilm import MiniLM

    make: Callable[[int | None], Model] = MiniLM
    return make(max_length)
