"""A cut of the power at every moment: what is promised of each durability is there.

A real process is recorded, system call by system call, and its disk made again as it could be
after a cut at any of them (:mod:`power_disk`). ``python tests/crash/power_long.py`` cuts oftener.
"""

from __future__ import annotations

from pathlib import Path

import power
import pytest
from power_recording import can_record

pytestmark = pytest.mark.skipif(not can_record(), reason="strace is not here, or may not trace")

EVERY = 8
"""Operations between two cuts."""


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_a_cut_of_the_power_takes_nothing_that_was_promised(
    tmp_path: Path, durability: str
) -> None:
    recording = power.make(tmp_path, durability)
    assert {"sync", "rename", "truncate"} <= {one.kind for one in recording.operations}
    seen = power.survives(recording, durability, seed=1, every=EVERY)
    assert seen["whole"] > 100
    assert (seen["damaged"] > 0) <= (durability == "off")


@pytest.mark.parametrize(
    ("durability", "fault", "told"),
    [
        ("normal", "none", "events were acknowledged"),
        ("full", "artifacts", "artifact .* is (missing|damaged)"),
        ("full", "folders", "artifact .* is missing|no log"),
    ],
)
def test_the_cuts_find_faults(tmp_path: Path, durability: str, fault: str, told: str) -> None:
    recording = power.make(tmp_path, durability, fault)
    with pytest.raises(power.Loss, match=told):
        power.survives(recording, "full", seed=1, every=EVERY)
