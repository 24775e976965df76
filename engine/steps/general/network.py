"""Network step: one HTTP request."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from json import loads as json_of
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from ..configured import configured
from ..errors import (
    MissingExtra,
    ServiceRefused,
    ServiceUnavailable,
    StepConfigError,
)
from ..files import refuse_credentials
from ..formats import charset_of
from ..web import MAX_BYTES, URL_TIMEOUT
from .credentials import concealed, refuse_literals, revealed, secrets_in
from .payload import to_bytes

if TYPE_CHECKING:
    import ssl
    from types import ModuleType

    import httpx

    from ...context import Context

Output = Literal["auto", "json", "text", "bytes", "response"]

_MAX_REDIRECTS = 5
_BLOCK = 1 << 16
_EXCERPT = 500
"""Characters of what a server says to an error, in the message."""
_LATER = frozenset({408, 425, 429})
"""Statuses below 500 with which a server asks for another attempt (RFC 9110, 8470, 6585)."""
_TEXT = re.compile(r"text/|.*[/+](xml|javascript|yaml)\Z|application/x-www-form-urlencoded")
_JSON = re.compile(r".*[/+]json\Z")


class Options(msgspec.Struct, kw_only=True):
    """What ``network_step`` can be told."""

    url: Annotated[
        str,
        msgspec.Meta(
            title="an http:// or https:// address",
            pattern="^[Hh][Tt][Tt][Pp][Ss]?://",
            description="the address; credentials do not belong into it",
        ),
    ]
    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        msgspec.Meta(description="what is asked for"),
    ] = "GET"
    params: Annotated[
        dict[str, str | int | float | bool],
        msgspec.Meta(description="added to the address, after '?'; a value may be env:NAME"),
    ] = {}
    headers: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="of the request; env:NAME in a value stands for an environment variable, "
            "as in 'Bearer env:API_TOKEN'"
        ),
    ] = {}
    json: Annotated[Any, msgspec.Meta(description="is sent, as JSON")] = None
    body: Annotated[str | None, msgspec.Meta(description="is sent as it is, in UTF-8")] = None
    send_data: Annotated[
        bool,
        msgspec.Meta(description="send the step's input: text and bytes as they are, else JSON"),
    ] = False
    output: Annotated[
        Output,
        msgspec.Meta(
            description="what the step gives: the content as JSON, text or bytes, or a mapping of "
            "status, headers and content; auto: by the answer's media type"
        ),
    ] = "auto"
    request_timeout: Annotated[
        float, msgspec.Meta(gt=0, le=86400, description="seconds in all, redirects included")
    ] = URL_TIMEOUT
    max_bytes: Annotated[
        int, msgspec.Meta(ge=1, description="of the content, unpacked; more is an error")
    ] = MAX_BYTES

    def __post_init__(self) -> None:
        refuse_credentials(self.url)
        refuse_literals("parameter of the url", dict(parse_qsl(urlsplit(self.url).query)))
        refuse_literals("parameter", self.params)
        refuse_literals("header", self.headers)
        if (self.json is not None) + (self.body is not None) + self.send_data > 1:
            raise StepConfigError("give one of 'json', 'body' and 'send_data' at most")


@configured(Options)
async def network_step(
    data: Any,
    context: Context,
    url: str,
    method: str,
    params: dict[str, Any],
    headers: dict[str, str],
    json: Any,
    body: str | None,
    send_data: bool,
    output: Output,
    request_timeout: float,
    max_bytes: int,
) -> Any:
    """Send an HTTP request, and hand on what is answered; it holds no worker meanwhile.

    Busy servers (408, 425, 429, 5xx), lost connections and timeouts are worth a retry, which
    follows no earlier than the server asks by Retry-After; other statuses from 400 on are not.
    Since an attempt may be repeated, POST and PATCH carry an Idempotency-Key, the same for all
    attempts, unless the headers have one.

    Credentials are named as ``env:NAME`` and never recorded; they are not sent to another server
    that an answer redirects to.

    Raises:
        ServiceUnavailable: The server is busy or cannot be reached.
        ServiceRefused: It refuses the request, or answers with something of no use.
        TimeoutError: It took longer than ``request_timeout``.
        StepConfigError: A credential is not in the environment.
        StepInputError: The input cannot be sent, or the content is not JSON and should be.
        MissingExtra: httpx is not installed.
    """
    httpx = _httpx()
    content, media_type = _content(data, send_data, json, body)
    filled = _headers(context, method, headers, media_type)
    added = revealed("network_step", "parameter", params)
    secrets = secrets_in((*headers.values(), *params.values()))
    for secret in secrets:
        context.conceal(secret)  # also in what is answered
    call = _Call(f"{method} {url}", max_bytes, secrets)
    try:
        async with asyncio.timeout(request_timeout), _client() as client:
            address = httpx.URL(url).copy_merge_params(added)
            request = client.build_request(method, address, headers=filled, content=content)
            answer = await call.follow(client, request)
    except TimeoutError as error:
        raise TimeoutError(f"{call.name}: it took longer than {request_timeout:g} s") from error
    except (
        httpx.UnsupportedProtocol,
        httpx.DecodingError,
        httpx.InvalidURL,
        UnicodeError,
    ) as error:
        raise ServiceRefused(call.told(str(error))) from error
    except httpx.TransportError as error:
        raise ServiceUnavailable(call.told(str(error) or type(error).__name__)) from error
    context.metric("requests_answered")
    context.metric("bytes_received", len(answer.content))
    return call.given(answer, output)


def _content(
    data: Any, send_data: bool, json: Any, body: str | None
) -> tuple[bytes | None, str | None]:
    """What is sent, and its media type. Raises StepInputError."""
    if send_data:
        return to_bytes("network_step", data)
    if json is not None:
        return msgspec.json.encode(json), "application/json"
    return (None if body is None else body.encode()), None


def _headers(
    context: Context, method: str, headers: dict[str, str], media_type: str | None
) -> httpx.Headers:
    """Of a request. Raises StepConfigError."""
    filled: httpx.Headers = _httpx().Headers(revealed("network_step", "header", headers))
    filled.setdefault("User-Agent", "semantica-pipeline")
    if media_type is not None:
        filled.setdefault("Content-Type", media_type)
    if method in ("POST", "PATCH"):
        filled.setdefault("Idempotency-Key", quote(context.idempotency_key, safe="/"))
    return filled


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """By their names in lower case, without cookies: those are credentials."""
    content: bytes


class _Call:
    """A request on its way.

    Args:
        name: How messages call it.
        secrets: What no message may repeat.
    """

    def __init__(self, name: str, max_bytes: int, secrets: list[str]) -> None:
        self.name = name
        self._max_bytes = max_bytes
        self._secrets = secrets

    def told(self, reason: str) -> str:
        """The message of an error."""
        return f"{self.name}: {concealed(reason, self._secrets)}"

    async def follow(self, client: httpx.AsyncClient, request: httpx.Request) -> _Answer:
        """Send a request, and those that the server redirects to. Raises ServiceRefused."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                following = response.next_request
                if following is None:
                    return await self._answer(response)
            finally:
                await response.aclose()
            if self._secrets and not _same_server(request.url, following.url):
                raise ServiceRefused(
                    self.told(
                        f"it redirects to {following.url.host}, where the credentials must not "
                        "go; give that address, if it is meant to have them"
                    )
                )
            request = following
        raise ServiceRefused(self.told(f"it redirects more than {_MAX_REDIRECTS} times"))

    async def _answer(self, response: httpx.Response) -> _Answer:
        if response.status_code >= 400:
            raise await self._refusal(response)
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and response.request.method != "HEAD":
            self._check_size(int(declared))
        content = bytearray()
        async for block in response.aiter_bytes(_BLOCK):
            content += block
            self._check_size(len(content))
        headers = {name: text for name, text in response.headers.items() if name != "set-cookie"}
        return _Answer(response.status_code, headers, bytes(content))

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ServiceRefused(
                self.told(f"the content is larger than max_bytes={self._max_bytes}")
            )

    async def _refusal(self, response: httpx.Response) -> Exception:
        status, said = response.status_code, bytearray()
        async for block in response.aiter_bytes(_BLOCK):
            said += block
            if len(said) > 4 * _EXCERPT:
                break
        text = " ".join(_text(bytes(said), response.headers).split())[:_EXCERPT]
        told = f"the server answered {status} {response.reason_phrase}".strip()
        message = self.told(f"{told}: {text}" if text else told)
        if status < 500 and status not in _LATER:
            return ServiceRefused(message)
        error = ServiceUnavailable(message)
        error.retry_after = _retry_after(response.headers.get("Retry-After"))
        return error

    def given(self, answer: _Answer, output: Output) -> Any:
        """What the step gives of an answer. Raises ServiceRefused."""
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if output == "response":
            content = self.given(answer, "auto")
            return {"status": answer.status, "headers": answer.headers, "content": content}
        if output == "auto" and not answer.content:
            return None
        if output == "json" or (output == "auto" and _JSON.match(media_type)):
            try:
                return json_of(answer.content)
            except (ValueError, RecursionError) as error:
                raise ServiceRefused(self.told(f"the content is not JSON: {error}")) from error
        if output == "text" or (output == "auto" and _TEXT.match(media_type)):
            return _text(answer.content, answer.headers)
        return answer.content


def _text(content: bytes, headers: Mapping[str, str]) -> str:
    """As the server says, in UTF-8 otherwise; what that cannot be appears as a replacement."""
    try:
        return content.decode(charset_of(headers.get("content-type", "")) or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset that nobody knows
        return content.decode("utf-8", "replace")


def _retry_after(said: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3)"""
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _same_server(before: httpx.URL, after: httpx.URL) -> bool:
    """Also when it changes from http to https."""
    same = (before.scheme, before.port) == (after.scheme, after.port)
    return before.host == after.host and (same or (after.scheme == "https" and after.port is None))


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("requests of network_step", "http") from error
    return httpx


def _client() -> httpx.AsyncClient:
    """Without limits of its own: they are for each read, and a server that drips would never end"""
    client: httpx.AsyncClient = _httpx().AsyncClient(timeout=None, verify=_tls())
    return client


@cache
def _tls() -> ssl.SSLContext:
    """Certificates take long to load."""
    context: ssl.SSLContext = _httpx().create_ssl_context()
    return context
