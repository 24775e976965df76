"""``/healthz``, ``/readyz`` and ``/metrics``, for whoever watches over a worker.

Nothing can be changed here, and nothing of a run is told but the names of its pipeline and queue.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from typing import Any

from ...engine.supply import machine_name
from ...engine.worker import Worker
from ...events.errors import LogError
from ...events.store import Store
from ..terminal import BadInput, say
from .exposition import CONTENT_TYPE, exposed
from .figures import Figures

LOCAL = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that a client has to say what it wants."""
PATHS = ("/healthz", "/readyz", "/metrics")


def answer(figures: Figures, path: str) -> tuple[int, str, bytes]:
    """The status, kind and body of an answer."""
    text = "text/plain; charset=utf-8"
    if path == "/healthz":
        return 200, text, b"alive\n"
    try:
        if path == "/readyz":
            why = figures.ready()
            return (200, text, b"ready\n") if why is None else (503, text, f"{why}\n".encode())
        if path == "/metrics":
            return 200, CONTENT_TYPE, exposed(figures.families())
    except LogError as error:
        return 503, text, f"{error}\n".encode()
    return 404, text, f"there is nothing here; try {', '.join(PATHS)}\n".encode()


@contextmanager
def serving(where: str, store: Store, worker: Worker | None) -> Iterator[int]:
    """Answer until the end of the block; gives the port.

    Args:
        where: ``PORT`` (of this machine only), ``HOST:PORT`` or ``[HOST]:PORT``; port 0: any.

    Raises:
        BadInput: That is no such address, or nothing can listen there.
    """
    host, port = address(where)
    figures = Figures(store, machine_name(), worker)

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE
        server_version, sys_version = "semantica-pipeline", ""

        def do_GET(self) -> None:
            status, kind, body = answer(figures, self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """A scrape every few seconds is worth no line."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who went away while it was answered wants no answer."""

    Server.address_family = AF_INET6 if ":" in host else Server.address_family
    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise BadInput(
            f"--metrics {where}: cannot listen there: {error.strerror}; choose another port, or 0"
        ) from error
    with server:
        thread = threading.Thread(
            target=server.serve_forever, name="semantica-metrics", daemon=True
        )
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        say(f"metrics at http://{shown}:{server.server_address[1]}/metrics")
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def address(text: str) -> tuple[str, int]:
    """A host and a port. Raises BadInput."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else LOCAL
    if not (port.isascii() and port.isdigit() and int(port) < 65536) or not host:
        raise BadInput(f"--metrics {text}: give it as PORT, HOST:PORT or [HOST]:PORT")
    return host, int(port)
