"""What this machine has, as far as this process may use it.

This module imports psutil: import it where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
import psutil

from .logger import logger

GB = 10**9
"""Bytes."""

NETWORK = 1000.0
"""Mbit/s where no interface tells its speed."""


class MachineResources(msgspec.Struct, frozen=True):
    """What there is to allocate; the names are those of the scheduler's resources.

    Args:
        cpu: Cores; a container may have a fraction of one.
        memory: GB of 10**9 bytes, used or not.
        disk: GB of 10**9 bytes free where the current folder lies.
        network: Mbit/s of the fastest interface that is up.
        gpu: NVIDIA GPUs.
    """

    cpu: float
    memory: float
    disk: float
    network: float
    gpu: int


def machine_resources(
    *,
    max_cpu_cores: float | None = None,
    max_memory_gb: float | None = None,
    enable_gpu: bool | None = None,
    root: Path = Path("/"),
) -> MachineResources:
    """What this process may use: of the machine, of its control group, and by configuration.

    Args:
        max_cpu_cores: Cores at most.
        max_memory_gb: Memory at most, in GB.
        enable_gpu: False: no GPUs, without looking for them. True: their absence is mentioned in
            a warning.
        root: The folder that holds ``proc`` and ``sys``.
    """
    limits = cgroup_limits(root)
    gpus = 0 if enable_gpu is False else gpu_count()
    if enable_gpu and not gpus:
        logger().warning(
            "enable_gpu is set, but no GPU can be used; counting them needs an NVIDIA driver and: "
            "pip install 'semantica-pipeline[gpu]'"
        )
    memory = _least(psutil.virtual_memory().total, limits.memory) / GB
    return MachineResources(
        cpu=_least(_cores(), limits.cpu, max_cpu_cores),
        memory=_least(memory, max_memory_gb),
        disk=psutil.disk_usage(".").free / GB,
        network=_network(),
        gpu=gpus,
    )


def _least(amount: float, *limits: float | None) -> float:
    return float(min([amount, *(limit for limit in limits if limit is not None)]))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _network() -> float:
    speeds = [interface.speed for interface in psutil.net_if_stats().values() if interface.isup]
    return max(speeds, default=0) or NETWORK


# Control groups


class CgroupLimits(msgspec.Struct, frozen=True):
    """What a process's control groups let it use; None is no limit.

    Args:
        cpu: Cores: processor time over time.
        memory: Bytes.
    """

    cpu: float | None = None
    memory: int | None = None


def cgroup_limits(root: Path = Path("/")) -> CgroupLimits:
    """The tightest limits of this process's control groups and of those around them.

    Both versions are read, as documented in Linux's ``admin-guide/cgroup-v2`` (``cpu.max``,
    ``memory.max``), ``scheduler/sched-bwc`` and ``admin-guide/cgroup-v1/memory``. Where there are
    none there is no limit.

    Args:
        root: The folder that holds ``proc`` and ``sys``.
    """
    cpus, memories = [], []
    for group in _groups(root):
        memories += _numbers(group / "memory.max") or _numbers(group / "memory.limit_in_bytes")
        match _numbers(group / "cpu.max") or [
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ]:
            case [int(quota), int(period)] if quota and period:
                cpus.append(quota / period)
    limited = [memory for memory in memories if memory is not None]
    return CgroupLimits(min(cpus, default=None), min(limited, default=None))


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the process's groups and of their parents, which limit them, too.

    In a container the path that the kernel tells may be the host's, of which nothing but the
    root is there to be seen: that is the container's own group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = ["", "unified"] if not controllers else controllers.split(",")
        group = PurePosixPath(path)
        for name in names:
            for place in (group, *group.parents):
                yield mounts / name / place.relative_to("/")


def _numbers(file: Path) -> list[int | None]:
    """The words of a file; one that is no number, as ``max`` and ``-1``, is no limit."""
    try:
        words = file.read_text().split()
    except OSError:  # not this version, or no group of ours
        return []
    return [int(word) if word.isdecimal() else None for word in words]


# GPUs


def gpu_count() -> int:
    """The NVIDIA GPUs that this process may use, as NVML and ``$CUDA_VISIBLE_DEVICES`` say.

    None without a driver, or without the library of the extra ``gpu``.
    """
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
        count: int = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return 0
    return visible(count, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(count: int, devices: str | None) -> int:
    """How many of ``count`` GPUs a value of ``$CUDA_VISIBLE_DEVICES`` leaves.

    As the CUDA programming guide says ("CUDA Environment Variables"): a list of indices or
    identifiers, which ends before the first invalid one. That an identifier exists is taken for
    granted.
    """
    if devices is None:
        return count
    seen: set[str] = set()
    for device in map(str.strip, devices.split(",")):
        index = device.isdecimal() and int(device) < count
        if not (index or device.startswith(("GPU-", "MIG-"))):
            break
        seen.add(device)
    return min(count, len(seen))
