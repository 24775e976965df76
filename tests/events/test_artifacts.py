"""Artifacts: kept once, whole or not at all, and damage is found where it happens."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from semantica.pipeline.events import artifacts as module
from semantica.pipeline.events.artifacts import (
    Artifacts,
    FileArtifacts,
    MemoryArtifacts,
    digest_of,
)
from semantica.pipeline.events.errors import LogCorrupt, LogUnavailable


@pytest.fixture
def files(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path / "artifacts")


def everything(files: FileArtifacts) -> list[Path]:
    return [path for path in files.folder.rglob("*") if path.is_file()]


def place(files: FileArtifacts, digest: str) -> Path:
    (found,) = [path for path in everything(files) if path.parent.name + path.name == digest]
    return found


@pytest.mark.parametrize("make", [MemoryArtifacts, None])
@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"x" * 1_000_000])
def test_what_was_put_is_got(
    files: FileArtifacts, make: Callable[[], Artifacts] | None, data: bytes
) -> None:
    artifacts = make() if make else files
    digest = artifacts.put(data)
    assert digest == digest_of(data)
    assert artifacts.get(digest) == data
    assert artifacts.put(data) == digest


@pytest.mark.parametrize("make", [MemoryArtifacts, None])
def test_a_missing_artifact_is_named(
    files: FileArtifacts, make: Callable[[], Artifacts] | None
) -> None:
    digest = digest_of(b"never put")
    with pytest.raises(LogCorrupt, match=f"artifact {digest} is missing"):
        (make() if make else files).get(digest)


def test_the_same_content_is_kept_once(files: FileArtifacts) -> None:
    files.put(b"x" * 5000)
    files.put(b"x" * 5000)
    assert len(everything(files)) == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damage_is_found_and_named(files: FileArtifacts, damage: str) -> None:
    digest = files.put(b"x" * 5000)
    path = place(files, digest)
    content = {"flip": b"y" + b"x" * 4999, "truncate": b"x" * 4000, "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(LogCorrupt, match=f"artifact {path} is damaged"):
        files.get(digest)


def test_folder_and_files_are_their_owners_alone(files: FileArtifacts) -> None:
    digest = files.put(b"x")
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(place(files, digest).stat().st_mode) == 0o600


def test_nothing_is_made_before_it_is_needed(files: FileArtifacts) -> None:
    assert files.trusted
    assert not files.folder.exists()


def test_a_folder_that_others_can_write_is_not_trusted(files: FileArtifacts) -> None:
    files.put(b"x")
    assert files.trusted
    for mode in (0o770, 0o702):
        files.folder.chmod(mode)
        assert not files.trusted


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_folder_of_somebody_else_is_not_trusted(files: FileArtifacts) -> None:
    files.put(b"x")
    os.chown(files.folder, 65534, 65534)
    assert not files.trusted


def test_threads_put_the_same_artifact_at_once(files: FileArtifacts) -> None:
    data = [bytes([n % 3]) * 50_000 for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(files.put, data))
    assert [files.get(digest) for digest in digests] == data
    assert len(everything(files)) == 3, "no temporary file is left"


def test_an_artifact_that_cannot_be_written_leaves_nothing(
    files: FileArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    files.put(b"before")
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fsync", full)
        with pytest.raises(LogUnavailable, match="No space left on device; free some") as refused:
            files.put(b"x" * 5000)
    assert refused.value.transient
    assert len(everything(files)) == 1
    assert files.get(files.put(b"x" * 5000)) == b"x" * 5000


def test_content_is_on_disk_before_it_has_its_name(
    files: FileArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_sync(descriptor: int) -> None:
        done.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def record_replace(old: Path, new: Path) -> None:
        done.append("name")
        replace(old, new)

    files.put(b"first")
    monkeypatch.setattr(module.os, "fsync", record_sync)
    monkeypatch.setattr(module.os, "replace", record_replace)
    files.put(b"second")
    named = done.index("name")
    assert "sync file" in done[:named]
    assert "sync folder" in done[named:]
    done.clear()
    files.put(b"second")
    assert "sync file" in done, "found there already: a crash may have left it unsynced"
