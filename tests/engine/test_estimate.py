"""What a run is expected to take: the arithmetic, where the durations are from, and the advice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline import (
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    PipelineValidationError,
    PipelineValidator,
    ResourceScheduler,
)
from semantica.pipeline.engine.core.estimate import Work
from semantica.pipeline.engine.estimate import Estimate
from semantica.pipeline.events.memory import MemoryStore

# The arithmetic


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, float]]:
    """An acyclic graph, declared in any order, and how long its steps take."""
    size = draw(st.integers(1, 12))
    graph = {
        f"s{n}": [f"s{m}" for m in draw(st.sets(st.integers(0, n - 1)))] if n else []
        for n in range(size)
    }
    names = draw(st.permutations(list(graph)))
    seconds = st.integers(0, 20).map(lambda n: n / 4)  # exact in binary
    return {name: graph[name] for name in names}, {name: draw(seconds) for name in names}


def longest(graph: Mapping[str, list[str]], durations: Mapping[str, float]) -> float:
    """The longest path, by trying them all from the ends on."""

    def until(name: str) -> float:
        return durations[name] + max(map(until, graph[name]), default=0.0)

    return max(map(until, graph))


@given(graphs(), st.integers(1, 14))
def test_the_schedule_keeps_its_bounds(made: Any, workers: int) -> None:
    graph, durations = made
    critical, total = longest(graph, durations), sum(durations.values())
    took = Work(graph).on(workers, durations, {})
    assert max(critical, total / workers) <= took + 1e-9
    assert took <= critical + total / workers + 1e-9
    assert Work(graph).on(len(graph), durations, {}) == critical
    assert Work(graph).on(1, durations, {}) == total


@given(graphs())
def test_the_critical_path_is_a_path_and_the_longest(made: Any) -> None:
    graph, durations = made
    path = Work(graph).critical_path(durations)
    assert all(before in graph[after] for before, after in pairwise(path))
    assert sum(durations[name] for name in path) == longest(graph, durations)


@given(graphs(), st.data())
def test_the_sweep_counts_what_overlaps(made: Any, data: st.DataObject) -> None:
    graph, durations = made
    durations = {name: seconds + 0.25 for name, seconds in durations.items()}
    amounts = st.dictionaries(st.sampled_from(["cpu", "gpu"]), st.integers(1, 5))
    needs = {name: data.draw(amounts) for name in graph}
    starts = Work(graph).starts(durations)
    path = Work(graph).critical_path(durations)
    found = Work(graph).overlap(durations, needs, path)

    def at(moment: float) -> list[str]:
        return [name for name in graph if starts[name] <= moment < starts[name] + durations[name]]

    together = [at(moment) for moment in starts.values()]
    assert found.width == max(map(len, together))
    for resource in ("cpu", "gpu"):
        most = max(sum(needs[name].get(resource, 0) for name in names) for names in together)
        assert found.peaks.get(resource, 0) == most
    quarters = [at(n / 4) for n in range(int(longest(graph, durations) * 4))]
    for name in path:
        assert found.alone[name] == sum(0.25 for names in quarters if names == [name])


def test_the_highest_priority_goes_first() -> None:
    graph: dict[str, list[str]] = {"short": [], "other": [], "long": []}
    durations = {"short": 1.0, "other": 1.0, "long": 2.0}
    assert Work(graph).on(2, durations, {}) == 3.0
    assert Work(graph).on(2, durations, {"long": 1}) == 2.0
    graph = {"first": [], **{name: ["first"] for name in graph}}
    assert Work(graph).on(2, {"first": 1.0, **durations}, {}) == 4.0
    assert Work(graph).on(2, {"first": 1.0, **durations}, {"long": 1}) == 3.0


# Durations from the log


def work(data: Any) -> int:
    return sum(range(20_000))


def fan(name: str = "fan", kind: str = "work", parallelism: int | None = None) -> Pipeline:
    builder = PipelineBuilder().add_step("first", kind, handler=work)
    for number in range(3):
        builder.add_step(f"m{number}", kind, handler=work, dependencies=["first"])
    builder.add_step("last", kind, handler=work, dependencies=["m0", "m1", "m2"])
    builder.set_parallelism(parallelism)
    return builder.build(name)


def recorded(engine: ExecutionEngine, run_id: str) -> dict[str, float]:
    """Seconds between a step's start and its end, straight from the events."""
    return {one.step: (one.end - one.start) / 1e9 for one in engine.timeline(run_id).attempts}


def run(engine: ExecutionEngine, pipeline: Pipeline) -> dict[str, float]:
    result = engine.execute_pipeline(pipeline, 0)
    result.raise_for_status()
    return recorded(engine, result.run_id)


def test_durations_are_the_medians_of_the_newest_runs(tmp_path: Path) -> None:
    with ExecutionEngine(tmp_path / "log.db") as engine:
        took = [run(engine, fan()) for _ in range(6)][1:]
        run(engine, fan("another"))
        told = PipelineValidator(log=tmp_path / "log.db").estimate_performance(fan())
    expected = {name: median(one[name] for one in took) for name in took[0]}
    assert told["durations"] == pytest.approx(expected)
    assert set(told["basis"].values()) == {"run"}
    middle = max(("m0", "m1", "m2"), key=expected.__getitem__)
    assert told["critical_path"] == ["first", middle, "last"]
    assert told["critical_time"] == pytest.approx(
        expected["first"] + expected[middle] + expected["last"]
    )
    assert told["total_work"] == pytest.approx(sum(expected.values()))
    assert told["estimated_time"] == pytest.approx(told["critical_time"])
    alone = PipelineValidator(log=tmp_path / "log.db", workers=1).estimate_performance(fan())
    assert alone["estimated_time"] == pytest.approx(sum(expected.values()))


def test_steps_that_are_new_take_what_their_type_does_or_the_average() -> None:
    store = MemoryStore()
    with ExecutionEngine(store) as engine:
        took = run(engine, fan("old", kind="heavy"))
    pipeline = Pipeline(
        "new",
        [
            PipelineStep("first", "heavy", handler=work),
            PipelineStep("second", "novel", handler=work, dependencies=["first"]),
        ],
    )
    told = PipelineValidator(log=store).estimate_performance(pipeline)
    usual = median(took.values())
    assert told["basis"] == {"first": "type", "second": "unknown"}
    assert told["durations"] == pytest.approx({"first": usual, "second": usual})
    assert "'second' never ran in this log" in told["suggestions"][0]


def test_a_step_that_changed_its_type_is_another() -> None:
    store = MemoryStore()
    with ExecutionEngine(store) as engine:
        run(engine, fan(kind="heavy"))
    told = PipelineValidator(log=store).estimate_performance(fan(kind="light"))
    assert set(told["basis"].values()) == {"unknown"}


@pytest.mark.parametrize("named", [True, False])
def test_without_a_log_nothing_is_known_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_LOG", raising=False)
    validator = PipelineValidator(log="some/log.db" if named else None)
    told = validator.estimate_performance(fan())
    assert (told.get("estimated_time"), told.get("resources")) == (0.0, {})
    assert set(told["basis"].values()) == {"unknown"}
    assert told["critical_path"][0] == "first" and len(told["critical_path"]) == 3
    assert told["bottlenecks"] == []
    assert "nothing is known yet" in told["suggestions"][0]
    assert list(tmp_path.iterdir()) == []


def test_the_default_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "log.db"))
    with ExecutionEngine() as engine:
        run(engine, fan())
    result = PipelineValidator().validate_pipeline(fan(), check_performance=True)
    assert set(result.metadata["performance"]["basis"].values()) == {"run"}
    assert "performance" not in PipelineValidator().validate_pipeline(fan()).metadata


def test_an_open_log_is_shared_whatever_its_durability(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with ExecutionEngine(path, durability="off") as engine:
        run(engine, fan())
        told = PipelineValidator(log=path).estimate_performance(fan())
        assert set(told["basis"].values()) == {"run"}
        run(engine, fan())


def test_a_broken_pipeline_has_no_estimate() -> None:
    pipeline = Pipeline("p", [PipelineStep("a", "t", dependencies=["a"])])
    with pytest.raises(PipelineValidationError, match="circular_dependency"):
        PipelineValidator(log=MemoryStore()).estimate_performance(pipeline)
    result = PipelineValidator(log=MemoryStore()).validate_pipeline(
        pipeline, check_performance=True
    )
    assert not result.valid and "performance" not in result.metadata


# Advice


def advised(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, workers: int = 8) -> Estimate:
    """An estimate with durations that are the numbers behind the names of the steps."""
    from semantica.pipeline.engine import earlier

    monkeypatch.setattr(
        earlier,
        "durations",
        lambda pipeline, log: {s.name: (float(s.name.split()[1]), "run") for s in pipeline.steps},
    )
    return PipelineValidator(workers=workers).estimate_performance(pipeline)


def takes_no_data() -> None: ...


def steps(
    *parts: tuple[str, list[str]], parallelism: int | None = None, **options: Any
) -> Pipeline:
    made = [PipelineStep(name, "t", dependencies=before, handler=work) for name, before in parts]
    return Pipeline("p", made, parallelism=parallelism)


def test_more_workers_are_suggested_where_they_help(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [("a 1", list[str]()), *((f"{n} 4", ["a 1"]) for n in "bcdef")]
    told = advised(monkeypatch, steps(*wide, parallelism=2))
    assert told["workers"] == 2
    assert told["width"] == 5
    assert told["estimated_time"] == 13.0
    (text,) = [text for text in told["suggestions"] if text.startswith("raise")]
    assert text == (
        "raise the parallelism from 2 to 5: 5 steps could run at once, and it would take 5 s "
        "rather than 13 s"
    )
    (text,) = [
        text
        for text in advised(monkeypatch, steps(*wide), workers=3)["suggestions"]
        if text.startswith("raise")
    ]
    assert text.startswith("raise max_workers of the engine from 3 to 5")
    enough = advised(monkeypatch, steps(*wide, parallelism=5))
    assert not [text for text in enough["suggestions"] if text.startswith("raise")]
    beside = advised(monkeypatch, steps(("a 99", []), ("b 1", []), ("c 1", []), parallelism=2))
    assert beside["width"] == 3
    assert beside["suggestions"] == [], "the long one takes its time on any number of workers"


def test_no_more_workers_are_suggested_than_a_machine_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = advised(monkeypatch, steps(*((f"s{n} 1", list[str]()) for n in range(1000))))
    assert told["suggestions"] == [
        "raise max_workers of the engine from 8 to 64: 1000 steps could run at once, and it would "
        "take 16 s rather than 125 s"
    ]


def test_the_largest_steps_are_the_bottlenecks(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = steps(("a 2", []), ("b 7", ["a 2"]), ("c 5", ["a 2"]), ("d 1", ["b 7", "c 5"]))
    told = advised(monkeypatch, pipeline)
    assert [(one["step"], one["share"], one["alone"]) for one in told["bottlenecks"]] == [
        ("b 7", 0.7, pytest.approx(2.0)),
        ("a 2", 0.2, pytest.approx(2.0)),
        ("d 1", 0.1, pytest.approx(1.0)),
    ]
    (text,) = told["suggestions"]
    assert text.startswith("step 'b 7' takes 70% of the critical path: split it")
    assert "executor='process'" in text
    pipeline.steps[1].executor = "process"
    (text,) = advised(monkeypatch, pipeline)["suggestions"]
    assert "executor" not in text


def test_a_step_that_ignores_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = steps(("a 1", []), ("b 1", ["a 1"]), ("c 1", ["b 1"]))
    assert advised(monkeypatch, pipeline)["suggestions"] == []
    pipeline.steps[1].handler = takes_no_data
    (text,) = advised(monkeypatch, pipeline)["suggestions"]
    assert text.startswith("step 'b 1' waits for 'a 1', and its handler takes no data")


# Resources


def needy() -> Pipeline:
    return Pipeline(
        "needy",
        [
            PipelineStep("a", "t", handler=work, resources={"cpu": 1}),
            PipelineStep(
                "b", "t", handler=work, dependencies=["a"], resources={"cpu": 4, "memory": 8}
            ),
            PipelineStep(
                "c", "t", handler=work, dependencies=["a"], resources={"cpu": 2, "gpu": 1}
            ),
        ],
    )


def test_what_runs_at_once_adds_up() -> None:
    told = PipelineValidator(log=MemoryStore()).estimate_performance(needy())
    assert told["resources"] == {
        "cpu": {"peak": 6, "largest": 4, "step": "b"},
        "gpu": {"peak": 1, "largest": 1, "step": "c"},
        "memory": {"peak": 8, "largest": 8, "step": "b"},
    }


def test_needs_that_cannot_be_met_are_errors() -> None:
    validator = PipelineValidator()
    scheduler = ResourceScheduler(enable_gpu=False)
    for name, capacity in {"cpu": 4.0, "memory": 8.0, "gpus": 1.0}.items():
        scheduler.register_resource(name, "gpu" if name == "gpus" else name, capacity)
    assert validator.validate_pipeline(needy(), resource_scheduler=scheduler).valid
    scheduler.resize_resource("cpu", 3.5)
    scheduler.remove_resource("gpus")
    result = validator.validate_pipeline(needy(), resource_scheduler=scheduler)
    assert [(finding.code, finding.step) for finding in result.errors] == [
        ("unsatisfiable_resources", "b"),
        ("unsatisfiable_resources", "c"),
    ]
    assert "4 cpu are wanted, and there are 3.5; need less, or register" in result.errors[0]
    assert "there is no resource 'gpu' (registered: cpu, disk, memory" in result.errors[1]
    assert validator.validate_pipeline(needy()).valid


def test_50000_steps() -> None:
    size = 50_000
    chain = [
        PipelineStep(f"s{n}", "t", handler=work, dependencies=[f"s{n - 1}"] if n else [])
        for n in reversed(range(size))
    ]
    wide = [PipelineStep(f"s{n}", "t", handler=work) for n in range(size)]
    validator = PipelineValidator(log=MemoryStore())
    begun = time.process_time()
    assert len(validator.estimate_performance(Pipeline("p", chain))["critical_path"]) == size
    assert validator.estimate_performance(Pipeline("p", wide))["width"] == size
    assert time.process_time() - begun < 30
