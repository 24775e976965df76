"""Watching runs: on a terminal, in lines and as JSON."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest
from tools.terminals import on_terminal

CHAIN = "flows/flows.py:chain"
SUMS = "flows/flows.py:sums"


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def leave_at(text):
    """Press Ctrl-C once when this is on the screen."""
    pressed = []

    def leave(process, seen):
        if text in seen and not pressed:
            pressed.append(process.send_signal(signal.SIGINT))

    return leave


def test_lines_until_the_end_and_its_status(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(2)
    told = shell("watch").stdout
    assert re.search(r"run \S+ \(chain\): \d/8 steps", told)
    assert "s7 completed in" in told
    assert "(8/8)" in told
    assert told.splitlines()[-1].startswith("chain completed: 8/8 steps in ")
    assert "\x1b" not in told
    assert process.wait(timeout=20) == 0
    shell("run", "flows/flows.py:failing", status=1)
    assert "failing failed: 0/1 steps" in shell("watch", status=1).stdout
    assert "chain completed" in shell("watch", "chain").stdout


def test_an_object_for_each_change(shell):
    shell.start("run", CHAIN)
    shell.wait_for(1)
    lines = [json.loads(line) for line in shell("watch", "--json").stdout.splitlines()]
    assert len(lines) > 2
    assert lines[-1]["status"] == "completed"
    assert lines[-1]["states"] == {"completed": 8}
    shares = [line["percentage"] for line in lines]
    assert shares == sorted(shares)
    first = next(line for line in lines if line["running"])
    assert first["running"][0]["name"] == first["running_steps"][0]


def test_all_runs_that_go_on(shell):
    shell("run", SUMS)
    assert "no run goes on" in shell("watch", "--all").stdout
    assert shell("watch", "--all", "--json").stdout == ""
    shell.start("run", CHAIN, "--run-id", "mine")
    shell.wait_for(1)
    assert "mine (chain) completed: 8/8 steps" in shell("watch", "--all").stdout
    assert "leave RUN out" in shell.error("watch", "mine", "--all")


@pytest.mark.parametrize("columns", [80, 200])
def test_the_board(shell, columns):
    shell.start("run", CHAIN)
    shell.wait_for(1)
    status, seen = on_terminal(shell, "watch", columns=columns)
    assert status == 0
    assert "\x1b[36m" in seen  # a colour
    told = plain(seen)
    assert re.search(r"s\d +running", told)
    assert re.search(r"s7 +waiting +for step 's6'", told)
    assert "100 %" in told
    assert "8 completed" in told
    assert re.search(r"8/8 steps, \S+ s, \S+ steps/s", told)
    assert max(map(len, re.split(r"[\r\n]+", told))) <= columns


def test_no_colours_when_they_are_not_wanted(shell):
    shell("run", SUMS)
    _, seen = on_terminal(shell, "watch", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", seen)
    status, seen = on_terminal(shell, "watch", TERM="dumb")
    assert (status, "\x1b" in seen) == (0, False)


def test_ctrl_c_leaves_and_the_run_goes_on(shell):
    process = shell.start("run", CHAIN)
    shell.wait_for(1)

    status, seen = on_terminal(shell, "watch", while_running=leave_at("running"))
    assert status == 130
    assert "Traceback" not in seen
    assert seen.rstrip().endswith("\x1b[?25h")  # the cursor is back
    assert process.wait(timeout=20) == 0


def test_a_run_that_nobody_executes(shell):
    process = shell.start("run", CHAIN, "--run-id", "lost")
    shell.wait_for(1)
    process.kill()
    process.wait()
    watching = shell.start("watch")
    assert "nobody executes the run; go on with: semantica-pipeline recover lost" in (
        watching.stderr.readline()
    )
    shell("recover")
    assert watching.wait(timeout=20) == 0

    process = shell.start("run", CHAIN, "--run-id", "again")
    shell.wait_for(len(shell.executed()) + 1)
    process.kill()
    process.wait()

    assert on_terminal(shell, "watch", while_running=leave_at("nobody executes it"))[0] == 130


def test_ten_thousand_steps_stay_within_the_terminal(shell):
    (shell.flows / "large.py").write_text(
        "from semantica.pipeline import PipelineBuilder\n"
        "def work(): return 1\n"
        "pipeline = PipelineBuilder('large')\n"
        "for i in range(10_000):\n"
        "    pipeline.add_step(f's{i}', 'work', handler=work, dependencies=[])\n"
    )
    shell("run", "flows/large.py:pipeline", "--durability", "off", "--set", "s1.at_most_once=true")
    began = time.monotonic()
    status, seen = on_terminal(shell, "watch", lines=24)
    assert status == 0
    assert time.monotonic() - began < 15
    told = plain(seen)
    assert "10,000 completed" in told
    assert "more steps" in told
    assert told.count("\n") <= 24
    drawn = shell("timeline", "--limit", "5").stdout
    assert "and 9,995 shorter steps" in drawn
    assert drawn.count("\n") <= 8


def test_names_do_not_drive_the_terminal(shell):
    (shell.folder / "evil.py").write_text(
        "from semantica.pipeline import PipelineBuilder\n"
        "def work(context):\n"
        "    context.progress(1, 2, '\\x1b[2Jmessage')\n"
        "    raise ValueError('\\x1b]0;title\\x07 [bold]markup[/bold]')\n"
        "p = PipelineBuilder('[red]x[/red]').add_step('[bold]a', 'a', handler=work)\n"
    )
    shell("run", "evil.py:p", status=1)
    for words in (["watch"], ["timeline"], ["graph", "[red]x[/red]"]):
        _, seen = on_terminal(shell, *words, columns=200)
        assert "\x1b[2J" not in seen
        assert "\x1b]0" not in seen
    status, seen = on_terminal(shell, "watch", columns=200)
    assert status == 1
    assert "[red]x[/red]" in plain(seen)
    assert "[bold]markup[/bold]" in plain(seen)


def test_a_paused_run_says_how_to_go_on(shell):
    process = shell.start("run", CHAIN, "--run-id", "resting")
    shell.wait_for(1)
    shell("pause", "resting")
    status, seen = on_terminal(
        shell, "watch", columns=200, while_running=leave_at("semantica-pipeline resume resting")
    )
    assert status == 130
    assert "paused" in plain(seen)
    assert "for the run to go on" in plain(seen)
    shell("stop", "resting")
    assert "chain stopped" in shell("watch", status=1).stdout  # it rests, which is an end
    process.wait(timeout=20)
