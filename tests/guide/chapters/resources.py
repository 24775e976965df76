"""Resource Scheduling."""

from __future__ import annotations

import time
from typing import Any

from guide.case import Script, case
from guide.handlers import recorded_pool

from semantica.pipeline import PipelineBuilder, ResourceType, ResourceUnavailable, step
from semantica.pipeline.events.upcasters import to_event


@case("Resource Scheduling > Basic Resource Allocation")
def allocation(script: Script) -> None:
    main = script.run()
    assert script.printed == ["Allocated: 50.0 CPU units"]
    status = main.scheduler.get_resource_status("cpu1")
    assert (status["capacity"], status["allocated"], status["available"]) == (100.0, 50.0, 50.0)
    for resource, kind, capacity in (
        ("cpu1", ResourceType.CPU, 50.0),
        ("gpu1", ResourceType.GPU, 1.0),
        ("memory1", ResourceType.MEMORY, 16.0),
    ):
        try:
            main.scheduler.allocate_resource(resource, kind, capacity * 1.01, "pipeline2")
        except ResourceUnavailable:
            main.scheduler.allocate_resource(resource, kind, capacity, "pipeline2")
        else:
            raise AssertionError(f"more of {resource} is allocated than was registered")


@case("Resource Scheduling > Resource Types")
def types(script: Script) -> None:
    main = script.run()
    held = main.scheduler.get_pipeline_allocations("pipeline1")
    assert [(one.resource_id, one.resource_type, one.amount) for one in held] == [
        ("cpu", ResourceType.CPU, 4.0),
        ("gpu", ResourceType.GPU, 1.0),
        ("memory", ResourceType.MEMORY, 8.0),
        ("disk", ResourceType.DISK, 100.0),
        ("network", ResourceType.NETWORK, 1000.0),
    ]
    for one in held:
        assert main.scheduler.get_resource_status(one.resource_id)["allocated"] == one.amount


@case("Resource Scheduling > Resource Monitoring")
def monitoring(script: Script) -> None:
    script.run(ResourceType=ResourceType)
    told = dict(line.split(": ") for line in script.printed)
    assert told["Allocated"] == "50.0"
    assert told["Pipeline allocations"] == "1"
    assert float(told["Capacity"]) >= 50.0
    assert float(told["Available"]) == float(told["Capacity"]) - 50.0


@case("Resource Scheduling > Resource Deallocation")
def deallocation(script: Script) -> None:
    main = script.run(ResourceType=ResourceType)
    status = main.scheduler.get_resource_status("cpu")
    assert script.printed == [f"Available after deallocation: {status['capacity']}"]
    assert status["allocated"] == 0
    assert main.scheduler.get_pipeline_allocations("pipeline1") == []
    assert not main.scheduler.deallocate_resource(main.allocation.allocation_id), "once is enough"


@case("Resource Scheduling > Automatic Resource Management")
def automatic(script: Script) -> None:
    over = []

    @step("given")
    def handler(data: Any) -> None:
        over.append(time.time_ns())

    pipeline = PipelineBuilder("managed").add_step("one", "given", cpu_cores=1, memory_gb=0.5)
    main = script.run(pipeline=pipeline.build())
    assert main.result.success
    told = {one.type: one for one in recorded_pool(main.engine)}
    requested, granted, released = (
        told[f"Allocation{one}"] for one in ("Requested", "Granted", "Released")
    )
    started = told["StepStarted"]
    assert requested.position < granted.position < started.position, "allocated before execution"
    assert over[0] <= released.at, "deallocated after"
    assert to_event(granted).grants == to_event(started).grants == {"cpu": 1, "memory": 0.5}
