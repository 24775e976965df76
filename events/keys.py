"""Keys of encrypted runs: one file each, in a folder that is no part of the log.

Whoever has a log without its keys has names, times and states, and no contents. A key that was
destroyed erases what was encrypted with it wherever it has been copied to: logs, exports, backups.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from .artifacts import sync_path, write_whole
from .errors import LogCorrupt, LogUnavailable, MissingKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

KEYS_VARIABLE = "PIPELINE_KEYS"
"""The environment variable that names another folder for keys than the one beside the log."""
_BYTES = 32
T = TypeVar("T")
_FORMAT = "semantica.pipeline key"


class Key:
    """A key, for any number of texts. Safe to use from several threads.

    The same text with the same associated data gives the same ciphertext: an attempt to record
    something that is made again gives the same digest. Nothing else can be learnt from that, since
    the associated data names the place.

    Args:
        secret: 32 random bytes.

    Raises:
        MissingKey: The library ``cryptography`` is not there, or too old.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.id = key_id(secret)
        self._names = _derived(secret, b"names")
        self._cipher = _cipher(_derived(secret, b"contents"))

    def encrypt(self, text: bytes, place: bytes) -> bytes:
        """``text`` as ciphertext with its tag; ``place`` is authenticated with it."""
        return self._cipher.encrypt(_nonce(place), text, place)

    def decrypt(self, data: bytes, place: bytes) -> bytes:
        """The inverse. Raises ValueError: it was changed, belongs elsewhere, or has another key."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(_nonce(place), data, place)
        except (InvalidTag, OverflowError) as error:
            raise ValueError("it cannot be decrypted: it is not what was encrypted") from error

    def alias(self, name: str) -> str:
        """What stands for a name, always the same, that nobody without the key can find out."""
        data = name.encode("utf-8", "surrogatepass")
        return blake2b(data, key=self._names, digest_size=8).hexdigest()


def _cipher(secret: bytes) -> AESGCMSIV:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
    except ImportError as error:
        raise MissingKey(
            "encrypted runs need an optional library: pip install 'semantica-pipeline[encrypt]'"
        ) from error
    try:
        return AESGCMSIV(secret)
    except UnsupportedAlgorithm as error:
        raise MissingKey(
            "the OpenSSL of the library 'cryptography' here is older than 3.2 and has no "
            "AES-GCM-SIV; install the library from PyPI: "
            "pip install --force-reinstall 'semantica-pipeline[encrypt]'"
        ) from error


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of its own for each purpose: keyed BLAKE2b (RFC 7693) with a personalisation."""
    return blake2b(key=secret, person=purpose, digest_size=_BYTES).digest()


def _nonce(place: bytes) -> bytes:
    """By the place, so that no two places share one; if one comes twice, RFC 8452 allows it."""
    return blake2b(place, digest_size=12).digest()


def key_id(secret: bytes) -> str:
    """The name of a key, from which it cannot be found out; 32 hex digits."""
    return _derived(secret, b"id")[:16].hex()


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key's file holds: the run that it was made for, and the key in base64."""

    format: str
    version: int
    run: str
    key: str


class Keys(Protocol):
    """Where the keys of a log's runs are. Safe to use from several threads."""

    place: str
    """How it is named to people."""

    def create(self, run_id: str) -> Key:
        """A new key, durable on return. Raises LogUnavailable, MissingKey."""
        ...

    def find(self, key: str) -> Key | None:
        """The key of that id, if it is here. Raises LogCorrupt, LogUnavailable, MissingKey."""
        ...

    def has(self, key: str) -> bool:
        """Whether it is here."""
        ...

    def add(self, content: bytes) -> str:
        """Take in what :meth:`content` gave; returns the key's id. Raises LogCorrupt."""
        ...

    def content(self, key: str) -> bytes:
        """The text of a key's file. Raises MissingKey."""
        ...

    def destroy(self, key: str) -> bool:
        """Have it be gone, durably on return; False if it was not here. Raises LogUnavailable."""
        ...


class MemoryKeys:
    """Keys of a log in memory."""

    place = "memory"

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._keys: dict[str, Key] = {}

    def create(self, run_id: str) -> Key:
        key = Key(os.urandom(_BYTES))
        self._files[key.id], self._keys[key.id] = _written(run_id, key.secret), key
        return key

    def find(self, key: str) -> Key | None:
        return self._keys.get(key)

    def has(self, key: str) -> bool:
        return key in self._keys

    def add(self, content: bytes) -> str:
        secret = _read(content, "the key that is given")
        key = Key(secret)
        self._files[key.id], self._keys[key.id] = content, key
        return key.id

    def content(self, key: str) -> bytes:
        if key not in self._files:
            raise MissingKey(f"there is no key {key} in {self.place}")
        return self._files[key]

    def destroy(self, key: str) -> bool:
        self._keys.pop(key, None)
        return self._files.pop(key, None) is not None


class FileKeys:
    """Keys as files ``ID.key``, mode 0600.

    Args:
        folder: Created with the first key, mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)
        self._keys: dict[str, Key] = {}
        self._lock = threading.Lock()

    def create(self, run_id: str) -> Key:
        key = Key(os.urandom(_BYTES))
        self._write(key.id, _written(run_id, key.secret))
        return key

    def find(self, key: str) -> Key | None:
        if not self.has(key):  # also of one that is known: somebody else may have destroyed it
            self._keys.pop(key, None)
            return None
        known = self._keys.get(key)
        if known is None:
            content = self._act(key, "read", lambda path: path.read_bytes())
            known = Key(_read(content, str(self._path(key)), key))
            with self._lock:
                self._keys[key] = known
        return known

    def has(self, key: str) -> bool:
        return self._act(key, "look for", lambda path: path.exists())

    def add(self, content: bytes) -> str:
        key = key_id(_read(content, "the key that is given"))
        if not self.has(key):
            self._write(key, content)
        return key

    def content(self, key: str) -> bytes:
        if not self.has(key):
            raise MissingKey(f"there is no key {key} in {self.place}")
        return self._act(key, "read", lambda path: path.read_bytes())

    def destroy(self, key: str) -> bool:
        """Written over first, since some file systems write in place; others, and disks with
        flash memory, keep what was written for a while."""
        self._keys.pop(key, None)

        def remove(path: Path) -> bool:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                os.write(descriptor, bytes(os.fstat(descriptor).st_size))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            path.unlink(missing_ok=True)
            sync_path(self.folder)
            return True

        return self._act(key, "destroy", remove)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.key"

    def _write(self, key: str, content: bytes) -> None:
        def write(path: Path) -> None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_path(self.folder.parent)
            write_whole(path, content)

        self._act(key, "write", write)

    def _act(self, key: str, what: str, act: Callable[[Path], T]) -> T:
        path = self._path(key)
        try:
            return act(path)
        except OSError as error:
            raise LogUnavailable(
                f"cannot {what} the key {path}: {error.strerror}; mend the permissions, free some "
                f"space, or name another folder for keys with {KEYS_VARIABLE}"
            ) from error


def _written(run_id: str, secret: bytes) -> bytes:
    told = KeyFile(_FORMAT, 1, run_id, base64.b64encode(secret).decode())
    return msgspec.json.encode(told) + b"\n"


def _read(content: bytes, place: str, key: str | None = None) -> bytes:
    """The secret of a key's file; ``key``: the id that it must have."""
    try:
        told = msgspec.json.decode(content, type=KeyFile)
        secret = base64.b64decode(told.key, validate=True)
    except ValueError as error:  # msgspec's and binascii's are such
        raise LogCorrupt(f"{place} holds no key: {error}") from error
    if (told.format, told.version, len(secret)) != (_FORMAT, 1, _BYTES):
        raise LogCorrupt(f"{place} holds no key of this form")
    if key is not None and key_id(secret) != key:
        raise LogCorrupt(f"{place} holds another key than its name says")
    return secret
