"""Who may talk to the window, and what they can reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tools.recorded import Here, restored

from semantica.pipeline.tools.drawing.style import STATES
from semantica.pipeline.tools.finding import opened
from semantica.pipeline.tools.web.acting import Acting
from semantica.pipeline.tools.web.command import check_loopback, listening
from semantica.pipeline.tools.web.server import STATIC, application

HOST = "127.0.0.1:8765"
TOKEN = "the-token-of-this-window"
KEY = {"Authorization": f"Bearer {TOKEN}"}
MakeClient = Callable[..., TestClient]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[MakeClient]:
    restored("completed", tmp_path / "log.db").close()
    (tmp_path / "secret.txt").write_text("secret")
    with opened(str(tmp_path / "log.db")) as log:

        def make(*, read_only: bool = False) -> TestClient:
            acting = Acting(log)
            app = application(log, acting, hosts=[HOST], token=TOKEN, read_only=read_only)
            return TestClient(app, base_url=f"http://{HOST}")

        yield make


def test_whoever_has_the_address_is_answered(window):
    client = window()
    assert client.get("/").status_code == 200
    assert [one["id"] for one in client.get("/api/runs", headers=KEY).json()] == ["r"]
    assert client.get("/api/state?run=r", headers=KEY).json()["status"] == "completed"
    told = client.get("/api/state?run=r", headers={**KEY, "Origin": f"http://{HOST}"})
    assert told.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:8766", "", f"{HOST}.evil.example"]
)
def test_a_name_that_is_not_the_windows_is_refused(window, host):
    """A page of another name that points here (DNS rebinding) sends its own name."""
    for path in ("/", "/app.js", "/api/runs"):
        told = window().get(path, headers={**KEY, "Host": host})
        assert told.status_code == 421
        assert "address that was printed" in told.json()["error"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", f"https://{HOST}", "null", "http://127.0.0.1:9999"]
)
def test_pages_of_others_are_refused(window, origin):
    for method, path in (("GET", "/api/runs"), ("POST", "/api/act"), ("GET", "/")):
        told = window().request(method, path, headers={**KEY, "Origin": origin}, json={})
        assert told.status_code == 403
        assert "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_says_of_other_sites_counts(window, site):
    told = window().get("/api/runs", headers={**KEY, "Sec-Fetch-Site": site})
    assert told.status_code == 403
    # A link to the window may stand anywhere: the page itself tells nothing.
    assert window().get("/", headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN]
)
def test_without_the_token_nothing_is_told_or_changed(window, given):
    headers = {} if given is None else {"Authorization": given}
    for path in (
        "about",
        "runs",
        "state?run=r",
        "events?run=r",
        "lines?run=r",
        "stream",
        "nothing",
    ):
        told = window().get(f"/api/{path}", headers=headers)
        assert told.status_code == 401, path
        assert "runs" not in told.json()
    assert window().post("/api/act", headers=headers, json={}).status_code == 401
    assert window().get(f"/api/runs?token={TOKEN}").status_code == 401


def test_a_read_only_window_changes_nothing(window):
    client = window(read_only=True)
    assert client.get("/api/about", headers=KEY).json()["read_only"] is True
    for action in ("pause", "resume", "cancel", "fork", "signal"):
        told = client.post("/api/act", headers=KEY, json={"run": "r", "action": action})
        assert (told.status_code, told.json()) == (403, {"error": "this window is read-only"})
    assert client.get("/api/runs", headers=KEY).status_code == 200


def test_a_change_must_be_json_of_a_known_size(window):
    client, body = window(), b'{"run": "r", "action": "pause"}'
    plain = client.post("/api/act", headers={**KEY, "Content-Type": "text/plain"}, content=body)
    assert plain.status_code == 415  # what a form of another page could send
    typed = {**KEY, "Content-Type": "application/json"}
    assert client.post("/api/act", headers=typed, content=b"x" * (2**20 + 1)).status_code == 413
    assert client.post("/api/act", headers=typed, content=iter([body])).status_code == 411
    superscript = {**typed, "Content-Length": b"\xb2"}  # a digit to some, a number to nobody
    assert client.post("/api/act", headers=superscript, content=body).status_code == 411
    for wrong in (
        b"[1]",
        b"{",
        b"\xff",
        b"[" * 5000,
        b'{"run": "r"}',
        b'{"run": "r", "action": "x"}',
    ):
        told = client.post("/api/act", headers=typed, content=wrong)
        assert told.status_code == 400 and told.json()["error"], wrong
    assert client.post("/api/act", headers=typed, content=body).status_code == 409  # it is over


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/static/../server.py"),
        *("/server.py", "/../server.py", "//etc/passwd", "/%00", "/app.js/", "/.hidden"),
        *("/..\\secret.txt", "/app.js%00.html", "/index.html"),
    ],
)
def test_only_the_pages_files_are_served(window, path):
    told = window().get(path, follow_redirects=False)
    assert told.status_code in (307, 404), path
    assert "secret" not in told.text and "import" not in told.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_methods(window, method):
    assert window().request(method, "/api/runs", headers=KEY).status_code == 405


def test_every_answer_is_sealed(window):
    client = window()
    answers = [client.get("/"), client.get("/app.js"), client.get("/api/runs", headers=KEY)]
    answers += [
        client.get("/api/runs"),
        client.get("/nothing"),
        client.get("/", headers={"Host": "x"}),
    ]
    for told in answers:
        policy = dict(
            one.split(" ", 1) for one in told.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in told.headers["content-security-policy"]
        assert told.headers["x-content-type-options"] == "nosniff"
        assert told.headers["referrer-policy"] == "no-referrer"
    assert answers[2].headers["cache-control"] == "no-store"


def test_the_page_asks_for_nothing_from_elsewhere_and_makes_no_markup():
    for file in STATIC.iterdir():
        text = file.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{file.name}: {word}"
        links = [
            part.split('"')[0] for part in text.split("http")[1:] if part[:3] in ("://", "s:/")
        ]
        assert all(link.endswith("w3.org/2000/svg") for link in links), file.name


@pytest.mark.parametrize(
    "path",
    [
        *("state", "state?run=nope", "step?run=r&index=99", "state?run=r&version=-1"),
        *("events?run=r&first=1e9", "compare?a=r&b=r&va=99999", "moment?run=r&version=x"),
        *("lines?run=nope", "lines?run=r&level=loud", "lines?run=r&before=x"),
    ],
)
def test_wrong_questions_are_answered_in_a_line(window, path):
    told = window().get(f"/api/{path}", headers=KEY)
    assert told.status_code in (400, 404)
    assert told.json()["error"] and "\n" not in told.json()["error"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_only_this_machine(host):
    with pytest.raises(Exception, match=r"for this machine only .* ssh -L"):
        check_loopback(host)


def test_a_window_that_cannot_open_says_why(tmp_path, monkeypatch):
    restored("completed", tmp_path / "log.db").close()
    here = Here(tmp_path / "log.db")
    with listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}: Address already in use; choose" in here.error("ui", "--port", port)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert (
        here.error("ui") == "error: the window needs uvicorn; pip install 'semantica-pipeline[ui]'"
    )


def test_states_have_the_colours_of_drawings():
    sheet = (STATIC / "states.css").read_text()
    for state, (fill, stroke, dark_fill, dark_stroke) in STATES.items():
        if state != "missing":
            assert f"--s-{state}: light-dark({stroke}, {dark_stroke});" in sheet
            assert f"--t-{state}: light-dark({fill}, {dark_fill});" in sheet
