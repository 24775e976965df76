"""The engine's own log messages: those of :mod:`semantica.pipeline.events.logger`."""

from ..events.logger import logger

__all__ = ["logger"]
