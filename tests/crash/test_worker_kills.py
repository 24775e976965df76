"""Workers that share queues lose nothing, repeat nothing completed, and keep the limits, though
they are killed at random; and they leave in order when they are asked to."""

from __future__ import annotations

from pathlib import Path

import workers


def test_three_workers_share_the_queues_and_survive_kills(tmp_path: Path) -> None:
    seen = workers.survive(tmp_path, runs=30, workers=3, kills=4, seed=7)
    assert seen.kills >= 3
    assert seen.workers >= 3, "the work was not shared"
    assert seen.takeovers and seen.interrupted, "no kill found a run in hand: it shows nothing"
    assert seen.most["pipeline p"] == 2 and seen.most["queue a"] == 2, "the limits never mattered"
