"""Somebody is told of what went wrong: once each, also when the sender is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from contract.runs import SECOND, batch, claim, completed, opening, started

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.errors import ConfigurationError
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.values import ErrorInfo
from semantica.pipeline.tools.alert_rules import Rule, Rules, read_rules
from semantica.pipeline.tools.alerting import Alert, Alerts
from semantica.pipeline.tools.cli import cli

FAILED = p.PipelineFailed("a", ErrorInfo("ValueError", "no good"))
MINUTE = 60 * SECOND


class Receiver:
    """What a sender has told, or tried to."""

    def __init__(self) -> None:
        self.told: list[Alert] = []
        self.down = False

    def __call__(self, rule: Rule, alert: Alert) -> None:
        if self.down:
            raise ConnectionError("nobody there")
        self.told.append(alert)

    def kinds(self) -> list[tuple[str, str]]:
        return [(one.kind, one.run) for one in self.told]


def rules(*given: Rule) -> Rules:
    return Rules("alerts", given)


def test_a_failure_is_told_once_whoever_looks() -> None:
    store, receiver = MemoryStore(), Receiver()
    store.append([opening("r"), opening("s", name="other")])
    store.append([batch("r", 3, FAILED), batch("s", 3, FAILED)])
    only = rules(Rule("failed", "jo*", command=("x",)))
    for _ in range(2):
        Alerts(store, only, receiver, 0).turn(2 * SECOND)
    assert receiver.kinds() == [("failed", "r")]
    assert receiver.told[0].text == "run r (job) failed: step 'a': ValueError: no good"
    store.append([batch("r", 4, p.PipelineResumed(), epoch=2)])
    store.append([batch("r", 5, claim(), started("a", 2), FAILED, epoch=3)])
    Alerts(store, only, receiver, 0).turn(3 * SECOND)
    assert receiver.kinds() == [("failed", "r")] * 2, "it failed a second time"
    assert receiver.told[0].id != receiver.told[1].id


def test_old_failures_are_not_told_at_the_first_start() -> None:
    store, receiver = MemoryStore(), Receiver()
    store.append([opening("r")])
    store.append([batch("r", 3, FAILED)])
    Alerts(store, rules(Rule("failed", command=("x",))), receiver, 2 * SECOND).turn(3 * SECOND)
    assert receiver.told == []


def test_a_stuck_and_a_slow_run_are_told_once_each_time() -> None:
    store, receiver = MemoryStore(), Receiver()
    both = rules(Rule("stuck", after=60.0, command=("x",)), Rule("slow", after=90, command=("y",)))
    store.append([opening("r")])
    sender = Alerts(store, both, receiver, 0)
    sender.turn(SECOND + MINUTE - 1)
    assert receiver.told == []
    for passed in (MINUTE, MINUTE + SECOND):
        sender.turn(2 * SECOND + passed)
    assert receiver.kinds() == [("stuck", "r")]
    sender = Alerts(store, both, receiver, 0)  # another life
    sender.turn(SECOND + 89 * SECOND)
    sender.turn(SECOND + 91 * SECOND)
    assert receiver.kinds() == [("stuck", "r"), ("slow", "r")]
    store.append([batch("r", 3, completed("a"), at=100 * SECOND)])
    sender.turn(110 * SECOND)
    sender.turn(170 * SECOND)
    assert receiver.kinds()[2:] == [("stuck", "r")], "stuck again, after it had moved"
    store.append([batch("r", 4, p.PipelineCompleted((4,)), at=171 * SECOND)])
    sender.turn(900 * SECOND)
    assert len(receiver.told) == 3 and sender.state.runs == {}


def test_a_receiver_that_is_down_is_told_later_by_the_same_id() -> None:
    store, receiver = MemoryStore(), Receiver()
    store.append([opening("r")])
    store.append([batch("r", 3, FAILED)])
    only = rules(Rule("failed", command=("x",)))
    receiver.down = True
    sender = Alerts(store, only, receiver, 0)
    ((first, error),) = sender.turn(10 * SECOND)
    assert error == "nobody there"
    assert sender.turn(10 * SECOND + 1) == [], "not at once"
    receiver.down = False
    sender = Alerts(store, only, receiver, 0)
    ((again, error),) = sender.turn(12 * SECOND)
    assert (again.id, error) == (first.id, None) and sender.turn(99 * SECOND) == []
    assert [one.id for one in receiver.told] == [first.id]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alerts: [{when: faild, command: [x]}]", "not 'faild'; did you mean 'failed'?"),
        ("alerts: [{when: failed, comand: [x]}]", "no key 'comand'; did you mean 'command'?"),
        ("alert: []", "no key 'alert'; did you mean 'alerts'?"),
        ("alerts: [{when: slow, command: [x]}]", "alerts[0].after: None is no time such as 30m"),
        ("alerts: [{when: failed}]", "alerts[0]: give either a webhook or a command"),
        ("alerts: [{when: failed, command: x}]", "Expected `array`"),
        ("{}", "alerts: it must be a list of at least one alert"),
        ("- 1", "the file: it must be a mapping"),
        ("alerts: [", "not valid at line 2"),
    ],
)
def test_a_file_that_cannot_be_meant_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_rules(tmp_path / "a.yaml")
    assert says in str(caught.value) and "a.yaml" in str(caught.value)


class Server(ThreadingHTTPServer):
    """Takes webhooks; ``refuse`` of them get a 503, and ``hold`` is waited for before an answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, Any], str | None]] = []
        self.refuse = 0
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append(
            (self.headers["Idempotency-Key"], body, self.headers["Authorization"])
        )
        self.server.came.set()
        self.server.hold.wait(20)
        self.server.refuse -= 1
        self.send_response(503 if self.server.refuse >= 0 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.hold.set()
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def config(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with a failed run, and a file that has the server told."""
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "log.db"))
    monkeypatch.setenv("HOOK_TOKEN", "t0k3n")
    store = SqliteStore(tmp_path / "log.db")
    now = time.time_ns()
    store.append([opening("r", at=now)])
    store.append([batch("r", 3, FAILED, at=now)])
    store.close()
    path = tmp_path / "alerts.yaml"
    path.write_text(
        f"alerts:\n- when: failed\n  webhook: http://127.0.0.1:{server.server_port}/hook\n"
        "  headers: {Authorization: Bearer env:HOOK_TOKEN}\n"
    )
    return path


def test_a_webhook_is_told_once_though_the_sender_is_killed(config: Path, server: Server) -> None:
    server.hold.clear()
    line = [sys.executable, "-m", "semantica.pipeline", "alerts", str(config), "--since", "1h"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert server.came.wait(30)
    process.kill()  # between the request and the record of its answer: it must come again
    process.communicate()
    server.hold.set()
    server.refuse = 0
    for _ in range(2):
        done = CliRunner().invoke(cli, ["alerts", str(config), "--once"])
        assert done.exit_code == 0, done.output
    first, second = server.received
    assert first == second and first[0] == first[1]["id"], "the same id: the receiver can tell"
    assert (first[1]["run"], first[2]) == ("r", "Bearer t0k3n")
    assert b"t0k3n" not in config.with_name("log.db").read_bytes()


def test_a_webhook_that_is_down_is_said_and_told_later(config: Path, server: Server) -> None:
    server.refuse = 1
    words = ["alerts", str(config), "--once", "--since", "1h"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1 and "not told: run r (job) failed" in done.stderr
    assert "503" in done.stderr and "t0k3n" not in done.output
    deadline = time.monotonic() + 30
    while done.exit_code:  # the second try is due after a second
        assert time.monotonic() < deadline
        time.sleep(0.05)
        done = CliRunner().invoke(cli, [*words, "--json"])
    assert json.loads(done.stdout)["error"] is None
    assert len({name for name, *_ in server.received}) == 1 < len(server.received) == 2


def test_a_program_is_told(config: Path, tmp_path: Path) -> None:
    program = "import os, sys; open('told', 'w').write(os.environ['ALERT_ID'] + sys.stdin.read())"
    rule = {"when": "failed", "command": [sys.executable, "-c", program]}
    config.write_text(json.dumps({"name": "programs", "alerts": [rule]}))
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = CliRunner().invoke(cli, ["alerts", str(config), "--once", "--since", "1h"])
    finally:
        os.chdir(here)
    assert done.stdout == "told: run r (job) failed: step 'a': ValueError: no good\n"
    told = (tmp_path / "told").read_text()
    assert json.loads(told[32:])["id"] == told[:32]
    assert CliRunner().invoke(cli, ["alerts", str(tmp_path / "no.yaml")]).exit_code == 2
