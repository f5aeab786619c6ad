"""Time and random names."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. `now_us` is the store's clock (steps of the wall clock do not move it), `monotonic` measures waits."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        ...


class Ids(Protocol):
    """Random names."""

    def uuid(self) -> str:
        """A new UUID, lower case with hyphens."""
        ...

    def secret(self) -> str:
        """A new token: 32 random bytes, URL-safe."""
        ...
