"""A process may die right before or right after any commit: the next one comes to the same end.

``python tests/crash/boundaries_long.py`` takes every shape; here are a few.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from boundaries import cross


@pytest.mark.parametrize(
    ("shape", "output", "appends"),
    [("diamond", 5, 4), ("waits", 12, 5), ("rollback", "rolled back", 6), ("within", 1, 4)],
)
def test_a_crash_at_any_boundary_changes_nothing(
    tmp_path: Path, shape: str, output: object, appends: int
) -> None:
    seen = cross(tmp_path, shape)
    assert seen.output == output
    assert seen.appends >= appends
    assert seen.crashes >= 2 * appends - 2, "a process that was to be killed lived on"
