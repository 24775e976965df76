"""From bytes to text: UTF-8 first, then what the document declares, then what fits best."""

from __future__ import annotations

import codecs
import re

from .errors import DocumentError, MissingExtra

_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 2048
_LATIN = {"iso8859-1", "ascii"}
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7")
_ESCAPED = ("iso2022", "hz")  # these look like ASCII
_BYTE_ORDER_MARKS = tuple(mark for mark, _ in _MARKS)
_WIDE = [f"utf_{name}" for name in ("7", "16", "16_le", "16_be", "32", "32_le", "32_be")]


def decode(data: bytes, *, declared: bool = False) -> tuple[str, str]:
    """The text of ``data`` and the name of its encoding.

    Args:
        declared: Honour a ``charset=`` or ``encoding=`` near the beginning, as HTML has.

    Raises:
        DocumentError: It is binary, or in no encoding that can be told.
        MissingExtra: It is not UTF-8, and the library that can tell is not installed.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name), name.removesuffix("-sig")
    if b"\0" in data:
        raise DocumentError("it is binary, or UTF-16 or UTF-32 without a byte order mark")
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        said = _declaration(data) if declared else None
    if said is not None:
        try:
            return data.decode(said), said
        except (UnicodeError, LookupError):  # a wrong declaration is worth nothing
            return _guess(data)
    return _guess(data)


def transcode(data: bytes, charset: str) -> tuple[bytes, str] | None:
    """``data`` as UTF-8, and the encoding's name, if it is in ``charset``, as somebody says.

    None if it is not, or is UTF-8 all the same: servers often name a charset that they only
    assume, and nothing else of any length looks like UTF-8.
    """
    name = _codec(charset)
    if name is None or name.startswith("utf-8") or data.startswith(_BYTE_ORDER_MARKS):
        return None
    if b"\0" in data:
        if not name.startswith(("utf-16", "utf-32")):
            return None
    elif _is_utf8(data) and not (data.isascii() and name.startswith(_ESCAPED)):
        return None
    try:
        return data.decode(name).encode(), name
    except (UnicodeError, LookupError):  # a wrong declaration is worth nothing
        return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not the {encoding} it claims to be: {error.reason}") from error


def _declaration(data: bytes) -> str | None:
    """The declared encoding, if it is one that a document can be in and still be declared so."""
    match = _DECLARED.search(data[:_DECLARED_WITHIN])
    if match is None:
        return None
    name = _codec(match[1].decode("ascii", "replace"))
    return None if name is None or name.startswith("utf") else name


def _codec(charset: str) -> str | None:
    """Python's name for a charset that a document can be in."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    if name in _LATIN:
        return "cp1252"  # as browsers read it
    return None if name in _NO_CHARSETS else name


def _guess(data: bytes) -> tuple[str, str]:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise MissingExtra("text in another encoding than UTF-8", "documents") from error
    matches = from_bytes(data, cp_exclusion=_WIDE)
    best = matches.best()
    if best is None:
        raise DocumentError("it is in no known text encoding, or damaged")
    # Short texts fit many encodings equally well; by far the most frequent one wins then.
    equal = {
        name
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for name in match.could_be_from_charset
    }
    encoding = "cp1252" if equal & {"cp1252", "latin_1"} else best.encoding
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        return data.decode(best.encoding), best.encoding
