"""Why an attempt stops, and how its parts learn that it has ended."""

from __future__ import annotations

from enum import StrEnum


class Stop(StrEnum):
    """Why an attempt is asked to stop."""

    INTERRUPT = "interrupt"
    """A client interrupts the turn."""
    LOST = "lost"
    """The attempt no longer holds the turn."""
    RELEASE = "release"
    """The worker drains: another attempt continues the turn."""


class AttemptEnded(Exception):
    """The attempt has ended, or may write nothing more. Its parts return without further work."""
