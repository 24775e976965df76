"""The step ``network_step``, against a real server on this machine."""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from semantica.pipeline import (
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    PipelineValidator,
    RetryPolicy,
)
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.testing import SimulatedEngine

ONCE = RetryPolicy(max_retries=0)


class Asked(NamedTuple):
    """A request that the server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    """Answers what the test says, or tells what it got.

    Attributes:
        answers: By path: status, headers, content; of several for a path, one after another, the
            last one for ever.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[Asked] = []
        self.let_go = threading.Event()

    @property
    def site(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, path: str, status: int = 200, content: bytes = b"", **headers: str) -> str:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.answers.setdefault(path, []).append((status, named, content))
        return self.site + path


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): text for name, text in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, body))
        if path == "/hangs":
            self.server.let_go.wait(60)
        if path == "/breaks":
            self.connection.close()
            return
        told = self.server.answers.get(path, [(200, {}, b"")])
        status, given, content = told.pop(0) if len(told) > 1 else told[0]
        self.send_response(status)
        for name, text in given.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def served() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


server = pytest.fixture(served)
other_server = pytest.fixture(served)


def pipeline(url: str, *, retry: RetryPolicy = ONCE, **config: Any) -> Pipeline:
    options = {name: config.pop(name) for name in ("executor", "timeout") if name in config}
    step = PipelineStep("fetch", "network_step", {"url": url, **config}, retry=retry, **options)
    return Pipeline("p", [step])


def run(url: str, data: Any = None, **config: Any) -> Any:
    with ExecutionEngine(":memory:") as engine:
        return engine.execute_pipeline(pipeline(url, **config), data).raise_for_status().output


def failure(url: str, **config: Any) -> Any:
    """The error that is recorded."""
    with ExecutionEngine(":memory:") as engine:
        result = engine.execute_pipeline(pipeline(url, **config))
        failed = next(e for e in engine.history(result.run_id) if e.type == "StepFailed")
        return to_event(failed).error  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("media_type", "content", "output"),
    [
        ("application/json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("application/problem+json; charset=utf-8", b'"x"', "x"),
        ("text/plain; charset=iso-8859-1", "größe".encode("latin-1"), "größe"),
        ("text/html", "größe".encode(), "größe"),
        ("text/plain; charset=nonsense", b"x", "x"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        ("", b"\x00", b"\x00"),
        ("application/json", b"", None),
    ],
)
def test_what_is_answered_is_handed_on_as_what_it_is(
    server: Server, media_type: str, content: bytes, output: Any
) -> None:
    found = run(server.says("/a", content=content, Content_Type=media_type))
    assert found == output
    assert type(found) is type(output)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_the_output_can_be_chosen(server: Server, executor: str) -> None:
    url = server.says("/a", 201, b'{"a":1}', Content_Type="text/plain", Set_Cookie="id=s3cret")
    assert run(url, executor=executor, output="json") == {"a": 1}
    assert run(url, executor=executor, output="bytes") == b'{"a":1}'
    told = run(url, executor=executor, output="response")
    assert (told["status"], told["content"]) == (201, '{"a":1}')
    assert told["headers"]["content-type"] == "text/plain"
    assert "set-cookie" not in told["headers"], "a cookie is a credential"
    error = failure(server.says("/b", content=b"{"), output="json")
    assert "the content is not JSON" in error.message
    assert not error.retryable


def test_what_is_sent(server: Server) -> None:
    site = server.says("/a")
    run(f"{site}?x=1", method="DELETE", params={"q": "a b", "n": 3}, headers={"X-One": "1"})
    run(site, method="PUT", json={"größe": 1})
    run(site, method="POST", body="größe")
    for data in ("text", b"bytes", {"a": 1}):
        run(site, data, method="PATCH", send_data=True)
    run(site, "never sent")
    asked = server.asked
    assert (asked[0].method, asked[0].path) == ("DELETE", "/a?x=1&q=a+b&n=3")
    assert asked[0].headers["x-one"] == "1"
    assert [one.body for one in asked[1:]] == [
        '{"größe":1}'.encode(), "größe".encode(), b"text", b"bytes", b'{"a":1}', b"",
    ]  # fmt: skip
    assert asked[1].headers["content-type"] == "application/json"
    assert asked[5].headers["content-type"] == "application/json"


def test_a_repeated_request_can_be_told_from_a_second_one(server: Server) -> None:
    server.says("/pay", 503)
    url = server.says("/pay", 200)
    policy = RetryPolicy(max_retries=1, initial_delay=0.01)
    run(url, method="POST", retry=policy)
    run(url, method="POST")
    run(url, method="POST", headers={"Idempotency-Key": "mine"})
    run(url)
    keys = [one.headers.get("idempotency-key") for one in server.asked]
    assert keys[0] == keys[1] != keys[2], "the same for all attempts, another for another run"
    assert keys[3:] == ["mine", None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_what_a_server_refuses_is_not_tried_again(server: Server, status: int) -> None:
    url = server.says("/a", status, b"no such\n  thing", Content_Type="text/plain")
    error = failure(url)
    assert error.type.endswith("ServiceRefused")
    assert f"GET {url}: the server answered {status}" in error.message
    assert error.message.endswith(": no such thing")
    assert not error.retryable


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    error = failure(server.says("/a", status))
    assert error.type.endswith("ServiceUnavailable")
    assert (error.category, error.retryable, error.retry_after) == ("network", True, None)


@pytest.mark.parametrize("as_date", [False, True])
def test_no_sooner_than_the_server_asks(server: Server, as_date: bool) -> None:
    """Longer than the policy's longest delay; time is leapt over."""
    after = formatdate(time.time() + 3600, usegmt=True) if as_date else "3600"
    server.says("/a", 429, Retry_After=after)
    server.says("/a", 503, Retry_After="soon")
    url = server.says("/a", content=b'"done"', Content_Type="application/json")
    with SimulatedEngine() as engine:
        policy = RetryPolicy(max_retries=2, initial_delay=60.0, strategy="fixed")  # type: ignore[arg-type]
        result = engine.execute_pipeline(pipeline(url, retry=policy))
        delays = [
            to_event(e).delay  # type: ignore[union-attr]
            for e in engine.history(result.run_id)
            if e.type == "StepRetryScheduled"
        ]
    assert result.output == "done"
    assert delays[0] == pytest.approx(3600, abs=30)
    assert delays[1] == 60, "what nobody understands counts for nothing"


def test_a_lost_connection_and_a_slow_server_are_asked_again(server: Server) -> None:
    error = failure(f"{server.site}/breaks")
    assert error.type.endswith("ServiceUnavailable")
    assert error.retryable
    error = failure("http://127.0.0.1:1/")
    assert error.type.endswith("ServiceUnavailable")
    error = failure(f"{server.site}/hangs", request_timeout=0.2)
    assert (error.type, error.category, error.retryable) == ("TimeoutError", "timeout", True)
    assert "it took longer than 0.2 s" in error.message


def test_it_can_be_cancelled_and_holds_no_worker(server: Server) -> None:
    with ExecutionEngine(":memory:", max_workers=1) as engine:
        hanging = engine.execute_pipeline_async(pipeline(f"{server.site}/hangs"))
        again = Pipeline("other", pipeline(server.says("/a", content=b"x")).steps)
        assert engine.execute_pipeline(again).output == b"x", "beside it, with one worker"
        assert engine.cancel_pipeline("p")
        assert hanging.result(20).status == "cancelled"


def test_too_much_is_refused(server: Server) -> None:
    url = server.says("/a", content=b"x" * 1001)
    packed = server.says("/b", content=gzip.compress(b"x" * 10**6), Content_Encoding="gzip")
    assert run(url, max_bytes=1001) == b"x" * 1001
    for one in (url, packed):
        error = failure(one, max_bytes=1000)
        assert "larger than max_bytes=1000" in error.message
        assert not error.retryable


def test_redirects_are_followed(server: Server) -> None:
    server.says("/end", content=b"end")
    assert run(server.says("/a", 302, Location="/end")) == b"end"
    error = failure(server.says("/round", 302, Location="/round"))
    assert "redirects more than 5 times" in error.message
    assert "ServiceRefused" in failure(server.says("/file", 302, Location="file:///etc")).type


def test_credentials_come_from_the_environment_and_stay_out_of_the_log(
    server: Server, other_server: Server, monkeypatch: Any
) -> None:
    monkeypatch.setenv("NETWORK_TEST_KEY", "s3cret")
    other_server.says("/end", content=b"end")
    options = {
        "headers": {"Authorization": "Bearer env:NETWORK_TEST_KEY"},
        "params": {"api_key": "env:NETWORK_TEST_KEY"},
    }
    with ExecutionEngine(":memory:") as engine:

        def told(url: str) -> str:
            result = engine.execute_pipeline(pipeline(url, **options))
            assert all(b"s3cret" not in e.payload for e in engine.history(result.run_id))
            return result.errors[0] if result.errors else ""

        assert told(server.says("/a")) == ""
        assert server.asked[0].headers["authorization"] == "Bearer s3cret"
        assert server.asked[0].path == "/a?api_key=s3cret"
        assert "the key is ***" in told(server.says("/b", 403, b"the key is s3cret"))
        elsewhere = server.says("/c", 307, Location=f"{other_server.site}/end")
        assert "where the credentials must not go" in told(elsewhere)
        assert not other_server.asked
        assert told(server.says("/d", 307, Location="/a")) == "", "the same server"
        monkeypatch.delenv("NETWORK_TEST_KEY")
        assert "the environment has no NETWORK_TEST_KEY" in told(server.site)
    assert run(elsewhere) == b"end", "without credentials it may go anywhere"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"url": "ftp://x"}, "url='ftp://x': it should be an http:// or https:// address"),
        ({"url": "http://me:pass@x"}, "a URL with a user name or password"),
        ({"url": "http://x?access_token=abc"}, "'access_token' looks like a credential"),
        ({"headers": {"Authorization": "Bearer abc"}}, "'Authorization' looks like a credential"),
        ({"headers": {"X-Api-Key": "abc"}}, "'X-Api-Key' looks like a credential"),
        ({"params": {"client_secret": "abc"}}, "'client_secret' looks like a credential"),
        ({"method": "get"}, "did you mean 'GET'"),
        ({"json": 1, "body": "x"}, "give one of 'json', 'body' and 'send_data' at most"),
        ({"request_timeout": 0}, "request_timeout=0: it should be float > 0"),
        ({"headres": {}}, "did you mean 'headers'"),
        ({"headers": {"a": 1}}, r"it should be dict\[str, str\] \(Expected `str`, got `int`"),
    ],
)
def test_what_means_nothing_is_told_before_anything_runs(
    config: dict[str, Any], complaint: str
) -> None:
    step = PipelineStep("fetch", "network_step", {"url": "http://x", **config})
    told = PipelineValidator().validate_pipeline(Pipeline("p", [step]))
    (error,) = told.errors
    assert re.search(complaint, error)
    assert "abc" not in error
    assert "pass@" not in error


def test_parameters_that_only_look_alike_are_none_of_those(server: Server) -> None:
    run(server.says("/a"), params={"page_token": "x", "keyword": "y", "max_tokens": 3})
    assert server.asked[0].path == "/a?page_token=x&keyword=y&max_tokens=3"


def test_many_at_once_on_one_worker(server: Server) -> None:
    url = server.says("/a", content=json.dumps({"a": 1}).encode(), Content_Type="application/json")
    steps = [
        PipelineStep(f"s{i}", "network_step", {"url": f"{url}?{i}"}, dependencies=[])
        for i in range(30)
    ]
    with ExecutionEngine(":memory:", max_workers=1) as engine:
        output = engine.execute_pipeline(Pipeline("p", steps)).raise_for_status().output
    assert output == {f"s{i}": {"a": 1} for i in range(30)}


def test_a_missing_library_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    error = failure("http://127.0.0.1:1/")
    assert "pip install 'semantica-pipeline[http]'" in error.message
    assert not error.retryable
