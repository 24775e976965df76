"""Addresses: fetched once, within limits, and read as they were then."""

from __future__ import annotations

import builtins
import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from semantica.pipeline.engine.steps.corpus import CorpusWriter, Document
from semantica.pipeline.engine.steps.errors import (
    DocumentError,
    MissingExtra,
    StepInputError,
)
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.engine.steps.parse import parse
from semantica.pipeline.events.artifacts import digest_of

HTML = b"<title>Halden</title><p>The observatory stands above Bergen."


class Site(BaseHTTPRequestHandler):
    """A small and partly hostile site."""

    visits: ClassVar[list[str]] = []
    stopping: ClassVar[threading.Event]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.visits.append(path)
        with suppress(ConnectionError):  # who gives up hangs up
            getattr(self, f"send_{path[1:].partition('.')[0]}")()

    def answer(self, body: bytes, kind: str | None = "text/html", **headers: str) -> None:
        self.send_response(200)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def send_page(self) -> None:
        self.answer(HTML, "text/html; charset=utf-8")

    def send_notes(self) -> None:
        self.answer(b"# Notes\n\n*Ann*", "text/plain")  # as code hosts serve Markdown

    def send_image(self) -> None:
        self.answer(b"\x89PNG", "image/png")

    def send_eastern(self) -> None:
        self.answer("Łódź: ąęść, żółw".encode("iso-8859-2"), 'text/plain; Charset="ISO-8859-2"')

    def send_untold(self) -> None:
        self.answer(b"a,b\n1,2\n", None)

    def send_packed(self) -> None:
        self.answer(gzip.compress(HTML), Content_Encoding="gzip")

    def send_bomb(self) -> None:
        self.answer(gzip.compress(b"x" * 3_000_000), Content_Encoding="gzip")

    def send_declared(self) -> None:
        self.answer(b"", Content_Length="99999999999")

    def send_huge(self) -> None:
        self.answer(b"")
        while not self.stopping.is_set():
            self.wfile.write(b"x" * 10_000)

    def send_slow(self) -> None:
        self.answer(b"")
        while not self.stopping.wait(0.1):
            self.wfile.write(b"x")

    def send_silent(self) -> None:
        self.stopping.wait()

    def send_truncated(self) -> None:
        self.answer(b"only this", Content_Length="100")

    def send_moved(self) -> None:
        self.redirect("/page")

    def send_loop(self) -> None:
        self.redirect("/loop")

    def send_away(self) -> None:
        self.redirect("file:///etc/passwd")

    def send_gone(self) -> None:
        self.send_error(404)

    def send_failing(self) -> None:
        self.send_error(503)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Site, "visits", [])
    monkeypatch.setattr(Site, "stopping", threading.Event(), raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            Site.stopping.set()
            server.shutdown()
            thread.join()


def test_what_was_ingested_is_what_is_parsed(site: str, context: Any) -> None:
    corpus = ingest(None, context, source=f"{site}/page")
    (found,) = corpus.documents
    assert (found.source, found.media_type) == (f"{site}/page", "text/html")
    assert (found.size, found.digest) == (len(HTML), digest_of(HTML))
    assert context.artifacts.get(found.digest) == HTML
    (read,) = parse(corpus, context).documents
    assert read.text == "The observatory stands above Bergen."
    assert (read.metadata["title"], read.id) == ("Halden", found.id)
    assert Site.visits == ["/page"]


def test_an_address_need_not_be_ingested(site: str, context: Any) -> None:
    (read,) = parse(f"{site}/page", context).documents
    assert (read.text, read.size) == ("The observatory stands above Bergen.", len(HTML))
    assert context.artifacts.get(read.digest) == HTML


@pytest.mark.parametrize(
    ("path", "media_type", "text"),
    [
        ("notes.md", "text/markdown", "Notes\n\nAnn"),
        ("notes.md?raw=1", "text/markdown", "Notes\n\nAnn"),
        ("notes", "text/plain", "# Notes\n\n*Ann*"),
        ("page.php", "text/html", "The observatory stands above Bergen."),
        ("untold.csv", "text/csv", "a: 1\nb: 2"),
        ("packed", "text/html", "The observatory stands above Bergen."),
        ("moved", "text/html", "The observatory stands above Bergen."),
    ],
)
def test_what_an_address_holds(
    path: str, media_type: str, text: str, site: str, context: Any
) -> None:
    (found,) = parse(ingest(None, context, source=f"{site}/{path}"), context).documents
    assert (found.media_type, found.text, found.error) == (media_type, text, None)


@pytest.mark.parametrize("ending", ["", ".md", ".csv", ".json", ".html"])
@pytest.mark.parametrize("ingested", [True, False])
def test_the_charset_that_the_server_names_counts(
    ending: str, ingested: bool, site: str, context: Any
) -> None:
    source: Any = f"{site}/eastern{ending}"
    (found,) = parse(
        ingest(None, context, source=source) if ingested else source, context
    ).documents
    if ending == ".json":
        assert "line 1" in (found.error or "")
        return
    assert found.media_type.endswith("; charset=iso-8859-2")
    assert (found.text or "").replace("\t", ", ") == "Łódź: ąęść, żółw"
    assert found.metadata["encoding"] == "iso8859-2"


@pytest.mark.parametrize("step", [ingest, parse])
@pytest.mark.parametrize(
    "address",
    [
        "http://ann:s3cret@127.0.0.1:1/a",
        "HTTPS://s3cret@h/",
        "ftp://ann:s3cret@h",
        " http://a:s3cret@h",
    ],
)
def test_a_password_is_refused_and_not_repeated(step: Any, address: str, context: Any) -> None:
    inputs: list[Any] = [[address], [{"source": address}], [{"text": "x", "source": address}]]
    for data in inputs:
        with pytest.raises(StepInputError, match="user name or password") as caught:
            step(data, context)
        assert "s3cret" not in str(caught.value)
    key = {"source": address} if step is ingest else {"file": address}
    with pytest.raises(StepInputError, match="user name or password") as caught:
        step([{"text": "x"}] if step is parse else None, context, **key)
    assert "s3cret" not in f"{caught.value}{context.warnings}{context.reports}"


def test_a_step_of_the_user_cannot_smuggle_a_password_in(context: Any) -> None:
    writer = CorpusWriter(context.artifacts)
    writer.add(Document(id="1", source="http://ann:s3cret@h/", media_type="text/html"))
    (found,) = ingest(writer.finish(), context).documents
    assert "user name or password" in (found.error or "")
    assert "s3cret" not in (found.error or "")


def test_an_at_sign_elsewhere_is_no_password(site: str, context: Any) -> None:
    (found,) = parse(f"{site}/page?mail=a:b@c", context).documents
    assert found.error is None


def test_the_user_knows_better_than_the_server(site: str, context: Any) -> None:
    data = [{"source": f"{site}/page", "media_type": "text/plain"}]
    assert (parse(data, context).documents[0].text or "").startswith("<title>")


def test_what_is_no_document(site: str, context: Any) -> None:
    (found,) = parse(f"{site}/image", context).documents
    assert "the media type 'image/png' is of no known format" in (found.error or "")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "the server answered 404 Not Found"),
        ("failing", "the server answered 503 Service Unavailable"),
        ("loop", "redirects"),
        ("away", "protocol"),
        ("truncated", "incomplete|without sending|closed"),
        ("huge", "it is larger than max_bytes=1000000"),
        ("bomb", "it is larger than max_bytes=1000000"),
        ("declared", "it is larger than max_bytes=1000000"),
        ("slow", r"it took longer than 0\.5 s"),
        ("silent", r"it took longer than 0\.5 s"),
    ],
)
def test_an_address_that_cannot_be_read_costs_itself_alone(
    path: str, reason: str, site: str, context: Any
) -> None:
    patience = 0.5 if path in ("slow", "silent") else 20.0
    limits: dict[str, Any] = {"max_bytes": 1_000_000, "url_timeout": patience}
    sources = [f"{site}/{path}", f"{site}/page"]
    started = time.monotonic()
    corpus = ingest(None, context, source=sources, **limits)
    assert time.monotonic() - started < 20
    bad, good = corpus.documents
    assert (bad.error or "").startswith(f"cannot fetch {site}/{path}: ")
    with pytest.raises(DocumentError, match=reason):
        ingest(None, context, source=sources, on_error="fail", **limits)
    assert good.error is None
    assert context.metrics["documents_failed"] == 1
    (again,) = parse(f"{site}/{path}", context, **limits).documents
    assert again.error == bad.error


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/a.txt", "http://[::1", "http://", "https://\0"]
)
def test_an_address_where_nobody_is(address: str, context: Any, site: str) -> None:
    (found,) = ingest(None, context, source=address).documents
    assert (found.error or "").startswith("cannot fetch http")


def test_formats_choose_among_addresses_with_an_ending(site: str, context: Any) -> None:
    sources = [f"{site}/notes.md?x=1", f"{site}/page", f"{site}/untold.csv"]
    corpus = ingest(None, context, source=sources, formats=["md"])
    assert [found.source for found in corpus.documents] == sources[:2]


@pytest.mark.parametrize("config", [{"max_bytes": 0}, {"url_timeout": "30"}, {"url_timeout": -1}])
@pytest.mark.parametrize("step", [ingest, parse])
def test_limits_that_mean_nothing_are_refused(
    step: Any, config: dict[str, Any], complaint: Any
) -> None:
    ((key, value),) = config.items()
    assert f"{step.__name__} cannot take {key}={value!r}: it should be" in complaint(step, config)


def test_a_missing_library_is_one_clear_error(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_import = builtins.__import__

    def refuse(module: str, *rest: Any, **more: Any) -> Any:
        if module == "httpx":
            raise ImportError(module)
        return really_import(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match="fetching addresses needs"):
        ingest(None, context, source="http://127.0.0.1/")
