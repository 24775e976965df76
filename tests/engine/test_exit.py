"""Scripts that end, in whatever way, while a run is going on."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from making import MakeEngine

SCRIPT = """
    import sys, threading, time
    from semantica.pipeline import ExecutionEngine, PipelineBuilder

    def work(data):
        print("working", flush=True)
        time.sleep({seconds})
        return 1

    engine = ExecutionEngine(sys.argv[1])
    pipeline = PipelineBuilder().add_step("a", "t", handler=work).add_step("b", "t").build("cut")
    future = engine.execute_pipeline_async(pipeline)
    while not engine.get_progress("cut").running_steps:
        threading.Event().wait(0.01)
    {ending}
"""


def start(log: Path, seconds: float, ending: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(SCRIPT).format(seconds=seconds, ending=ending)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_script_that_ends_waits_records_and_says_how_to_go_on(
    log: Path, make_engine: MakeEngine
) -> None:
    process = start(log, 0.3, "")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "unfinished, 1 of 2 steps done" in err
    assert f"semantica-pipeline recover --log {log}" in err
    engine = make_engine()
    (future,) = engine.recover()
    assert future.result(10).output == 1
    assert [e.type for e in engine.history("cut")].count("StepInterrupted") == 0


def test_a_script_that_raises_ends_the_same_way(log: Path, make_engine: MakeEngine) -> None:
    process = start(log, 0.2, "raise ValueError('mine')")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "ValueError: mine" in err and "go on with" in err
    assert make_engine().recover()[0].result(10).output == 1


def test_the_second_interruption_does_not_wait(log: Path) -> None:
    process = start(log, 30, "future.result()")
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    begun = time.monotonic()
    time.sleep(0.2)  # a person's fingers
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first one waits for the step in flight"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert time.monotonic() - begun < 10


def test_an_abandoned_thread_does_not_keep_the_process(log: Path) -> None:
    process = start(
        log, 30, "engine._owner.cancel_grace = 0.05; engine.cancel_pipeline('cut'); future.result()"
    )
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_many_engines_that_nobody_closes(tmp_path: Path) -> None:
    code = """
        import sys
        from semantica.pipeline import ExecutionEngine, PipelineBuilder
        engines = [ExecutionEngine(sys.argv[1] + str(i % 2)) for i in range(20)]
        for engine in engines:
            pipeline = PipelineBuilder().add_step("s", "t", handler=abs).build("p")
            assert engine.execute_pipeline(pipeline, 1).success
        print(len(engines[0].runs()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "10\n", done.stderr
    assert done.stderr == ""
