"""The system's clock and random names (ports Clock and Ids)."""

from __future__ import annotations

import os
import secrets
import time
import uuid

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The wall clock, read once, plus the time since boot: later steps of the wall clock do not move it."""

    def __init__(self) -> None:
        self._offset_us = (time.time_ns() - time.clock_gettime_ns(_BOOTTIME)) // 1000

    def now_us(self) -> int:
        return self._offset_us + time.clock_gettime_ns(_BOOTTIME) // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class RandomIds:
    """Names nobody can guess."""

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=os.urandom(16), version=4))

    def secret(self) -> str:
        return secrets.token_urlsafe(32)
