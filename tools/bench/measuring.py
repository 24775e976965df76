"""Processes that measure, one at a time and in turns, so that all see the same machine."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ...engine.version import VERSION
from .catalogue import Group, Side

TIMEOUT = 900.0
"""Seconds that a process may take."""

Say = Callable[[str], None]


class Results(msgspec.Struct):
    """What was measured. ``figures``: by group, side and figure, one number a round."""

    machine: dict[str, str]
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    absent: dict[str, str] = {}
    """Peers that could not be measured, and why."""
    short: bool = False

    def median(self, path: str) -> float | None:
        """The median of ``group/side/figure``; None where it was not measured."""
        group, side, figure = path.split("/")
        found = self.figures.get(group, {}).get(side, {}).get(figure)
        return statistics.median(found) if found else None


def machine(folder: Path) -> dict[str, str]:
    """What the figures depend on."""
    from ...events.sqlite_file import file_system

    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": VERSION,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": platform.platform(),
        "file system": file_system(folder),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def measure(
    groups: Mapping[str, Group], folder: Path, peers: str, say: Say, *, short: bool = False
) -> Results:
    """Measure all groups in folders below ``folder``.

    Args:
        peers: The interpreter that has the peers installed.
        say: Told of the progress.

    Raises:
        RuntimeError: A process of ours or of the floor failed.
    """
    results = Results(machine(folder), short=short)
    histories: dict[int, Path] = {}
    for name, group in groups.items():
        begun = time.perf_counter()
        path = None
        if group.history:
            if group.history not in histories:
                histories[group.history] = _history(group.history, folder)
            path = histories[group.history]
        for number in range(group.rounds):
            for title, side in group.sides.items():
                if number < side.rounds and title not in results.absent:
                    _take(results, name, title, side, group, folder, peers, path)
        say(f"{name}: {group.title} ({time.perf_counter() - begun:.0f} s)")
    return results


def _take(
    results: Results,
    name: str,
    title: str,
    side: Side,
    group: Group,
    folder: Path,
    peers: str,
    path: Path | None,
) -> None:
    options = dict(side.options)
    if path is not None and side.where != "peers":
        options["path"] = str(path)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        begun = time.perf_counter()
        measured = _run(side, options, place, peers)
        took = time.perf_counter() - begun
    if "absent" in measured:
        results.absent[title] = str(measured["absent"])
        return
    if group.whole:
        measured |= {"us": took * 1e6, "seconds": took}
    figures = results.figures.setdefault(name, {}).setdefault(title, {})
    for figure, value in measured.items():
        figures.setdefault(figure, []).append(float(value))


def _run(side: Side, options: Mapping[str, object], place: str, peers: str) -> dict[str, Any]:
    package = __name__.rpartition(".")[0]
    if side.where == "peers":
        command = [peers, str(Path(__file__).with_name("peers.py"))]
    else:
        command = [sys.executable, "-m", f"{package}.{side.where}"]
    done = subprocess.run(
        [*command, side.workload, json.dumps(options)],
        cwd=place,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        if side.where == "peers":
            return {"absent": last}
        raise RuntimeError(f"{side.where} {side.workload} {options} failed: {last}")
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def _environment() -> dict[str, str]:
    """This process's, but byte code is kept: whatever pip has installed has it."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def _history(steps: int, folder: Path) -> Path:
    place = folder / f"history-{steps}"
    place.mkdir()
    command = [sys.executable, "-m", f"{__name__.rpartition('.')[0]}.history", "make"]
    command.append(json.dumps({"n": steps}))
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    return place / "bench.db"
