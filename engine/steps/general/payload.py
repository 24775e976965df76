"""What a step's input is sent as, to programs and servers."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import StepInputError


def to_bytes(step: str, data: Any) -> tuple[bytes, str]:
    """A step's input as bytes to send, and their media type: text as UTF-8, bytes as they are,
    all else as JSON.

    Raises:
        StepInputError: JSON cannot hold it.
    """
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
    if isinstance(data, (bytes, bytearray)):
        return bytes(data), "application/octet-stream"
    try:
        return msgspec.json.encode(data), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise StepInputError(
            f"{step}: its input, a value of type {type(data).__name__}, cannot be sent: {error}; "
            "put a step before it that makes text or plain data of it"
        ) from error
