"""A cut of the power at every moment: what is promised of each durability is there.

A real process is recorded, system call by system call, and its disk made again as it could be
after a cut at any of them (:mod:`power_disk`). ``python tests/crash/power_long.py`` cuts oftener.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import power
import pytest
from power_disk import Disk
from power_recording import can_record, record

from semantica.pipeline.events.artifacts import FileArtifacts, digest_of

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


PUT = """
import sys
from pathlib import Path
from semantica.pipeline.events.artifacts import FileArtifacts
print(FileArtifacts(Path(sys.argv[1]) / "log.artifacts").put(b"x" * 10_000))
"""


@pytest.mark.parametrize("sync", range(1, 5))
def test_what_a_killed_process_left_unsynced_is_synced_by_the_next(
    tmp_path: Path, sync: int
) -> None:
    """It is killed at one of its syncs; another puts the same; then the power is cut."""
    root, left = tmp_path / "disk", tmp_path / "left"
    root.mkdir()
    left.mkdir()
    killed = f"fsync:signal=KILL:error=EIO:when={sync}"
    first = record(tmp_path / "trace", root, "-c", PUT, str(root), inject=killed)
    second = record(tmp_path / "trace", root, "-c", PUT, str(root))
    disk, later = Disk(root), first[-1].ended + 1
    for one in first:
        disk.apply(one)
    for one in second:
        disk.apply(one._replace(begun=one.begun + later, ended=one.ended + later))
    disk.lose_power(left, Random(1), 0.0)
    data = b"x" * 10_000
    assert FileArtifacts(left / "log.artifacts").get(digest_of(data)) == data


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
