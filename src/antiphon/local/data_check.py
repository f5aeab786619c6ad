"""Detects that the data directory of a running instance was moved or removed."""

from __future__ import annotations

import structlog

from antiphon.local.lock import LockFile

log = structlog.get_logger(__name__)


class DataCheck:
    """A data directory that was moved or removed loses all that is written to it afterwards."""

    def __init__(self, lock: LockFile | None) -> None:
        self.error = ""
        self._lock = lock

    def check(self) -> None:
        if self._lock is None or self.error or self._lock.is_in_place():
            return
        self.error = "the data directory was moved or removed"
        log.error("data_lost", data=str(self._lock.data))
