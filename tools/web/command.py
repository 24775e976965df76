"""``ui``: a window on a log, in the browser."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import sys
from contextlib import ExitStack

import click

from ..options import common, path_option
from ..terminal import BadInput, print_json

PORT = 8765
_NAMES = ("localhost", "127.0.0.1", "[::1]")


@click.command(short_help="Look at the log in a browser: live, and back in time.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, metavar="N",
              show_default=True, help="Where it listens; 0: wherever there is room.")  # fmt: skip
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", show_default=True,
              help="An address of this machine that no other one reaches.")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Change nothing: no pausing, no forks.")
@click.option("--metrics", metavar="[HOST:]PORT",
              help="Answer /healthz, /readyz and /metrics there, without a token.")  # fmt: skip
@path_option
@common
def ui(
    port: int,
    host: str,
    read_only: bool,
    metrics: str | None,
    paths: tuple[str, ...],
    log: str | None,
    as_json: bool,
) -> None:
    """Serve a page that shows the log: runs as they go on, each with its graph, its attempts over
    time and its events, at any moment of its history. Runs are paused, resumed, stopped, cancelled,
    signalled, compared and forked from it. What goes on from it, though no process holds it, is
    executed by one of its own, which finds handlers where the run came from, and with --path.

    The address that is printed has the token in it without which nothing is told. From another
    machine, use a tunnel: ssh -L 8765:localhost:8765 this-machine. Ctrl-C ends it; runs go on.

    \b
    Examples:
      semantica-pipeline ui
      semantica-pipeline ui --port 0 --read-only --log nightly.db
    """
    from ...events.errors import PipelineError
    from ..finding import opened

    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise PipelineError(
            f"the window needs {error.name}; pip install 'semantica-pipeline[ui]'"
        ) from error
    from ..monitoring.serving import serving
    from .acting import Acting
    from .server import application

    check_loopback(host)
    with opened(log) as opened_log, listening(host, port) as listener, ExitStack() as stack:
        if metrics is not None:
            stack.enter_context(serving(metrics, opened_log.store, None))
        acting = Acting(opened_log, paths)
        port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
        named = f"[{host}]" if ":" in host else host
        address = f"http://{named}:{port}/#token={token}"
        if as_json:
            print_json({"address": address, "log": opened_log.store.location})
        else:
            click.echo(f"{opened_log.store.location}\n{address}")
        hosts = [f"{name}:{port}" for name in {*_NAMES, named}]
        app = application(opened_log, acting, hosts=hosts, token=token, read_only=read_only)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # seconds for streams, which never end by themselves
        )
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])


def check_loopback(host: str) -> None:
    """Refuse an address that other machines reach. Raises BadInput."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise BadInput(
            f"--host {host}: the window is for this machine only (127.0.0.1, ::1 or localhost); "
            f"from another one, use a tunnel: ssh -L {PORT}:localhost:{PORT} this-machine"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises BadInput."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(kind, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise BadInput(
            f"cannot listen at {host}, port {port}: {error.strerror}; choose another --port, or 0"
        ) from error
    return listener


COMMANDS = (ui,)
