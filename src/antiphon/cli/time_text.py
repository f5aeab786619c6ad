"""Times of the API for people, with their time zone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

LENGTHS = {"minutes": 16, "seconds": 19}


def time_text(at: str, to: Literal["minutes", "seconds"] = "seconds") -> str:
    """`2026-05-05 21:59 UTC`, from an RFC 3339 time; an offset other than Z is shown unchanged."""
    zone = "UTC" if at.endswith("Z") else at[-6:]
    return f"{at[: LENGTHS[to]].replace('T', ' ')} {zone}"


def age_text(at: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was: `now`, `5 min`, `3 h`, `12 d`, then the day. At most 10 cells."""
    try:
        seconds = (now - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return at[:10]
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 86_400:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400)} d" if seconds < 100 * 86_400 else at[:10]
