"""How an attempt is told to stop, and how its parts are told that it is over."""

from __future__ import annotations

from enum import StrEnum


class Stop(StrEnum):
    """Why an attempt is told to stop."""

    INTERRUPT = "interrupt"
    LOST = "lost"
    RELEASE = "release"


class Over(Exception):
    """The attempt has ended, or may write nothing more: nothing is left to be done."""
