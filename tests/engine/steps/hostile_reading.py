"""A reader, for a worker process, that dies or hangs at documents named so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from semantica.pipeline.engine.steps import reading


def read_source(source: str, *rest: Any) -> reading.Reading:
    """As the real one, but for those documents."""
    name = Path(source).name
    if "pid" in name:
        Path(f"{source}.pid").write_text(str(os.getpid()))
    if "crash" in name:
        os.abort()
    if "hang" in name:
        time.sleep(600)
    return reading.read_source(source, *rest)
