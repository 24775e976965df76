"""The simulation compares states itself, after every move, and reading may fail in it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def live_state_equals_replayed_state() -> None:
    """Stands in for the one of all tests."""
