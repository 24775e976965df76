"""Commands on a terminal of their own, as a person sees them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from typing import Any


def on_terminal(
    shell: Any,
    *words: str,
    columns: int = 80,
    lines: int = 30,
    while_running: Callable[[subprocess.Popen[bytes], str], None] | None = None,
    answer: Callable[[str], str] | None = None,
    **environment: str,
) -> tuple[int, str]:
    """The exit status of a command, and all that it wrote to its terminal.

    Args:
        while_running: Called whenever there is something to read, with all that was read.
        answer: Returns what is typed then, given all that was read.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {
        key: value
        for key, value in (shell.environment | {"TERM": "xterm-256color"} | environment).items()
        if key not in ("COLUMNS", "LINES") and (key != "NO_COLOR" or key in environment)
    }
    process = subprocess.Popen(
        shell._line(words), cwd=shell.folder, env=inherited, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    read, deadline = b"", time.monotonic() + 40
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            read += part
            if while_running is not None:
                while_running(process, read.decode(errors="replace"))
            if answer is not None:
                os.write(master, answer(read.decode(errors="replace")).encode())
        return process.wait(timeout=10), read.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(master)
