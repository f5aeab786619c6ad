"""Where a store lies: `sqlite:PATH` or `postgresql://…`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from antiphon.errors import Invalid
from antiphon.postgres.address import read_address


def sqlite_path(place: str) -> Path | None:
    """The file that `sqlite:PATH` names (of a data directory, the database in it); None: it is PostgreSQL's.

    Raises `Invalid` for anything else, without quoting it: it may hold a password."""
    scheme, _, rest = place.partition(":")
    if scheme != "sqlite":
        read_address(place)
        return None
    if not rest:
        raise Invalid("store", "it must look like sqlite:PATH or postgresql://user@host:5432/database")
    path = Path(rest)
    return path / "antiphon.db" if path.is_dir() or not path.suffix else path


def shown_place(place: str) -> str:
    """As it may be shown: without a password and options."""
    if place.startswith("sqlite:"):
        return place
    parts = urlsplit(place)
    user = f"{parts.username}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{user}{host}{parts.path}"
