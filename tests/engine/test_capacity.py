"""Who gets what of a pool: the decisions, one at a time."""

from __future__ import annotations

import pytest
from table import SECOND, Table

from semantica.pipeline.engine.core.capacity import impossible
from semantica.pipeline.events import resource as r
from semantica.pipeline.events.errors import ResourceUnavailable
from semantica.pipeline.projections.pool import MAX_PASSED

# -- the order ------------------------------------------------------------------------------


def three(ordering: str) -> Table:
    table = Table(ordering, c=1.0)
    table.ask("a", "first", c=1.0, priority=1, deadline=30)
    table.ask("b", "second", c=1.0, priority=3)
    table.ask("c", "third", c=1.0, priority=2, deadline=20)
    table.ask("c", "fourth", c=1.0, priority=3, deadline=20)
    return table


@pytest.mark.parametrize(
    ("ordering", "served"),
    [
        ("fifo", ["first", "second", "third", "fourth"]),
        ("priority", ["second", "fourth", "third", "first"]),
        ("deadline", ["third", "fourth", "first", "second"]),
    ],
)
def test_those_who_wait_are_served_in_the_pools_order(ordering: str, served: list[str]) -> None:
    table, done = three(ordering), []
    while table.pool.state.requests:
        (key,) = table.serve()
        done.append(key)
        table.release(key)
    assert done == served


def test_another_order_holds_for_those_who_wait_already() -> None:
    table = three("fifo")
    table.do(lambda d: d.record(r.PoolConfigured(r.Ordering.PRIORITY, r.Fit.FIRST)))
    assert table.serve() == ["second"]


def test_fair_share_gives_to_whom_has_least_also_within_one_round() -> None:
    table = Table("fair_share", c=3.0)
    table.ask("greedy", "greedy1", c=1.0)
    table.ask("greedy", "greedy2", c=1.0, step_type="t")  # another queue of the same pipeline
    table.ask("modest", "modest1", c=1.0)
    table.ask("modest", "modest2", c=1.0)
    assert table.serve() == ["greedy1", "modest1", "greedy2"]


def test_fair_share_goes_by_the_largest_part_of_any_resource() -> None:
    table = Table("fair_share", c=10.0, m=100.0)
    for key, amounts in (("cpus", {"c": 4.0}), ("memory", {"m": 60.0})):
        table.ask(key, f"{key}0", **amounts)
    assert sorted(table.serve()) == ["cpus0", "memory0"]
    table.ask("memory", "memory1", c=6.0)  # 60 percent of the memory is more than
    table.ask("cpus", "cpus1", c=6.0)  # 40 percent of the cores
    assert table.serve() == ["cpus1"]


# -- passing --------------------------------------------------------------------------------


def test_what_the_first_waits_for_is_kept_for_it() -> None:
    table = Table("fifo", c=4.0)
    small = table.ask(c=2.0)
    assert table.serve() == [small]
    large, later = table.ask(c=4.0), table.ask(c=1.0)
    assert table.serve() == [], "2 are free, but kept"
    table.release(small)
    assert table.serve() == [large]
    table.release(large)
    assert table.serve() == [later]


def test_what_the_first_does_not_wait_for_others_have() -> None:
    table = Table("fifo", c=4.0, m=8.0)
    small = table.ask(c=2.0)
    table.serve()
    table.ask(c=4.0)
    other = table.ask(m=8.0)
    assert table.serve() == [other]
    assert small in table.pool.state.held


def test_a_request_is_passed_so_often_and_is_the_next_then() -> None:
    table = Table("priority", c=1.0)
    (now,) = [table.ask(c=1.0, priority=9)]
    table.serve()
    table.ask(key="patient", c=1.0)
    passed = 0
    while now != "patient":
        table.ask(c=1.0, priority=9)
        table.release(now)
        (now,) = table.serve()
        passed += 1
    assert passed == MAX_PASSED + 2  # those that passed, and its own turn


def test_nobody_hides_behind_a_request_that_its_rate_holds_back() -> None:
    table = Table("priority", c=1.0)
    table.do(lambda d: d.record(r.RateLimited("slow", 1, 1e9)))
    table.ask(c=1.0, step_type="slow")
    (now,) = table.serve()
    table.ask(key="held back", c=1.0, step_type="slow")
    table.ask(key="patient", c=1.0)
    for _ in range(MAX_PASSED + 5):
        table.ask(c=1.0, priority=9)
        table.release(now)
        (now,) = table.serve()
        if now == "patient":
            return
    pytest.fail("it starves")


def test_what_waits_in_vain_is_in_nobodys_way() -> None:
    table = Table("fifo", c=4.0)
    table.ask(c=4.0)
    table.register("c", 2.0)
    later = table.ask(c=2.0)
    assert table.serve() == [later]


# -- what is possible -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "problem"),
    [
        ({"c1": 4.0, "cpu": 3.0}, None),
        ({"cpu": 3.0, "c1": 4.0}, None),
        ({"c1": 2.0, "cpu": 4.0}, "4 cpu are wanted, and there are 3"),
        ({"cpu": 4.5}, "4.5 cpu are wanted, and there are 4"),
        ({"cpus": 1.0}, r"no resource 'cpus' \(registered: c1, c2, g1, g2\)"),
        ({"gpu": 5.0}, None),
        ({"gpu": 6.0}, "6 gpu are wanted, and there are 5"),
        ({"gpu": 1.5}, "come whole"),
        ({"g1": 1.0, "gpu": 1.0}, "as 'g1' and as 'gpu'"),
        ({"g1": 1.0, "g2": 3.0}, None),
    ],
)
def test_what_can_never_be_is_said_and_what_can_be_is_had(
    amounts: dict[str, float], problem: str | None
) -> None:
    table = Table(c1=4.0, c2=3.0, g1=2.0, g2=3.0)
    reason = impossible(table.pool.state, amounts)
    if problem is None:
        assert reason is None
        event = r.AllocationRequested("it", "me", "job", amounts)
        table.do(lambda d: d.record(event))
        assert table.serve() == ["it"]
    else:
        import re

        assert re.search(problem, reason or "it can")


def test_a_reservation_is_for_its_holder_alone() -> None:
    table = Table(c=8.0)
    table.reserve("c", 6.0, "critical")
    others = table.ask("other", c=2.0)
    assert table.serve() == [others]
    table.ask("other", c=1.0)
    assert table.serve() == []
    mine = table.ask("critical", c=6.0)
    assert table.serve() == [mine]
    state = table.pool.state
    assert impossible(state, {"c": 3.0}, ("other",)) == (
        "3 c are wanted, and there are 2 that are not reserved for others"
    )
    assert impossible(state, {"c": 8.0}, ("critical",)) is None
    assert impossible(state, {"c": 8.0}) is None, "who it is for is not known"


def test_two_reservations_of_a_holder_add_up() -> None:
    table = Table(c=8.0)
    table.reserve("c", 2.0, "critical")
    table.reserve("c", 2.0, "critical")
    mine = table.ask("critical", c=2.0)
    assert table.serve() == [mine]
    table.ask("other", c=5.0)
    assert table.serve() == [], "2 are held, 2 more are reserved, 4 are left"
    with pytest.raises(ResourceUnavailable, match="capacity is 8, and 4 are reserved"):
        table.reserve("c", 5.0, "x")


def test_best_fit_takes_the_fullest_and_first_fit_the_first() -> None:
    for fit, resource in (("first_fit", "c1"), ("best_fit", "c2")):
        table = Table(fit=fit, c1=4.0, c2=2.0)
        key = table.ask(cpu=2.0)
        table.serve()
        assert table.held(key) == ({resource: 2.0}, ())


# -- rates ----------------------------------------------------------------------------------


def test_a_rate_is_kept_over_any_window_and_not_more_than_that() -> None:
    table = Table(c=1000.0)
    table.do(lambda d: d.record(r.RateLimited("t", 3, 2.0)))
    starts: list[int] = []
    for _ in range(30):
        table.ask(step_type="t")
    for _ in range(400):
        starts += [table.now] * len(table.serve())
        table.now += SECOND // 20
    assert len(starts) == 30
    for start in starts:
        window = [one for one in starts if start <= one < start + 2 * SECOND]
        assert len(window) <= 3
    assert starts[-1] - starts[0] == 9 * 2 * SECOND, "and as soon as it may be"


def test_a_clock_that_is_set_back_stops_nobody() -> None:
    table = Table()
    table.do(lambda d: d.record(r.RateLimited("t", 1, 3600.0)))
    first = table.ask(step_type="t")
    assert table.serve() == [first]
    second = table.ask(step_type="t")
    assert table.serve() == []
    table.now -= 10 * SECOND
    assert table.serve() == [second]
