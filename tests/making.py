"""The type of a fixture that many tests name."""

from __future__ import annotations

from collections.abc import Callable

from semantica.pipeline import ExecutionEngine

MakeEngine = Callable[..., ExecutionEngine]
"""Makes an engine on the test's log; takes the engine's options."""
