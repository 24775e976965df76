"""What the window does to runs that no process holds."""

from __future__ import annotations

import time

import pytest

from semantica.pipeline.engine.core.commands import Refused
from semantica.pipeline.events.machines import PipelineStatus
from semantica.pipeline.tools.finding import opened
from semantica.pipeline.tools.terminal import BadInput
from semantica.pipeline.tools.web.acting import Acting


def test_a_run_whose_process_has_died_goes_on_in_one_of_its_own(window):
    process = window.start("run", "flows.py:lasting", "--run-id", "lost")
    deadline = time.monotonic() + 30
    while window.status("lost") != "running":
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    with opened(str(window.log)) as log:
        acting = Acting(log)
        row = log.store.run("lost")
        assert acting.act(row, "recover", {})["run"] == "lost"
        assert acting.act(log.store.run("lost"), "stop", {})["status"] in ("stopping", "stopped")
        while log.store.run("lost").status is not PipelineStatus.STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert acting.act(log.store.run("lost"), "resume", {})["status"] == "running"
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
