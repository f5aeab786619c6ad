"""Time and random ids."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. `now_us` is the store's clock, which steps of the wall clock do not move. `monotonic` measures
    durations."""

    def now_us(self) -> int:
        """The current time in microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        ...


class Ids(Protocol):
    """Random ids and secrets."""

    def uuid(self) -> str:
        """A new UUID, lower case with hyphens."""
        ...

    def secret(self) -> str:
        """A new token: 32 random bytes, URL-safe."""
        ...
