"""Anchors as files: ``audit anchor`` writes them, ``audit verify`` reads them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from ...events.anchor import Anchor, AnchorCheck, anchor_of, is_authentic, read_anchor
from ...events.anchor import sign as signed
from ...events.verify import Fault, Verification
from ..finding import opened
from ..terminal import BadInput, clean, complain, counted, moment, print_json

KEY = "SEMANTICA_AUDIT_KEY"
"""The environment variable with the key, as text."""
LARGEST = 1 << 30
"""Bytes of an anchor's file; that of a million runs has some 100 million."""
LARGEST_KEY = 1 << 16
"""Bytes."""


def read_key(file: str | None) -> bytes | None:
    """The secret key of a file, without the line feed at its end, or of the environment.

    Raises:
        BadInput: The file cannot be read.
    """
    if file is None:
        given = os.environ.get(KEY)
        return os.fsencode(given) if given else None
    key = _read(file, LARGEST_KEY).removesuffix(b"\n").removesuffix(b"\r")
    if Path(file).stat().st_mode & 0o077:
        complain("warning", f"{file} may be read by others, who can sign with it (chmod 600)")
    return key


def export(log: str | None, output: str | None, key_file: str | None, *, as_json: bool) -> None:
    """Write the anchor of a log that has no faults.

    Raises:
        BadInput: It has, or the file is there already or cannot be written.
        BadAnchor: The key is too short.
    """
    from ...engine.submission import actor
    from .verifying import faults_of

    key = read_key(key_file)
    with opened(log) as opened_log:
        store = opened_log.store
        checked = Verification(store)
        fault = next(faults_of(store, checked), None)
        if fault is not None:
            raise BadInput(
                f"{store.location} has faults, which nobody should vouch for: {fault} "
                "(audit verify lists all)"
            )
        anchor = anchor_of(
            checked.heads,
            log=str(store.location),
            at=time.time_ns(),
            actor=actor(),
            position=checked.position,
        )
    if key is not None:
        anchor = signed(anchor, key)
    text = msgspec.json.format(msgspec.json.encode(anchor), indent=1).decode()
    if output is None:
        print(text) if not as_json else print_json(anchor)
        return
    _write(output, text)
    how = "signed" if anchor.signed else "not signed"
    if as_json:
        facts = {"streams": len(anchor.heads), "events": checked.events, "signed": anchor.signed}
        print_json({"file": output, **facts})
    else:
        heads, events = counted(len(anchor.heads), "stream"), counted(checked.events, "event")
        print(f"{output}: heads of {heads}, {events}, {how}")


def _write(output: str, text: str) -> None:
    try:
        with Path(output).open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise BadInput(f"{output} exists; an anchor is not written over") from None
    except OSError as error:
        raise BadInput(f"cannot write {output}: {error.strerror}") from error


class Anchors:
    """The anchors that a log is compared with.

    Raises:
        BadInput, BadAnchor: A file that cannot be read, or is none.
    """

    def __init__(self, files: Sequence[str], key_file: str | None) -> None:
        key = read_key(key_file)
        self._given = [(file, read_anchor(_read(file, LARGEST), file)) for file in files]
        self._key = key
        self.compared = 0
        """Streams that were found to be what they were, over all anchors."""
        if key is None and any(anchor.signed for _, anchor in self._given):
            complain(
                "warning",
                f"a signature was not checked: give the key with --key-file or ${KEY}",
            )

    def faults(self) -> Iterator[Fault]:
        """Anchors that no holder of the key has made."""
        if self._key is None:
            return
        for file, anchor in self._given:
            if not anchor.signed:
                yield Fault(f"{clean(file)} is not signed; anybody may have written it")
            elif not is_authentic(anchor, self._key):
                yield Fault(
                    f"{clean(file)} was not signed with this key, or was changed afterwards"
                )

    def checks(self, only: Collection[str] | None) -> list[AnchorCheck]:
        """What compares the events of a log, or ``only`` those of some streams."""
        return [AnchorCheck(anchor, _called(file, anchor), only) for file, anchor in self._given]

    def facts(self) -> dict[str, int]:
        """For the verdict; nothing without anchors."""
        return {"anchored": self.compared} if self._given else {}


def _called(file: str, anchor: Anchor) -> str:
    return f"the anchor {clean(file)} of {moment(anchor.at)}"


def _read(file: str, most: int) -> bytes:
    try:
        with Path(file).open("rb") as opened_file:
            content = opened_file.read(most + 1)
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error
    if len(content) > most:
        raise BadInput(f"{file} is too large for what it should be")
    return content
