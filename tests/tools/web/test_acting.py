"""What the window does to runs that no process holds."""

from __future__ import annotations

import asyncio
import subprocess
import time

import pytest

from semantica.pipeline.engine.core.commands import Refused
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.tools.finding import opened
from semantica.pipeline.tools.terminal import BadInput
from semantica.pipeline.tools.web.acting import Acting
from semantica.pipeline.tools.web.changes import Changes
from semantica.pipeline.tools.web.reading import Reading


async def lost_as_it_dies(changes: Changes, process: subprocess.Popen[str]) -> None:
    """Kill a process, and wait until it is told that its run is lost, which no event says."""
    following = asyncio.create_task(changes.follow())
    with changes.listening() as listener:
        async for lines in listener.news():
            if process.poll() is None:
                process.kill()
                process.wait()
            elif any(line["lost"] for line in lines or ()):
                break
    following.cancel()


def test_a_run_whose_process_has_died_goes_on_in_one_of_its_own(window):
    process = window.start("run", "flows.py:gate", "--run-id", "lost")
    deadline = time.monotonic() + 100
    while window.status("lost") != "running":
        assert time.monotonic() < deadline
    with opened(str(window.log)) as log:
        changes = Changes(Reading(log.store, "here"))
        asyncio.run(asyncio.wait_for(lost_as_it_dies(changes, process), 60))
        acting = Acting(log)
        row = log.store.run("lost")
        assert acting.act(row, "recover", {})["run"] == "lost"
        assert acting.act(log.store.run("lost"), "stop", {})["status"] == "stopping"
        (window.folder / "go").touch()
        while log.store.run("lost").status is not PipelineStatus.STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert acting.act(log.store.run("lost"), "resume", {})["status"] in ("running", "completed")
        with pytest.raises(Refused, match="has no step 'nope'"):
            acting.act(log.store.run("lost"), "fork", {"steps": ["nope"]})
        for told in ({"steps": "s1"}, {"settings": [1]}):
            with pytest.raises(BadInput, match="must be a list of texts"):
                acting.act(row, "fork", told)
        with pytest.raises(BadInput, match="must be JSON"):
            acting.act(row, "signal", {"name": "x", "value": "@/etc/passwd"})
        while log.store.run("lost").status is not PipelineStatus.COMPLETED:
            assert time.monotonic() < deadline
            time.sleep(0.02)
