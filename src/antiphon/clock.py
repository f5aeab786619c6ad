"""The system clock and random ids: the implementations of the ports Clock and Ids."""

from __future__ import annotations

import os
import secrets
import time
import uuid

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The wall clock, read once, plus the time since boot. Later steps of the wall clock do not affect it."""

    def __init__(self) -> None:
        self._offset_us = (time.time_ns() - time.clock_gettime_ns(_BOOTTIME)) // 1000

    def now_us(self) -> int:
        return self._offset_us + time.clock_gettime_ns(_BOOTTIME) // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class RandomIds:
    """Random ids and secrets that cannot be guessed."""

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=os.urandom(16), version=4))

    def secret(self) -> str:
        return secrets.token_urlsafe(32)
