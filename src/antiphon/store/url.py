"""Store URLs: `sqlite:PATH` or `postgresql://…`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from antiphon.errors import Invalid
from antiphon.postgres.address import read_address


def sqlite_path(url: str) -> Path | None:
    """The database file of `sqlite:PATH`; PATH may be a data directory. None: the URL is one of PostgreSQL.

    Raises `Invalid` for any other URL, without quoting it: it may contain a password."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        read_address(url)
        return None
    if not rest:
        raise Invalid("store", "it must look like sqlite:PATH or postgresql://user@host:5432/database")
    path = Path(rest)
    return path / "antiphon.db" if path.is_dir() or not path.suffix else path


def displayed_url(url: str) -> str:
    """The URL without its password and options."""
    if url.startswith("sqlite:"):
        return url
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{user}{host}{parts.path}"
