"""The fresh interpreter that a case runs in: ``python -m guide.child errors.fallback_handlers``."""

from __future__ import annotations

import sys

from guide.case import execute

if __name__ == "__main__":
    execute(sys.argv[1])
