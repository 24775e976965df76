"""What each setting does, seen from outside: by engines, failure handlers, schedulers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from threading import Barrier
from types import ModuleType
from typing import Any, NamedTuple

from guide.handlers import (
    PATIENCE,
    Meeting,
    Recorder,
    chain,
    failing,
    independent,
    meet,
    most_in_flight,
    process_id,
    recorded_delays,
)

from semantica.pipeline import (
    ExecutionEngine,
    FailureHandler,
    ParallelismManager,
    PipelineBuilder,
    PipelineStep,
    PipelineValidationError,
    ResourceScheduler,
    Task,
)
from semantica.pipeline.config import PipelineConfig
from semantica.pipeline.engine.machine import machine_resources

Given = PipelineConfig | None
"""None: everything reads the environment by itself."""


def max_workers(config: Given, count: int) -> None:
    """An engine has so many steps in flight, and a parallelism manager so many tasks."""
    Meeting(count, "meeting")
    with ExecutionEngine(":memory:", config=config) as engine:
        pipeline = independent(2 * count, "meeting")
        pipeline.parallelism = 2 * count  # for the setting of that name caps it otherwise
        assert engine.execute_pipeline(pipeline).success
        assert most_in_flight(engine, pipeline) == count
    with ParallelismManager(config=config) as manager:
        assert manager.get_worker_count() == count
        together = Barrier(count, timeout=PATIENCE)
        tasks = [Task(f"task{number}", meet, args=(together,)) for number in range(count)]
        assert all(one.success for one in manager.execute_parallel(tasks))


def parallelism_level(config: Given, count: int) -> None:
    """A run has so many steps in flight, however many workers there are."""
    Meeting(count, "meeting")
    with ExecutionEngine(":memory:", max_workers=2 * count, config=config) as engine:
        pipeline = independent(2 * count, "meeting")
        assert engine.execute_pipeline(pipeline).success
        assert most_in_flight(engine, pipeline) == count


def retry_on_failure(config: Given, retries: bool) -> None:
    """A step that fails once is tried again, or not."""
    failing("given", 1, lambda: ConnectionError("lost"))
    with ExecutionEngine(":memory:", config=config) as engine:
        assert engine.execute_pipeline(chain("one")).success is retries


def default_max_retries(config: Given, count: int) -> None:
    """A step that always fails is tried so often again."""
    recorder = failing("given", 99, lambda: ConnectionError("lost"))
    with ExecutionEngine(":memory:", config=config) as engine:
        assert not engine.execute_pipeline(chain("one")).success
    assert len(recorder.calls) == 1 + count


def default_backoff_factor(config: Given, factor: float) -> None:
    """The second delay is so much longer than the first."""
    failing("given", 2, lambda: ConnectionError("lost"))
    with ExecutionEngine(":memory:", config=config) as engine:
        assert engine.execute_pipeline(chain("one")).success
        first, second = recorded_delays(engine, chain("one"))
    assert abs(second / first - factor) < 1e-6


def default_initial_delay(config: Given, seconds: float) -> None:
    """The first retry follows after so long."""
    failing("given", 1, lambda: ConnectionError("lost"))
    with ExecutionEngine(":memory:", config=config) as engine:
        assert engine.execute_pipeline(chain("one")).success
        assert recorded_delays(engine, chain("one")) == [seconds]


def default_max_delay(config: Given, seconds: float) -> None:
    """No delay is longer."""
    handler, step = FailureHandler(config=config), PipelineStep("one", "given")
    assert handler.handle_step_failure(step, ConnectionError("lost")).retry_delay == seconds


def max_cpu_cores(config: Given, cores: float) -> None:
    """Steps are allocated so many cores at most."""
    _limit(config, "cpu", min(cores, machine_resources().cpu))


def max_memory_gb(config: Given, size: float) -> None:
    """Steps are allocated so much memory at most."""
    _limit(config, "memory", min(size, machine_resources().memory))


def _limit(config: Given, resource: str, most: float) -> None:
    """What there is can be allocated, and what an engine's step gets at most is that."""
    assert ResourceScheduler(config=config).get_available_capacity(resource) == most
    Recorder("given")
    with ExecutionEngine(":memory:", config=config) as engine:
        needy = chain("one")
        needy.steps[0].resources = {resource: most}
        assert engine.execute_pipeline(needy).success
        needy.steps[0].resources = {resource: most * 1.01}
        try:
            engine.execute_pipeline(needy)
        except PipelineValidationError as error:
            assert "unsatisfiable_resources" in str(error)
        else:
            raise AssertionError(f"a step was allocated more {resource} than there may be")


def enable_gpu(config: Given, enabled: bool) -> None:
    """The machine's GPUs are allocated, or not; NVML is taken to find two."""
    nvml: Any = ModuleType("pynvml")
    nvml.nvmlInit = nvml.nvmlShutdown = lambda: None
    nvml.nvmlDeviceGetCount = lambda: 2
    sys.modules["pynvml"] = nvml
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    assert ("gpu" in ResourceScheduler(config=config).list_resources()) is enabled


def use_processes(config: Given, apart: bool) -> None:
    """Steps and tasks run in processes of their own, or here."""
    builder = PipelineBuilder().add_step("one", "given", handler=process_id)
    with ExecutionEngine(":memory:", config=config) as engine:
        found = engine.execute_pipeline(builder.build()).raise_for_status().output
    assert (found != os.getpid()) is apart
    with ParallelismManager(max_workers=1, config=config) as manager:
        (done,) = manager.execute_parallel([Task("one", process_id)])
    assert (done.result != os.getpid()) is apart


class Setting(NamedTuple):
    """How a setting is tried.

    Args:
        shows: Its effect.
        other: A value that the guide does not give it.
        along: Other settings that are changed meanwhile, so that nobody waits for long.
    """

    shows: Callable[[Given, Any], None]
    other: Any
    along: Mapping[str, Any] = {}


SETTINGS = {
    setting.shows.__name__: setting
    for setting in (
        Setting(max_workers, 3),
        Setting(retry_on_failure, False, {"default_max_delay": 0.01}),
        Setting(default_max_retries, 1, {"default_max_delay": 0.01}),
        Setting(default_backoff_factor, 3.0, {"default_initial_delay": 0.01}),
        Setting(default_initial_delay, 0.125),
        Setting(default_max_delay, 7.5, {"default_initial_delay": 1000.0}),
        Setting(max_cpu_cores, 1),
        Setting(max_memory_gb, 0.25),
        Setting(enable_gpu, True),
        Setting(use_processes, True),
        Setting(parallelism_level, 3),
    )
}
"""All of them, by name."""
