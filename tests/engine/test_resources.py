"""The scheduler as users call it: alone, from many threads, and given to engines."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep, ResourceScheduler
from semantica.pipeline.engine import resources as resources_module
from semantica.pipeline.events.errors import LogError, PipelineError, ResourceUnavailable
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import to_event

FAR = 20.0
"""Seconds that nothing here takes."""


@pytest.fixture
def scheduler() -> ResourceScheduler:
    made = ResourceScheduler(pool="test", enable_gpu=False)
    made.register_resource("cpu", "cpu", 4)
    return made


@pytest.fixture
def woken_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: who waits has to be woken."""
    monkeypatch.setattr(resources_module, "LOOK_INTERVAL", 1e6)


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """What it returned, or raised, comes into the list."""
    told: list[Any] = []

    def run() -> None:
        try:
            told.append(call())
        except Exception as error:
            told.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, told


def until_waiting(scheduler: ResourceScheduler, number: int, resource: str = "cpu") -> None:
    pool = scheduler.prepare()
    with pool.changed:
        assert pool.changed.wait_for(lambda: len(pool.state.requests) == number, FAR)
    assert scheduler.get_resource_status(resource)["waiting"] == number


# -- figures --------------------------------------------------------------------------------


def test_the_figures_of_a_resource(scheduler: ResourceScheduler) -> None:
    mine = scheduler.allocate_resource("cpu", "cpu", 1, "job")
    scheduler.reserve_resource("cpu", 2, "critical")
    scheduler.allocate_resource("cpu", "cpu", 0.5, "critical")
    assert scheduler.get_resource_status("cpu") == {
        "type": "cpu",
        "capacity": 4.0,
        "allocated": 1.5,
        "available": 1.0,
        "reserved": 1.5,
        "utilization": 0.375,
        "waiting": 0,
    }
    assert scheduler.get_available_capacity("cpu") == 1.0
    (one,) = scheduler.get_pipeline_allocations("job")
    assert one == mine
    assert (one.amount, one.resource_type, one.pipeline_id, one.gpus) == (1.0, "cpu", "job", ())
    assert scheduler.get_pipeline_allocations("nobody") == []


def test_giving_back_twice_changes_nothing(scheduler: ResourceScheduler) -> None:
    held = scheduler.allocate_resource("cpu", "cpu", 4, "job")
    assert scheduler.deallocate_resource(held.allocation_id) is True
    assert scheduler.deallocate_resource(held.allocation_id) is False
    assert scheduler.deallocate_resource("never was") is False
    assert scheduler.get_available_capacity("cpu") == 4.0


def test_the_machines_own_is_enlarged_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = ResourceScheduler(max_cpu_cores=2, enable_gpu=False)
    assert scheduler.get_resource_status("cpu")["capacity"] <= 2
    scheduler.allocate_resource("cpu", "cpu", 50, "job")
    assert scheduler.get_resource_status("cpu")["capacity"] >= 50
    assert scheduler.allocate_resource("licence", "custom", 3, "job").amount == 3
    gpu = scheduler.allocate_resource("gpu", "gpu", 1, "job")
    assert gpu.gpus == (0,)
    told = capsys.readouterr().err
    assert all(f"resource={name} " in told for name in ("cpu", "licence", "gpu"))


def test_what_is_registered_is_hard_and_refused_at_once(scheduler: ResourceScheduler) -> None:
    with pytest.raises(ResourceUnavailable, match="5 cpu are wanted, and there are 4"):
        scheduler.allocate_resource("cpu", "cpu", 5, "job", timeout=math.inf)
    scheduler.allocate_resource("cpu", "cpu", 3, "job")
    with pytest.raises(ResourceUnavailable, match="2 of 'cpu' are wanted and 1 are free"):
        scheduler.allocate_resource("cpu", "cpu", 2, "job")
    assert scheduler.get_resource_status("cpu")["waiting"] == 0


def test_a_type_means_what_is_registered_of_it() -> None:
    scheduler = ResourceScheduler(enable_gpu=False)
    scheduler.register_resource("cpu1", "cpu", 4)
    assert scheduler.allocate_resource("cpu", "cpu", 4, "job").resource_id == "cpu1"
    with pytest.raises(ResourceUnavailable, match="0 are free"):
        scheduler.allocate_resource("cpu", "cpu", 1, "job")
    with pytest.raises(PipelineError, match="'cpu1' is of type cpu, not memory"):
        scheduler.allocate_resource("cpu1", "memory", 1, "job")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.register_resource("x", "cpuu", 1), ValueError),
        (lambda s: s.register_resource("x", "cpu", -1), ValueError),
        (lambda s: s.register_resource("x", "cpu", math.nan), ValueError),
        (lambda s: s.register_resource("x", "cpu", "4"), TypeError),
        (lambda s: s.register_resource(7, "cpu", 1), TypeError),
        (lambda s: s.register_resource("", "cpu", 1), ValueError),
        (lambda s: s.register_resource("x", "gpu", 1.5), ValueError),
        (lambda s: s.register_resource("x", "gpu", 1, indices=("0",)), TypeError),
        (lambda s: s.resize_resource("cpux", 1), PipelineError),
        (lambda s: s.remove_resource("cpux"), PipelineError),
        (lambda s: s.reserve_resource("cpu", 5, "x"), ResourceUnavailable),
        (lambda s: s.reserve_resource("cpu", 1, None), TypeError),
        (lambda s: s.cancel_reservation("x"), PipelineError),
        (lambda s: s.set_rate_limit("x", 1.5), TypeError),
        (lambda s: s.set_rate_limit("x", -1), ValueError),
        (lambda s: s.set_rate_limit(None, 1), TypeError),
        (lambda s: s.allocate_resource("cpu", "cpu", 0, "job"), ValueError),
        (lambda s: s.allocate_resource("cpu", "cpu", True, "job"), TypeError),
        (lambda s: s.allocate_resource("cpu", "cpu", 1, 5), TypeError),
        (lambda s: s.allocate_resource("cpu", "cpu", 1, "job", priority=1.5), TypeError),
        (lambda s: s.allocate_resource("cpu", "cpu", 1, "job", deadline="now"), TypeError),
        (lambda s: s.allocate_resource("cpu", "cpu", 1, "job", deadline=math.inf), ValueError),
        (lambda s: s.get_resource_status("cpux"), PipelineError),
    ],
)
def test_bad_input_is_refused_and_nothing_recorded(
    scheduler: ResourceScheduler, call: Callable[[ResourceScheduler], Any], error: type[Exception]
) -> None:
    before = scheduler.prepare().state.version
    with pytest.raises(error):
        call(scheduler)
    assert scheduler.prepare().state.version == before


# -- waiting --------------------------------------------------------------------------------


def test_who_waits_is_woken_by_what_is_given_back(
    scheduler: ResourceScheduler, woken_only: None
) -> None:
    held = scheduler.allocate_resource("cpu", "cpu", 4, "job")
    thread, told = in_thread(
        lambda: scheduler.allocate_resource("cpu", "cpu", 3, "other", timeout=math.inf)
    )
    until_waiting(scheduler, 1)
    scheduler.deallocate_resource(held.allocation_id)
    thread.join(FAR)
    assert told[0].amount == 3


def test_those_who_wait_are_served_by_priority(
    scheduler: ResourceScheduler, woken_only: None
) -> None:
    held = scheduler.allocate_resource("cpu", "cpu", 4, "job")
    served: list[int] = []
    threads = []
    for number, priority in enumerate((1, 3, 2)):

        def work(priority: int = priority) -> None:
            mine = scheduler.allocate_resource(
                "cpu", "cpu", 4, "job", priority=priority, timeout=math.inf
            )
            served.append(priority)
            scheduler.deallocate_resource(mine.allocation_id)

        threads.append(in_thread(work)[0])
        until_waiting(scheduler, number + 1)
    scheduler.deallocate_resource(held.allocation_id)
    for thread in threads:
        thread.join(FAR)
    assert served == [3, 2, 1]


def test_who_waits_too_long_leaves_no_request(scheduler: ResourceScheduler) -> None:
    scheduler.allocate_resource("cpu", "cpu", 4, "job")
    with pytest.raises(ResourceUnavailable, match="0 are free"):
        scheduler.allocate_resource("cpu", "cpu", 1, "job", timeout=0.05)
    assert scheduler.prepare().state.requests == {}


def test_ctrl_c_while_waiting_leaves_no_request(
    scheduler: ResourceScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.allocate_resource("cpu", "cpu", 4, "job")
    pool = scheduler.prepare()

    def interrupt(timeout: float | None = None) -> bool:
        assert len(pool.state.requests) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.changed, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        scheduler.allocate_resource("cpu", "cpu", 1, "job", timeout=FAR)
    assert pool.state.requests == {}
    assert scheduler.get_resource_status("cpu")["allocated"] == 4


def test_ctrl_c_just_when_it_is_granted_holds_nothing(
    scheduler: ResourceScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        scheduler.allocate_resource("cpu", "cpu", 4, "job")
    assert scheduler.get_resource_status("cpu")["allocated"] == 0


def test_who_waits_in_vain_is_told(scheduler: ResourceScheduler, woken_only: None) -> None:
    scheduler.allocate_resource("cpu", "cpu", 2, "job")
    thread, told = in_thread(
        lambda: scheduler.allocate_resource("cpu", "cpu", 4, "other", timeout=math.inf)
    )
    until_waiting(scheduler, 1)
    scheduler.resize_resource("cpu", 3)
    thread.join(FAR)
    assert "never be allocated: 4 cpu are wanted, and there are 3" in str(told[0])


def test_16_threads_never_have_more_than_there_is(scheduler: ResourceScheduler) -> None:
    scheduler.register_resource("g", "gpu", 3)
    lock, held, most = threading.Lock(), [0.0], [0.0]
    devices: set[int] = set()
    failures: list[object] = []

    def work(number: int) -> None:
        for turn in range(12):
            amount = 1 + (number + turn) % 3
            mine = scheduler.allocate_resource("cpu", "cpu", amount, f"p{number}", timeout=FAR)
            gpu = scheduler.allocate_resource("g", "gpu", 1, f"p{number}", timeout=FAR)
            with lock:
                held[0] += amount
                most[0] = max(most[0], held[0])
                if held[0] > 4 or gpu.gpus[0] in devices:
                    failures.append((held[0], gpu))
                devices.add(gpu.gpus[0])
            status = scheduler.get_resource_status("cpu")
            assert 0 <= status["allocated"] <= 4
            assert len(scheduler.get_pipeline_allocations(f"p{number}")) == 2
            with lock:
                held[0] -= amount
                devices.remove(gpu.gpus[0])
            scheduler.deallocate_resource(gpu.allocation_id)
            scheduler.deallocate_resource(mine.allocation_id)

    threads = [in_thread(lambda n=n: work(n)) for n in range(16)]  # type: ignore[misc]
    for thread, told in threads:
        thread.join(3 * FAR)
        assert told == [None]
    assert not failures
    assert most[0] > 1, "there was nothing to see"
    assert scheduler.get_resource_status("cpu")["allocated"] == 0


# -- engines --------------------------------------------------------------------------------


def test_it_moves_into_an_engine_with_all_it_has(
    scheduler: ResourceScheduler, make_engine: MakeEngine, woken_only: None
) -> None:
    scheduler.reserve_resource("cpu", 1, "critical")
    scheduler.set_rate_limit("slow", 5)
    held = scheduler.allocate_resource("cpu", "cpu", 3, "job")
    thread, told = in_thread(
        lambda: scheduler.allocate_resource("cpu", "cpu", 2, "other", timeout=math.inf)
    )
    until_waiting(scheduler, 1)
    engine = make_engine(resource_scheduler=scheduler)
    assert engine.resource_scheduler is scheduler
    (moved,) = scheduler.get_pipeline_allocations("job")
    assert (moved.allocation_id, moved.amount) == (held.allocation_id, 3)
    assert scheduler.get_resource_status("cpu")["reserved"] == 1
    assert set(scheduler.prepare().state.limits) == {"slow"}
    until_waiting(scheduler, 1)
    assert scheduler.deallocate_resource(held.allocation_id) is True
    thread.join(FAR)
    assert told[0].amount == 2
    assert make_engine().resource_scheduler.impossible({"cpu": 1}) is None


def test_what_it_holds_does_not_move_onto_what_others_hold(make_engine: MakeEngine) -> None:
    first = ResourceScheduler(pool="test", enable_gpu=False)
    first.register_resource("g", "gpu", 1)
    make_engine(resource_scheduler=first)
    first.allocate_resource("g", "gpu", 1, "job")
    second = ResourceScheduler(pool="test", enable_gpu=False)
    second.register_resource("g", "gpu", 1)
    held = second.allocate_resource("g", "gpu", 1, "job")
    with pytest.raises(ResourceUnavailable, match="deallocate it before giving the scheduler"):
        make_engine(resource_scheduler=second)
    second.deallocate_resource(held.allocation_id)
    make_engine(resource_scheduler=second)


def test_it_can_be_given_to_the_next_engine(
    scheduler: ResourceScheduler, log: Path, tmp_path: Path
) -> None:
    step = PipelineStep("s", "t", handler=lambda data: data, resources={"cpu": 4})
    for path in (log, log, tmp_path / "other" / "pipeline.db"):
        with ExecutionEngine(path, resource_scheduler=scheduler) as engine:
            engine.execute_pipeline(Pipeline("p", [step]), 1).raise_for_status()
            with pytest.raises(PipelineError, match="belongs to an engine on another log"):
                ExecutionEngine(":memory:", resource_scheduler=scheduler)
            scheduler.allocate_resource("cpu", "cpu", 4, "left behind")
        assert scheduler.get_resource_status("cpu")["capacity"] == 4.0
        with pytest.raises(LogError, match="closed"):
            scheduler.allocate_resource("cpu", "cpu", 1, "job")


def test_two_engines_of_a_process_share_a_pool(make_engine: MakeEngine) -> None:
    first, second = make_engine(), make_engine()
    first.resource_scheduler.register_resource("cpu", "cpu", 4)
    held = first.resource_scheduler.allocate_resource("cpu", "cpu", 3, "job")
    with pytest.raises(ResourceUnavailable, match="1 are free"):
        second.resource_scheduler.allocate_resource("cpu", "cpu", 2, "job")
    assert second.resource_scheduler.deallocate_resource(held.allocation_id)


def test_an_engine_that_shows_life_in_several_threads_at_once(make_engine: MakeEngine) -> None:
    for _ in range(8):
        engine = make_engine()
        together = threading.Barrier(5, timeout=FAR)

        def allocate(engine: ExecutionEngine = engine, together: Any = together) -> float:
            together.wait()
            return engine.resource_scheduler.allocate_resource("cpu", "cpu", 0.01, "job").amount

        threads = [in_thread(allocate) for _ in range(4)]
        together.wait()
        step = PipelineStep("s", "t", handler=lambda data: data)
        engine.execute_pipeline_async(Pipeline("p", [step])).result(FAR).raise_for_status()
        for thread, told in threads:
            thread.join(FAR)
            assert told == [0.01]


def test_a_step_gives_back_what_it_holds_itself(make_engine: MakeEngine) -> None:
    engine = make_engine()
    told: list[object] = []

    def work(data: object) -> None:
        (mine,) = engine.resource_scheduler.get_pipeline_allocations("p")
        try:
            engine.resource_scheduler.deallocate_resource(mine.allocation_id)
        except PipelineError as error:
            told.append(str(error))

    step = PipelineStep("s", "t", handler=work, resources={"cpu": 1})
    engine.execute_pipeline(Pipeline("p", [step])).raise_for_status()
    assert "held for step 's' of run" in str(told[0])


def test_what_is_recorded_can_always_be_read(make_engine: MakeEngine, log: Path) -> None:
    scheduler = make_engine().resource_scheduler
    scheduler.allocate_resource("cpu", "cpu", 0.1234567, "ünïcode", priority=-5, deadline=1e9)
    scheduler.register_resource("cpu", "cpu", 1)
    store = SqliteStore(log)
    try:
        assert [to_event(e) for e in store.read(f"resource/{scheduler.pool_name}")]
    finally:
        store.close()
