"""What there is in a pool: devices, and what the machine has."""

from __future__ import annotations

import pytest
from table import Table

from semantica.pipeline.engine import stock
from semantica.pipeline.engine.pool import Draft
from semantica.pipeline.events import resource as r
from semantica.pipeline.events.errors import PipelineError, ResourceUnavailable

# -- GPUs -----------------------------------------------------------------------------------


def test_shares_gather_on_one_device_and_whole_ones_are_whole() -> None:
    table = Table(g=3.0)
    a, b, c = (table.ask(g=0.5) for _ in range(3))
    whole = table.ask(g=1.0)
    assert table.serve() == [a, b, c, whole]
    assert [table.held(key)[1] for key in (a, b, c, whole)] == [(0,), (0,), (1,), (2,)]
    two = table.ask(g=2.0)
    table.release(a)
    table.release(whole)
    assert table.serve() == [], "two halves of different devices are no device"
    table.release(b)
    assert table.serve() == [two]
    assert table.held(two)[1] == (0, 2)


def test_a_share_fits_beside_what_is_reserved() -> None:
    table = Table(g=1.0)
    table.reserve("g", 0.3, "critical")
    key = table.ask(g=0.5)
    assert table.serve() == [key]


def test_a_device_lost_by_a_resize_is_given_back() -> None:
    table = Table(g=2.0)
    both = table.ask(g=2.0)
    table.serve()
    table.do(lambda d: stock.resize(d, "g", 1.0))
    table.release(both)
    table.do(lambda d: stock.resize(d, "g", 2.0))
    again = table.ask(g=2.0)
    assert table.serve() == [again]


def test_a_lost_device_is_nobody_elses_while_it_is_held() -> None:
    table = Table(g1=2.0)
    both = table.ask(g1=2.0)
    table.serve()
    table.do(lambda d: stock.resize(d, "g1", 1.0))
    table.register("g2", 1.0)
    assert table.pool.state.resources["g2"].indices == (2,)
    table.release(both)
    table.register("g3", 1.0)
    assert table.pool.state.resources["g3"].indices == (1,)


def test_at_no_moment_two_resources_have_the_same_device() -> None:
    """The machine's own gives way before another takes its devices."""
    table = Table()
    table.do(lambda d: stock.make_room(d, "gpu", r.ResourceType.GPU, 2.0))
    table.do(lambda d: stock.make_room(d, "g1", r.ResourceType.GPU, 0.5))

    def grow(draft: Draft) -> list[str]:
        stock.resize(draft, "g1", 2.0)
        return [type(event).__name__ for event in draft.events]

    assert table.do(grow) == ["ResourceRemoved", "ResourceRegistered"]
    assert table.pool.state.resources["g1"].indices == (2, 0)


def test_resizing_keeps_the_devices_that_were_named() -> None:
    table = Table()
    table.register("g", 3.0, 4, 5, 6)
    table.do(lambda d: stock.resize(d, "g", 2.0))
    assert table.pool.state.resources["g"].indices == (4, 5)
    table.do(lambda d: stock.resize(d, "g", 4.0))
    assert table.pool.state.resources["g"].indices == (4, 5, 0, 1)


@pytest.mark.parametrize("indices", [(0, 0), (0,), (0, 1, 2), (3, 7)])
def test_a_device_belongs_to_one_resource(indices: tuple[int, ...]) -> None:
    table = Table()
    table.register("g1", 1.0, 7)
    with pytest.raises(ValueError, match="2 different indices are needed that no other"):
        table.register("g2", 2.0, *indices)


def test_the_machines_own_gpus_give_way_but_for_those_that_are_held() -> None:
    table = Table()
    table.do(lambda d: stock.seed(d, {"gpu": 3}))
    held = table.ask(gpu=1.0)
    table.serve()
    table.register("g1", 1.0)
    state = table.pool.state
    assert state.resources["g1"].indices == (1,), "device 0 is held"
    assert state.resources["gpu"].indices == (0, 2)
    with pytest.raises(ValueError, match="no other resource has"):
        table.register("g2", 1.0, 0)
    table.release(held)
    table.register("g3", 1.0)
    assert "gpu" not in table.pool.state.resources


# -- the machine ----------------------------------------------------------------------------


def test_what_the_machine_has_follows_the_machine() -> None:
    table = Table()
    for gpus in (4, 2, 0, 1):
        table.do(lambda d, n=gpus: stock.seed(d, {"cpu": 8.0, "gpu": n}))
        found = table.pool.state.resources.get("gpu")
        assert (found.indices if found else ()) == tuple(range(gpus))
    before = table.pool.state.version
    table.do(lambda d: stock.seed(d, {"cpu": 8.0, "gpu": 1}))
    assert table.pool.state.version == before


def test_a_resized_resource_is_hard_and_stays_as_it_is() -> None:
    table = Table()
    table.do(lambda d: stock.seed(d, {"cpu": 8.0}))
    table.do(lambda d: stock.resize(d, "cpu", 1.0))
    table.do(lambda d: stock.seed(d, {"cpu": 8.0}))
    assert table.pool.state.resources["cpu"].capacity == 1.0
    with pytest.raises(ResourceUnavailable, match="never be allocated: 2 cpu are wanted"):
        table.do(lambda d: stock.make_room(d, "cpu", r.ResourceType.CPU, 2.0))


def test_what_is_held_is_not_removed() -> None:
    table = Table(c=1.0)
    key = table.ask(c=1.0)
    table.serve()
    with pytest.raises(PipelineError, match="1 of resource 'c' are held"):
        table.do(lambda d: stock.remove(d, "c"))
    table.release(key)
    table.do(lambda d: stock.remove(d, "c"))
    assert not table.pool.state.resources
