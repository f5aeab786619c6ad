"""Where a store lies: `sqlite:PATH` or `postgresql://…`."""

from __future__ import annotations

from pathlib import Path

from antiphon.errors import Invalid
from antiphon.store.postgres_pool import check_url, place_of

__all__ = ["shown_place", "sqlite_path"]


def sqlite_path(place: str) -> Path | None:
    """The file that `sqlite:PATH` names (of a data directory, the database in it); None: it is PostgreSQL's.

    Raises `Invalid` for anything else, without quoting it: it may hold a password."""
    scheme, _, rest = place.partition(":")
    if scheme != "sqlite":
        check_url(place)
        return None
    if not rest:
        raise Invalid("store", "it must look like sqlite:PATH or postgresql://user@host:5432/database")
    path = Path(rest)
    return path / "antiphon.db" if path.is_dir() or not path.suffix else path


def shown_place(place: str) -> str:
    """As it may be shown: without a password."""
    return place if place.startswith("sqlite:") else place_of(place)
