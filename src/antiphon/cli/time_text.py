"""A time of the API as a person reads it, with the zone it is in."""

from __future__ import annotations

from typing import Literal

LENGTHS = {"minutes": 16, "seconds": 19}


def time_text(at: str, to: Literal["minutes", "seconds"] = "seconds") -> str:
    """`2026-05-05 21:59 UTC`, of an RFC 3339 time; another offset than Z is shown as it is."""
    zone = "UTC" if at.endswith("Z") else at[-6:]
    return f"{at[: LENGTHS[to]].replace('T', ' ')} {zone}"
