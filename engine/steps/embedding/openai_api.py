"""Models behind the OpenAI API, or another server that speaks it (``OPENAI_BASE_URL``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....events.errors import PipelineError
from ..errors import MissingExtra, ServiceRefused, ServiceUnavailable
from .model import Piece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LIMIT = 8191
"""Tokens of an input, by the API's reference."""
TIMEOUT = 120.0
"""Seconds for a request."""
REQUEST = 256
"""Pieces in a request; the API takes 2048 and 300,000 tokens in all."""
REQUEST_BYTES = 250_000
"""Bytes of text in a request, a token being at least one."""
AT_ONCE = 4
"""Requests at a time."""


class OpenAIModel:
    """A model of the API, by its name.

    Retries are the engine's: the client itself makes none, so that each is in the log.

    Args:
        name: What its vectors are known by, and ``served_as`` what the API calls it.
        max_length: Tokens of a piece, of which LIMIT is the most.

    Raises:
        MissingExtra: The client is not installed.
    """

    at_once = AT_ONCE

    def __init__(self, name: str, served_as: str, max_length: int | None = None) -> None:
        try:
            import numpy as np
            import openai
        except ImportError as error:
            raise MissingExtra(f"the model {name}", "openai") from error
        self._np, self._openai = np, openai
        self.name, self._served_as = name, served_as
        self._room = min(max_length or LIMIT, LIMIT)
        self.version = f"openai/{os.environ.get('OPENAI_BASE_URL', '')}/{name}/{self._room}"
        self._client = openai.OpenAI(max_retries=0, timeout=TIMEOUT)  # the key: from OPENAI_API_KEY

    def pieces(self, text: str) -> list[Piece]:
        """The text in pieces of so many bytes, since a token is at least one."""
        if len(text) * 4 <= self._room:
            return [Piece(text or " ", len(text) or 1)]
        found, start, size = [], 0, 0
        for place, character in enumerate(text):
            width = len(character.encode("utf-8", "replace"))
            if size + width > self._room and place > start:
                found.append(Piece(text[start:place], place - start))
                start, size = place, 0
            size += width
        return [*found, Piece(text[start:] or " ", len(text) - start or 1)]

    def encode(self, contents: Sequence[Any]) -> Floats:
        """The vectors of texts, in as many requests as it takes.

        Raises:
            ServiceUnavailable, ServiceRefused: A request failed.
        """
        texts = [one.encode("utf-8", "replace").decode() for one in contents]
        rows = []
        for part in _requests(texts):
            rows.append(self._request(part))
        return self._np.concatenate(rows)

    def _request(self, texts: list[str]) -> Floats:
        openai = self._openai
        try:
            answer = self._client.embeddings.create(
                model=self._served_as, input=texts, encoding_format="float"
            )
        # What the service says of a refused key repeats a part of it, so no cause is kept.
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ServiceRefused(
                f"OPENAI_API_KEY may not use {self.name} (status {error.status_code})"
            ) from None
        except openai.APIStatusError as error:
            raise self._failed(error) from None
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise ServiceUnavailable(f"{self._client.base_url}: {reason}") from None
        rows = sorted(answer.data, key=lambda row: row.index)
        if [row.index for row in rows] != list(range(len(texts))):
            raise ServiceUnavailable(f"{self.name}: {len(rows)} vectors for {len(texts)} texts")
        return self._np.array([row.embedding for row in rows], self._np.float32)

    def _failed(self, error: Any) -> PipelineError:
        status, told = error.status_code, error.message
        passing = status in (408, 409, 429) or status >= 500
        if passing and error.code != "insufficient_quota":
            return ServiceUnavailable(f"{self.name}: {told}")
        return ServiceRefused(f"{self.name}: {told}")


def _requests(texts: list[str]) -> list[list[str]]:
    """The texts, in order, in groups that a request may hold."""
    groups: list[list[str]] = []
    room = 0
    for text in texts:
        size = len(text.encode())
        if not groups or len(groups[-1]) == REQUEST or size > room:
            groups.append([])
            room = REQUEST_BYTES
        groups[-1].append(text)
        room -= size
    return groups
