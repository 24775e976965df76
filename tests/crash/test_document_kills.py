"""Killed while it reads documents, a run ends with every one of them, once."""

from __future__ import annotations

from pathlib import Path

from documents_long import check, make_folder, survive, undisturbed

FILES, KILLS = 300, 2  # tests/crash/documents_long.py takes any number


def test_no_document_is_lost_or_there_twice(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    made = make_folder(folder, FILES, seed=7)
    expected = undisturbed(tmp_path, folder, timeout=60)
    check(expected, made)
    outcome = survive(tmp_path, folder, made, KILLS, seed=7, timeout=60)
    assert outcome.life.shards == expected.shards, "the output differs from an undisturbed run's"
    assert outcome.kills >= 1
    assert outcome.interrupted, "no kill found a step in flight: the test shows nothing"
