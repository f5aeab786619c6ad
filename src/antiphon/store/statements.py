"""Loads named SQL: statements from `.sql` files (`-- name: …` and a description), migrations from numbered files."""

from __future__ import annotations

import re
from importlib.resources import files


def load_statements(dialect: str) -> dict[str, str]:
    """The statements of `sql/<dialect>.sql` by name."""
    text = (files(__package__) / "sql" / f"{dialect}.sql").read_text()
    found: dict[str, str] = {}
    for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        assert name not in found, f"two statements are named {name}"
        found[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return found


def load_migrations(dialect: str) -> list[tuple[int, str, str]]:
    """The files in `migrations/<dialect>` as (number, name, script), in order; the numbers are 1, 2, 3, …"""
    folder = files(__package__) / "migrations" / dialect
    found = sorted((item.name, item.read_text()) for item in folder.iterdir() if item.name.endswith(".sql"))
    migrations = [(int(name[:4]), name, script) for name, script in found]
    assert [number for number, _, _ in migrations] == list(range(1, len(migrations) + 1))
    return migrations
