"""Timers."""

from __future__ import annotations

from semantica.pipeline.engine.timers import Timers


class Clock:
    """Two hands, set by hand."""

    wall = steady = 0

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> int:
        return self.steady


def test_what_is_called_finds_that_it_is_time() -> None:
    """What is due between the moment that a turn takes for its time and now waits for the next one:
    a decision would find it too early, and nothing would call it again."""
    clock, fired = Clock(), list[str]()
    timers = Timers(clock)
    timers.at(100, lambda: fired.append("wall"))
    timers.after(100e-9, lambda: fired.append("steady"))
    clock.wall = clock.steady = 101
    timers.fire_due(99)
    assert fired == ["steady"]
    assert timers.next_in() == 0
    timers.fire_due(100)
    assert fired == ["steady", "wall"]
    assert timers.next_in() is None
