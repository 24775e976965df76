"""Where steps keep files of their own: beside the log."""

from __future__ import annotations

from pathlib import Path

from ...events.artifacts import Artifacts, FileArtifacts
from ...events.sqlite_connection import beside as companion


def beside(artifacts: Artifacts, suffix: str) -> Path | None:
    """The log's companion with that suffix; None for a log that is in memory."""
    if isinstance(artifacts, FileArtifacts) and artifacts.log is not None:
        return companion(artifacts.log, suffix)
    return None
