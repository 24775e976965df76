"""What a process does to its files, as the kernel sees it: recorded with strace, and read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "openat,write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,unlink,"
    "unlinkat,ftruncate,mkdir,mkdirat,rmdir,fallocate,link,linkat,copy_file_range,sendfile"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})+)>")


class Operation(NamedTuple):
    """A change to a file or folder, or a promise. ``begun`` and ``ended`` are moments."""

    kind: str
    """``create write truncate sync rename unlink mkdir``, or ``ack``."""
    path: str
    begun: int
    ended: int
    offset: int = 0
    data: bytes = b""
    target: str = ""


@cache
def can_record() -> bool:
    """Whether strace is here and may look at a process."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def record(trace: Path, folder: Path, *command: str, inject: str = "") -> list[Operation]:
    """Run Python with ``command``; what it does within ``folder``, in order of completion."""
    injected = [f"--inject={inject}"] if inject else []
    done = subprocess.run(
        ["strace", "-f", "-qq", "-xx", "-y", "-s", "100000000", "-e", f"trace={CALLS}",
         *injected, "-o", str(trace), sys.executable, *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert injected or done.returncode == 0, done.stderr
    return sorted(_read(trace, str(folder)), key=lambda one: one.ended)


def _read(trace: Path, folder: str) -> Iterator[Operation]:
    positions: dict[str, int] = {}  # of every descriptor: write goes on where the last one ended
    for begun, ended, name, arguments, answer in _calls(trace):
        texts = [bytes.fromhex(one.replace("\\x", "")) for one in _TEXT.findall(arguments)]
        number, file = _descriptor(arguments)
        path = texts[0].decode() if name in NAMING and texts else file
        if name == "write" and number == "1" and texts[0].startswith(b"ack "):
            yield Operation("ack", "", begun, ended, int(texts[0].split()[1]))
        if name == "openat":
            positions[str(answer)] = 0
        if not path.startswith(folder):
            continue
        if name == "openat":
            assert "O_TRUNC" not in arguments, "not in the model"
            if "O_CREAT" in arguments:
                yield Operation("create", path, begun, ended)
        elif name == "write":
            offset = positions[number]
            positions[number] += answer
            yield Operation("write", path, begun, ended, offset, texts[0][:answer])
        elif name == "pwrite64":
            offset = int(arguments.rsplit(",", 1)[1])
            yield Operation("write", path, begun, ended, offset, texts[0][:answer])
        elif name == "ftruncate":
            yield Operation("truncate", path, begun, ended, int(arguments.rsplit(",", 1)[1]))
        elif name in ("fsync", "fdatasync"):
            yield Operation("sync", path, begun, ended)
        elif name.startswith("rename"):
            yield Operation("rename", path, begun, ended, target=texts[1].decode())
        elif name.startswith("unlink"):
            yield Operation("unlink", path, begun, ended)
        elif name.startswith("mkdir"):
            yield Operation("mkdir", path, begun, ended)
        else:
            raise AssertionError(f"{name} is not in the model")


NAMING = {"openat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"}


def _descriptor(arguments: str) -> tuple[str, str]:
    found = _FILE.match(arguments)
    if found is None:
        return "", ""
    return found[1], bytes.fromhex(found[2].replace("\\x", "")).decode()


def _calls(trace: Path) -> Iterator[tuple[int, int, str, str, int]]:
    """Calls that succeeded: begin, end, name, arguments and answer."""
    unfinished: dict[str, tuple[int, str]] = {}
    for moment, line in enumerate(trace.read_text().splitlines()):
        thread, _, rest = line.partition(" ")
        rest = rest.lstrip()
        begun = moment
        if rest.endswith("<unfinished ...>"):
            unfinished[thread] = moment, line.removesuffix("<unfinished ...>")
            continue
        if rest.startswith("<... "):
            begun, head = unfinished.pop(thread)
            line = head + rest.partition(" resumed>")[2]
        read = _LINE.match(line)
        if read is not None and int(read[4]) >= 0:
            yield begun, moment, read[2], read[3], int(read[4])
