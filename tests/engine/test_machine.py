"""What this machine has: control groups as the kernel writes them, GPUs, and what limits both."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from semantica.pipeline.engine.machine import (
    NETWORK,
    CgroupLimits,
    cgroup_limits,
    gpu_count,
    machine_resources,
    visible,
)

GIB = 2**30
UNLIMITED = 9223372036854771712
"""What version 1 says of memory without a limit."""


def system(root: Path, groups: str, **files: str) -> Path:
    """A folder with ``proc/self/cgroup`` and files below ``sys/fs/cgroup``."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = root / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


VERSION_1 = "4:memory:/box\n3:cpuset:/\n2:cpu,cpuacct:/box\n1:name=systemd:/user.slice\n0::/"
CASES = {
    "version 2, no limits": ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, (None, None)),
    "version 2": ("0::/a", {"a/cpu.max": "150000 100000", "a/memory.max": f"{GIB}"}, (1.5, GIB)),
    "half a core": ("0::/a", {"a/cpu.max": "50000 100000"}, (0.5, None)),
    "the group around is tighter": (
        "0::/a/b/c",
        {
            "a/cpu.max": "100000 100000",
            "a/b/cpu.max": "max 100000",
            "a/b/c/cpu.max": "400000 100000",
            "a/b/c/memory.max": f"{GIB}",
            "a/memory.max": f"{4 * GIB}",
        },
        (1, GIB),
    ),
    "a group beside does not count": ("0::/a", {"b/cpu.max": "100000 100000"}, (None, None)),
    "a container sees only its root": (
        "0::/system.slice/docker-0123.scope",
        {"cpu.max": "200000 100000", "memory.max": f"{2 * GIB}"},
        (2, 2 * GIB),
    ),
    "another namespace's group": ("0::/../../a", {"memory.max": f"{GIB}"}, (None, GIB)),
    "version 1": (
        VERSION_1,
        {
            "cpu/box/cpu.cfs_quota_us": "300000",
            "cpu/box/cpu.cfs_period_us": "100000",
            "memory/box/memory.limit_in_bytes": f"{GIB}",
            "memory/memory.limit_in_bytes": f"{UNLIMITED}",
        },
        (3, GIB),
    ),
    "version 1, no quota": (
        VERSION_1,
        {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"},
        (None, None),
    ),
    "both versions": (
        VERSION_1.replace("0::/", "0::/box"),
        {
            "unified/box/memory.max": f"{GIB}",
            "memory/box/memory.limit_in_bytes": f"{3 * GIB}",
        },
        (None, GIB),
    ),
    "what no kernel writes": (
        "0::/",
        {"cpu.max": "many 0\nx", "memory.max": ""},
        (None, None),
    ),
    "no period": ("0::/", {"cpu.max": "100000 0"}, (None, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_limits_of_control_groups(tmp_path: Path, case: str) -> None:
    groups, files, expected = CASES[case]
    assert cgroup_limits(system(tmp_path, groups, **files)) == CgroupLimits(*expected)


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path) == CgroupLimits()


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = machine_resources(root=tmp_path)
    assert here.cpu == len(os.sched_getaffinity(0))
    assert here.memory == psutil.virtual_memory().total / 10**9
    assert here.disk == pytest.approx(shutil.disk_usage(tmp_path).free / 10**9, rel=0.2)
    speeds = [one.speed for one in psutil.net_if_stats().values() if one.isup]
    assert here.network == (max(speeds) or NETWORK)
    assert here.gpu == gpu_count()
    real = machine_resources()
    assert 0 < real.cpu <= here.cpu
    assert 0 < real.memory <= here.memory


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/", **{"cpu.max": "50000 100000", "memory.max": f"{10**8}"})
    grouped = machine_resources(root=root, max_cpu_cores=10**6, max_memory_gb=10**6)
    assert (grouped.cpu, grouped.memory) == (0.5, 0.1)
    configured = machine_resources(root=root, max_cpu_cores=0.25, max_memory_gb=0.05)
    assert (configured.cpu, configured.memory) == (0.25, 0.05)
    assert type(machine_resources(max_cpu_cores=1).cpu) is float


def test_the_cores_that_the_process_is_bound_to_count() -> None:
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from semantica.pipeline.engine.machine import machine_resources\n"
        "print(machine_resources().cpu <= 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


# GPUs


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (None, 4),
        ("", 0),
        ("0", 1),
        ("3,1", 2),
        (" 0 , 2 ", 2),
        ("0,1,2,3", 4),
        ("-1", 0),
        ("0,-1,1", 1),
        ("0,4,1", 1),
        ("0,,1", 1),
        ("0,0", 1),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,GPU-1", 2),
        ("NoDevFiles", 0),
    ],
)
def test_the_environment_limits_the_gpus(devices: str | None, expected: int) -> None:
    assert visible(4, devices) == expected


def test_no_gpu_without_a_wish_or_a_device(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert machine_resources(enable_gpu=False).gpu == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine_resources().gpu == 0
    assert capfd.readouterr().err == ""
    assert machine_resources(enable_gpu=True).gpu == 0
    assert "enable_gpu is set, but no GPU can be used" in capfd.readouterr().err


NVML = """
class NVMLError(Exception): pass
def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 3
def nvmlShutdown(): pass
"""


@pytest.mark.parametrize(
    ("init", "devices", "expected"),
    [("pass", None, 3), ("pass", "0,2", 2), ("raise NVMLError('Driver Not Loaded')", None, 0)],
)
def test_what_nvml_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    init: str,
    devices: str | None,
    expected: int,
) -> None:
    """With the few functions of NVML that are used, since there may be no GPU here."""
    (tmp_path / "pynvml.py").write_text(NVML.format(init=init))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what is there now comes back
    monkeypatch.delitem(sys.modules, "pynvml")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert machine_resources().gpu == expected
    assert machine_resources(enable_gpu=False).gpu == 0


def test_without_the_library_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    assert gpu_count() == 0


@pytest.mark.skipif(
    importlib.util.find_spec("pynvml") is None or Path("/proc/driver/nvidia").exists(),
    reason="needs the library, and no driver",
)
def test_the_library_without_a_driver() -> None:
    assert gpu_count() == 0
