"""A YAML or JSON file that a user wrote, read without the traps of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..events.errors import SerializationError
from . import json_safe

SUFFIXES = (".yaml", ".yml", ".json")
"""How the names of such files end."""


def load(path: Path) -> Any:
    """The value that a file holds, in the format that its name tells.

    Raises:
        SerializationError: It cannot be read, or is malformed; the message says where, and leaves
            it to the caller to name the file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SerializationError(f"the file's name must end in {', '.join(SUFFIXES)}")
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe may never end
            raise SerializationError("it cannot be read: it is not a file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SerializationError(f"it cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not even a path
        raise SerializationError(f"it cannot be read: {error}") from error
    if suffix == ".json":
        value = json_safe.load(text)
        for _ in json_safe.walk(value):  # refuses deep nesting, as YAML's reader does by itself
            pass
        return value
    from . import yaml_safe  # who reads no YAML does not need PyYAML

    return yaml_safe.load(text)
