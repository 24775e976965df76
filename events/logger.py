"""The library's own log messages, through structlog, as the application has configured it."""

from __future__ import annotations

import sys
from typing import Any


def logger() -> Any:
    """The logger of this library. Without any configuration it writes to standard error, since
    standard output belongs to the application."""
    import structlog  # imported when there is something to say

    if structlog.is_configured():
        return structlog.get_logger("semantica.pipeline")
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )
