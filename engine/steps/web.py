"""Documents behind http:// and https:// addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ...events.artifacts import Artifacts
from .errors import DocumentError, MissingExtra, StepInputError
from .files import refuse_credentials
from .formats import UNKNOWN, charset_of, format_of, media_type_of
from .records import Document

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 50 << 20
URL_TIMEOUT = 30.0
_MAX_REDIRECTS = 5
_BLOCK = 1 << 16
_VAGUE = ("text/plain", UNKNOWN, "binary/octet-stream", "")  # what servers say of any file


def is_url(source: str) -> bool:
    """Whether ``source`` is an address that can be fetched."""
    return source.lower().startswith(("http://", "https://"))


class Web:
    """Fetches documents.

    Args:
        max_bytes: Of a document, unpacked; a larger one is refused.
        timeout: Seconds for a document in all, redirects included.
    """

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout

    def fetch(self, document: Document, artifacts: Artifacts) -> Document:
        """``document`` with size, digest and media type of what its address holds now.

        The bytes themselves are put into ``artifacts``, under the digest: whoever reads the
        document later, or resumes the run, reads the same.

        Raises:
            DocumentError: There is nothing to be had: a status from 400 on, no connection, too
                many redirects, too large, or too slow.
            MissingExtra: httpx is not installed.
        """
        import asyncio  # slow to import, as is the other

        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("fetching addresses", "documents") from error
        url = document.source
        try:
            refuse_credentials(url)
        except StepInputError as error:  # of a step that made its documents itself
            raise DocumentError(str(error)) from error
        try:
            body = asyncio.run(self._limited(url))
        except (httpx.HTTPError, httpx.InvalidURL, _Refused, UnicodeError, OSError) as error:
            raise DocumentError(f"cannot fetch {url}: {_reason(error, self._timeout)}") from error
        return msgspec.structs.replace(
            document,
            media_type=_media_type(document, body.media_type),
            size=len(body.data),
            digest=artifacts.put(body.data),
        )

    async def _limited(self, url: str) -> _Body:
        import asyncio

        # The client's own limits are for each read: a server that drips would never end.
        async with asyncio.timeout(self._timeout):
            return await self._get(url)

    async def _get(self, url: str) -> _Body:
        import httpx

        async with (
            httpx.AsyncClient(
                follow_redirects=True,
                max_redirects=_MAX_REDIRECTS,
                timeout=None,
                headers={"User-Agent": "semantica-pipeline"},
            ) as client,
            client.stream("GET", url) as response,
        ):
            if not response.is_success:
                said = f"{response.status_code} {response.reason_phrase}".strip()
                raise _Refused(f"the server answered {said}")
            return _Body(await self._read(response), response.headers.get("Content-Type", ""))

    async def _read(self, response: httpx.Response) -> bytes:
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise _Refused(self._too_large())
        data = bytearray()
        async for block in response.aiter_bytes(_BLOCK):
            data += block
            if len(data) > self._max_bytes:
                raise _Refused(self._too_large())
        return bytes(data)

    def _too_large(self) -> str:
        return f"it is larger than max_bytes={self._max_bytes}"


class _Body(NamedTuple):
    data: bytes
    media_type: str


class _Refused(Exception):
    """There is an answer, and it is of no use."""


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"it took longer than {timeout:g} s"
    return str(error) or type(error).__name__


def _media_type(document: Document, said: str) -> str:
    """The type, with the charset if there is one that is not UTF-8."""
    plain = _plain_media_type(document, said)
    charset = charset_of(said)
    if charset in (None, "utf-8", "utf8") or charset_of(plain):
        return plain
    return f"{plain}; charset={charset}"


def _plain_media_type(document: Document, said: str) -> str:
    """What the user said, else the server unless it is vague, else the address."""
    by_address = media_type_of(document.source)
    if document.media_type != by_address:
        return document.media_type
    said = said.partition(";")[0].strip().lower()
    if by_address != UNKNOWN and (said in _VAGUE or format_of(said) is None):
        return by_address
    return said or UNKNOWN
