"""What a mixed load takes of memory, handles, threads and processes does not grow with the runs.

``python tests/soak_long.py --minutes 10`` looks for longer.
"""

from __future__ import annotations

from pathlib import Path

from soak.measuring import Sample, growth, soak

SECONDS = 6.0


def test_a_mixed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    samples = soak(tmp_path / "soak.db", SECONDS, SECONDS / 30, lambda sample: None)
    assert samples[-1].runs > 60
    assert not growth(samples), growth(samples)


def test_what_leaks_is_found() -> None:
    def sample(i: int, files: int) -> Sample:
        return Sample(float(i), i, 50.0, files, 10, 1, 1.0, 4.0)

    assert not growth([sample(i, 20 + i % 5) for i in range(1, 31)])
    assert growth([sample(i, 20 + i) for i in range(1, 31)]) == [
        "files grew from 34.5 to 47.5 after the warm-up"
    ]
