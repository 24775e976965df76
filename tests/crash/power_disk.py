"""A disk that loses power: what may be left of the operations that were recorded.

What was synced before the cut is there. Of the rest anything may be: of every write each sector of
512 bytes is there or not, in whatever order they were made; a name that was made, changed or
removed is, or is not, until its folder has been synced. This is less than what today's file systems
keep, and what ALICE (Pillai et al., OSDI 2014) calls a persistence model with no ordering.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from random import Random
from typing import NamedTuple

from power_recording import Operation

SECTOR = 512


class File:
    """An inode: what was done to its content, and until when that was synced."""

    def __init__(self) -> None:
        self.changes: list[Operation] = []
        self.synced = -1
        """Changes that had ended before this moment are on the disk."""

    def content(self, chance: Random, share: float) -> bytes:
        """What is on the disk, with about ``share`` of what was not synced."""
        data = bytearray()
        for change in self.changes:
            lasts = change.ended < self.synced
            if change.kind == "truncate":
                if lasts or chance.random() < share:
                    del data[change.offset :]
                    data.extend(bytes(change.offset - len(data)))
                continue
            if lasts or share == 1.0:
                _put(data, change.offset, change.data)
                continue
            end = change.offset + len(change.data)
            cut = change.offset
            while cut < end:  # sector by sector
                upto = min(end, (cut // SECTOR + 1) * SECTOR)
                if chance.random() < share:
                    _put(data, cut, change.data[cut - change.offset : upto - change.offset])
                cut = upto
        return bytes(data)


def _put(data: bytearray, offset: int, new: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(new)] = new


class _Naming(NamedTuple):
    ended: int
    names: dict[str, File | bool | None]
    """Path to what it names from now on: a file, a folder (True) or nothing."""


class Disk:
    """The operations of a prefix of a recording, applied one by one."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._now: dict[str, File | bool] = {self._root: True}
        self._namings: dict[str, list[_Naming]] = {}
        """By folder."""
        self._synced: dict[str, int] = {}
        """By folder: namings that had ended before this moment are on the disk."""
        self.acknowledged = 0

    def apply(self, one: Operation) -> None:
        """The next operation."""
        if one.kind == "ack":
            self.acknowledged = max(self.acknowledged, one.offset)
        elif one.kind == "create":
            if one.path not in self._now:
                self._name(one, {one.path: File()})
        elif one.kind == "mkdir":
            self._name(one, {one.path: True})
        elif one.kind == "unlink":
            self._name(one, {one.path: None})
        elif one.kind == "rename":
            self._name(one, {one.path: None, one.target: self._now[one.path]})
        elif one.kind == "sync":
            found = self._now[one.path]
            if isinstance(found, File):
                found.synced = max(found.synced, one.begun)
            else:
                self._synced[one.path] = max(self._synced.get(one.path, -1), one.begun)
        else:
            file = self._now[one.path]
            assert isinstance(file, File)
            file.changes.append(one)

    def _name(self, one: Operation, names: dict[str, File | bool | None]) -> None:
        for path, what in names.items():
            self._now.pop(path, None)
            if what is not None:
                self._now[path] = what
        folder = str(PurePosixPath(one.path).parent)
        self._namings.setdefault(folder, []).append(_Naming(one.ended, names))

    def lose_power(self, place: Path, chance: Random, share: float) -> None:
        """Write what is left into ``place``, with about ``share`` of what was not synced."""
        names: dict[str, File | bool] = {self._root: True}
        for folder, namings in self._namings.items():
            synced = self._synced.get(folder, -1)
            for naming in namings:
                if naming.ended < synced or chance.random() < share:
                    for path, what in naming.names.items():
                        names.pop(path, None)
                        if what is not None:
                            names[path] = what
        for path, what in sorted(names.items(), key=lambda item: item[0]):
            if not all(str(parent) in names for parent in _within(path, self._root)):
                continue  # its folder is lost
            target = place / PurePosixPath(path).relative_to(self._root)
            if isinstance(what, File):
                if not path.endswith("-shm"):  # in memory: it is made anew from the log
                    target.write_bytes(what.content(chance, share))
            else:
                target.mkdir(exist_ok=True)


def _within(path: str, root: str) -> Sequence[PurePosixPath]:
    return [one for one in PurePosixPath(path).parents if one.is_relative_to(root)]
