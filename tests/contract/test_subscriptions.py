"""What every store keeps of those who follow it."""

from __future__ import annotations

import pytest

from semantica.pipeline.events.errors import LogError
from semantica.pipeline.events.store import Store
from semantica.pipeline.events.subscriptions import Bookmark


def test_bookmarks_are_kept_by_name(store: Store) -> None:
    kept = store.subscriptions
    assert kept.load("a") == Bookmark(0, b"") and kept.names() == []
    kept.save("b", Bookmark(3))
    kept.save("a", Bookmark(1, b"\x00state"))
    kept.save("a", Bookmark(2, b"newer"))
    assert (kept.load("a"), kept.load("b")) == (Bookmark(2, b"newer"), Bookmark(3, b""))
    assert kept.names() == ["a", "b"]
    kept.drop("a")
    assert kept.load("a") == Bookmark() and kept.names() == ["b"]


def test_a_name_has_one_consumer_at_a_time(store: Store) -> None:
    with store.subscriptions.hold("a"):
        with store.subscriptions.hold("b/../c"):
            pass
        with pytest.raises(LogError, match="as 'a' just now"), store.subscriptions.hold("a"):
            raise AssertionError("two hold it")
    with store.subscriptions.hold("a"):
        pass
