"""The tables of a new log as one script, from the migrations that lead there.

``python -m semantica.pipeline.tools.schema events/schema.sql`` writes it. A new log is made by this
script, since the library that applies migrations takes longer to import than most of all the rest.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from ..events.sqlite_schema import migrate


def script() -> str:
    """Statements that make an empty database what all migrations make of it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN")
    migrate(connection)
    connection.execute("COMMIT")
    made = connection.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' "
        "ESCAPE '!' ORDER BY rowid"
    )
    lines = [f"{sql};" for (sql,) in made]
    applied = connection.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY id")
    lines += [
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
        f"VALUES ('{group}', '{name}', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));"
        for group, name in applied
    ]
    connection.close()
    return "\n".join(lines) + "\n"


def main(path: str) -> None:
    """Write the script into a file."""
    Path(path).write_text(script(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
