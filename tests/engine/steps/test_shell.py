"""The step ``shell``: real programs, their ends, and what becomes of what they start."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline import (
    ExecutionEngine,
    ExecutionResult,
    Pipeline,
    PipelineStep,
    PipelineValidator,
    RetryPolicy,
)
from semantica.pipeline.events.upcasters import to_event

ONCE = RetryPolicy(max_retries=0)
WAITS = 'import sys, time; print("up", flush=True); time.sleep(60)'


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def pipeline(command: list[str] | str, *, data_step: str | None = None, **options: Any) -> Pipeline:
    known = {name: options.pop(name) for name in ("timeout", "executor") if name in options}
    step = PipelineStep("tool", "shell", {"command": command, **options}, retry=ONCE, **known)
    return Pipeline("p", [step])


@pytest.fixture
def run() -> Callable[..., ExecutionResult]:
    def run(command: Any, data: Any = None, **options: Any) -> ExecutionResult:
        with ExecutionEngine(":memory:") as engine:
            return engine.execute_pipeline(pipeline(command, **options), data)

    return run


def gone(pid: int, patience: float = 10.0) -> bool:
    """Whether a process ends, or is a zombie that nobody has asked for."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def soon(path: Path, patience: float = 20.0) -> str:
    """What a file holds, once there is a whole line in it."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError(f"nothing is written to {path}")


def test_what_a_program_writes_is_handed_on(run: Any) -> None:
    assert run(["echo", "a b", "$HOME", "*"]).output == "a b $HOME *\n", "no shell reads it"
    assert run("echo $((1 + 2))", shell=True).output == "3\n"
    assert run(["printf", "a\nb\n"], output="lines").output == ["a", "b"]
    assert run(["printf", '{"a": [1, 2]}'], output="json").output == {"a": [1, 2]}
    assert run(["printf", r"\377"], output="bytes").output == b"\xff"
    told = run("echo out; echo err >&2; exit 3", shell=True, output="result", statuses=[0, 3])
    assert told.output == {"status": 3, "stdout": "out\n", "stderr": "err\n"}


@pytest.mark.parametrize(
    ("data", "text"),
    [("größe\n", "größe\n"), (b"\x00\n", "\x00\n"), ({"a": [1]}, '{"a":[1]}'), (None, "null")],
)
def test_it_reads_the_input_of_the_step(run: Any, data: Any, text: str) -> None:
    assert run(["cat"], data, send_data=True).output == text
    assert run(["cat"], data).output == "", "nothing is sent without being asked for"


def test_much_passes_both_ways(run: Any) -> None:
    """More than any pipe holds, in both directions and in the errors, at once."""
    code = "import sys; text = sys.stdin.read(); sys.stderr.write(text); sys.stdout.write(text)"
    text = "0123456789abcdef" * 50_000
    told = run(python(code), text, send_data=True, output="result").raise_for_status().output
    assert told["stdout"] == text
    assert told["stderr"] == text[-65536:], "the end is kept"


def test_folder_and_environment(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SHELL_TEST_KEY", "s3cret")
    (tmp_path / "tool").write_text(
        '#!/bin/sh\necho "$KEY" > key; echo "$PWD $PIPELINE_IDEMPOTENCY_KEY"\n'
    )
    (tmp_path / "tool").chmod(0o755)
    options = {"cwd": str(tmp_path), "env": {"KEY": "<env:SHELL_TEST_KEY env:SHELL_TEST_KEY"}}
    result = run(["./tool"], **options)
    folder, *rest = result.output.split()
    assert folder == str(tmp_path.resolve())
    assert rest == [f"{result.run_id}/tool"]
    assert (tmp_path / "key").read_text() == "<env:SHELL_TEST_KEY s3cret\n"


@pytest.mark.parametrize(
    ("command", "options", "kind", "message", "again"),
    [
        (["sh", "-c", "echo no >&2; exit 3"], {}, "CommandFailed", "exit status 3: no", True),
        (["sh", "-c", "exit 64"], {}, "CommandRefused", "ended with exit status 64", False),
        (["sh", "-c", "kill -TERM $$"], {}, "CommandFailed", "was killed by SIGTERM", True),
        (["no-such-tool"], {}, "FileNotFoundError", "no program 'no-such-tool' in PATH", False),
        (["./none"], {}, "FileNotFoundError", "no program './none'", False),
        (["true"], {"cwd": "/none"}, "FileNotFoundError", "no folder '/none'", False),
        (["printf", r"\377"], {}, "CommandRefused", "say output='bytes'", False),
        (["echo", "{"], {"output": "json"}, "CommandRefused", "wrote no JSON", False),
        (["yes"], {"max_output": 100_000}, "CommandRefused", "max_output=100000", False),
    ],
)
def test_an_end_that_is_no_success_is_a_classified_error(
    command: list[str], options: dict[str, Any], kind: str, message: str, again: bool
) -> None:
    with ExecutionEngine(":memory:") as engine:
        result = engine.execute_pipeline(pipeline(command, **options))
        failed = next(e for e in engine.history(result.run_id) if e.type == "StepFailed")
    error = to_event(failed).error  # type: ignore[union-attr]
    assert error.type.rpartition(".")[2] == kind
    assert message in error.message
    assert error.retryable is again


def test_a_secret_is_in_no_error(monkeypatch: Any) -> None:
    monkeypatch.setenv("SHELL_TEST_KEY", "s3cret")
    with ExecutionEngine(":memory:") as engine:
        env = {"API_KEY": "env:SHELL_TEST_KEY"}
        result = engine.execute_pipeline(
            pipeline("echo bad $API_KEY >&2; exit 1", shell=True, env=env)
        )
        assert "bad ***" in result.errors[0]
        assert all(b"s3cret" not in event.payload for event in engine.history(result.run_id))


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"command": "ls -l"}, r"'command' is text: give a list, \['ls', '-l'\], or shell=True"),
        ({"command": []}, "'command' is empty"),
        ({"command": ["ls"], "shell": True}, "'command' is a list"),
        ({"command": ["ls"], "env": {"DB_PASSWORD": "x"}}, "'DB_PASSWORD' looks like a credential"),
        ({"command": ["ls"], "statuses": []}, r"statuses=\[\]: it should be"),
        ({"command": ["ls"], "outptu": "text"}, "did you mean 'output'"),
        ({}, "needs the configuration 'command'"),
    ],
)
def test_what_means_nothing_is_told_before_anything_runs(
    config: dict[str, Any], complaint: str
) -> None:
    told = PipelineValidator().validate_pipeline(
        Pipeline("p", [PipelineStep("tool", "shell", config)])
    )
    assert not told.valid
    (error,) = told.errors
    assert re.search(complaint, error)


STARTS_ANOTHER = (
    "import os, subprocess, sys, time;"
    "other = subprocess.Popen(['sleep', '60']);"
    "open(sys.argv[1], 'w').write(f'{os.getpid()} {other.pid}\\n');"
    "time.sleep(60)"
)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_it_is_killed_with_what_it_has_started(tmp_path: Path, executor: str, how: str) -> None:
    pids = tmp_path / "pids"
    with ExecutionEngine(tmp_path / "log.db", cancel_grace=0.2) as engine:
        options = {"timeout": 3.0} if how == "timeout" else {}
        one = pipeline(python(STARTS_ANOTHER, str(pids)), executor=executor, **options)
        future = engine.execute_pipeline_async(one)
        found = [int(pid) for pid in soon(pids).split()]
        if how == "cancel":
            assert engine.cancel_pipeline("p")
        assert not future.result().success
        assert all(gone(pid) for pid in found)


def test_what_it_leaves_running_ends_with_it(run: Any, tmp_path: Path) -> None:
    command = f"sleep 60 & echo $! > {tmp_path}/pid; echo done"
    assert run(command, shell=True).output == "done\n", "the other has its output open, too"
    assert gone(int(soon(tmp_path / "pid")))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_it_does_not_outlive_a_killed_engine(tmp_path: Path, executor: str) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from semantica.pipeline import ExecutionEngine\n"
        "from test_shell import STARTS_ANOTHER, pipeline, python\n"
        "if __name__ == '__main__':\n"
        "    with ExecutionEngine(sys.argv[2]) as engine:\n"
        "        engine.execute_pipeline(\n"
        "            pipeline(python(STARTS_ANOTHER, sys.argv[3]), executor=sys.argv[4]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, script, Path(__file__).parent, tmp_path / "log.db", pids, executor],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = [int(pid) for pid in soon(pids).split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(gone(pid) for pid in found)


def test_a_program_has_no_children_that_it_did_not_start(run: Any) -> None:
    """The watcher is none: waiting for all children would never end."""
    code = "import os\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('none')"
    assert run(python(code)).output == "none\n"


def test_no_thread_and_no_descriptor_is_left(run: Any) -> None:
    run(["true"])
    descriptors, threads = len(list(Path("/proc/self/fd").iterdir())), set(threading.enumerate())
    for _ in range(3):
        run(["true"])
    for thread in set(threading.enumerate()) - threads:
        thread.join(30)  # it may be about to end
        assert not thread.is_alive(), thread
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
