"""A handler that says what its configuration may hold by a schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from .. import binding

F = TypeVar("F", bound=Callable[..., Any])


def configured(schema: type[Struct]) -> Callable[[F], F]:
    """Give the decorated handler the attribute ``config_schema``: it gets the schema's fields,
    converted, defaults included, and any other key is an error.

    Raises:
        TypeError: ``schema`` is no ``msgspec.Struct`` type, or the handler does not take its
            fields.
    """
    if not (isinstance(schema, type) and issubclass(schema, Struct)):
        raise TypeError(f"config must be a msgspec.Struct type, not {schema!r}")

    def declare(handler: F) -> F:
        for _, message in binding.fit(handler, schema.__struct_fields__):
            raise TypeError(f"the schema {schema.__name__}: {message}")
        handler.config_schema = schema  # type: ignore[attr-defined]
        return handler

    return declare
