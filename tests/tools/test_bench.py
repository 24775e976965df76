"""The benchmark: it measures what it says, and its guard finds what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from semantica.pipeline.tools.bench.__main__ import update
from semantica.pipeline.tools.bench.catalogue import FULL, SHORT, TARGETS
from semantica.pipeline.tools.bench.measuring import Results
from semantica.pipeline.tools.bench.report import broken, tables, value

BENCH = [sys.executable, "-m", "semantica.pipeline.tools.bench"]


def test_it_measures_in_processes_and_writes_what_it_found(tmp_path: Path) -> None:
    file, disk = tmp_path / "figures.json", tmp_path / "disk"
    disk.mkdir()
    asked = ["--short", "--only", "replay", "--json", file, "--folder", disk]
    done = subprocess.run([*BENCH, *asked], capture_output=True, text=True, timeout=100)
    assert "| 20,000 events of a run into its state, per event | ours |" in done.stdout, done.stderr
    results = msgspec.json.decode(file.read_bytes(), type=Results)
    assert set(results.figures) == {"replay"}
    for group in results.figures.values():
        assert set(group) == {"ours", "floor"}
        assert all(len(side["us"]) == 3 and min(side["us"]) > 0 for side in group.values())
    assert not list(disk.iterdir()), "it cleans up"
    again = subprocess.run(
        [*BENCH, "--short", "--load", file], capture_output=True, text=True, timeout=100
    )
    assert again.stdout.strip() in done.stdout


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    done = subprocess.run([*BENCH, "--only", "chian"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "no group 'chian'; did you mean 'chain'?" in done.stderr, done.stderr


def test_peers_that_are_not_there_are_said_to_be_absent(tmp_path: Path) -> None:
    script = Path(sys.modules[update.__module__].__file__ or "").with_name("peers.py")
    asked = [sys.executable, "-S", script, "luigi_chain", '{"n": 1}']
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert json.loads(done.stdout) == {"absent": "luigi"}


def made(**us: float) -> Results:
    """Results of one round."""
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, number in us.items():
        group, _, side = name.partition("_")
        figures.setdefault(group, {})[side] = {"us": [number]}
    return Results({"cores": "2"}, figures)


def test_rates_are_compared_the_other_way_round_than_times() -> None:
    results = made(chain_ours=200.0, chain_floor=100.0, normal_ours=200.0, normal_floor=100.0)
    found = {target.title[:15]: value(results, target) for target in TARGETS}
    assert found["chain, `full`: "] == 0.5, "half as many steps a second"
    assert found["chain, `normal`"] == 2, "twice the time"
    assert found["replay: times f"] is None


@pytest.mark.parametrize(
    ("times", "faults"), [(1, 0), (4, 0), (100, 2)], ids=["usual", "noisy", "a pause in every step"]
)
def test_the_guard_finds_a_pause_and_no_noise(times: float, faults: int) -> None:
    results = made(
        chain_ours=500.0 * times, chain_floor=200.0, normal_ours=250.0 * times, normal_floor=110.0
    )
    assert len(broken(results)) == faults


def test_results_become_tables_and_a_plot(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    results = made(chain_ours=300.0, chain_floor=200.0, fan_ours=80.0, fan_floor=200.0)
    results.absent["dbos"] = "dbos"
    for _ in range(2):  # it can be done again
        update(page, results)
    text = page.read_text()
    assert text.startswith("before\n<!-- results -->\n\ncores 2.")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "\nold\n" not in text
    assert "| ours | 300 us | 300 us to 300 us | 100 us |  | 3,333/s |" in text
    assert "| at least 0.6 | 0.667 | met |" in text
    assert "| | dbos | absent | dbos | | | |" in text
    plot = ElementTree.fromstring((tmp_path / "results.svg").read_text())
    bars = [one for one in plot.iter() if one.tag.endswith("rect")][1:]
    assert [float(bar.attrib["width"]) > 0 for bar in bars] == [True] * 4


def test_every_target_and_guard_has_its_figures() -> None:
    for target in TARGETS:
        for path in (target.figure, *target.over):
            group, side, _ = path.split("/")
            assert side in FULL[group].sides, path
            assert not target.guard or side in SHORT[group].sides, path
    assert tables(made(), FULL).count("not measured") == len(TARGETS)
