"""Who may talk to the window: whoever has been given its address, on this machine, from its page.

Any page in the browser of this machine's user can send requests to a local port, and so can other
users of the machine. So:

- The ``Host`` must be the window's: a name of somebody else's that points to this machine (DNS
  rebinding) is refused.
- The ``Origin``, where there is one, must be the window's own, and what a browser says of where a
  request comes from (``Sec-Fetch-Site``) must not be another site.
- Whatever tells of a log, or changes something, needs the token of this window, in a header that
  no other page can send without being asked first. A log is for its owner's eyes only (its file is
  0600), so reading needs it as well. It is in the fragment of the address that is printed, which
  no browser sends anywhere, and it ends with the process.
- The page may load its own files and nothing else, has no inline script, and can make no markup out
  of text (Trusted Types).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
    "connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
"""See https://www.w3.org/TR/CSP3/ and https://www.w3.org/TR/trusted-types/."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
LARGEST = 2**20
"""Bytes of a request, at most."""


class Guard:
    """Lets through what may reach the application.

    Args:
        hosts: What the ``Host`` of a request may be.
        token: What a request must know.
        read_only: Nothing may be changed.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: str, read_only: bool) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._credentials = f"Bearer {token}".encode()
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no sockets here

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.update(HEADERS)
                if "Cache-Control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, sealed)
        else:
            await refusal(scope, receive, sealed)

    def _refusal(self, scope: MutableMapping[str, Any]) -> JSONResponse | None:
        headers, method = Headers(scope=scope), scope["method"]
        host = headers.get("host", "")
        if host not in self._hosts:
            return refused(421, f"this window is not {host!r}; use the address that was printed")
        if "origin" in headers and headers["origin"] != f"http://{host}":
            return refused(403, f"requests from {headers['origin']!r} are not answered")
        if method not in ("GET", "HEAD", "POST"):
            return refused(405, f"{method} is not known here")
        if not scope["path"].startswith("/api/"):
            return None if method != "POST" else refused(405, "nothing is changed here")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return refused(403, "requests from other sites are not answered")
        given = headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._credentials):
            return refused(401, "the token is missing or wrong; open the address that was printed")
        return self._change_refused(headers) if method == "POST" else None

    def _change_refused(self, headers: Headers) -> JSONResponse | None:
        if self._read_only:
            return refused(403, "this window is read-only")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return refused(415, "what is to be changed must be told as JSON")
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return refused(411, "the length of the request is not told")
        if int(length) > LARGEST:
            return refused(413, f"the request has more than {LARGEST:,} bytes")
        return None


def refused(status: int, why: str) -> JSONResponse:
    """The answer to what is not done."""
    return JSONResponse({"error": why}, status)
