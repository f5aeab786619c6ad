"""Times of the API for people, with their time zone."""

from __future__ import annotations

from typing import Literal

LENGTHS = {"minutes": 16, "seconds": 19}


def time_text(at: str, to: Literal["minutes", "seconds"] = "seconds") -> str:
    """`2026-05-05 21:59 UTC`, from an RFC 3339 time; an offset other than Z is shown unchanged."""
    zone = "UTC" if at.endswith("Z") else at[-6:]
    return f"{at[: LENGTHS[to]].replace('T', ' ')} {zone}"
