"""Times what must be quick, on a machine that may be busy."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Stopwatch:
    """Started when it is made. Time for which this process or one of `pids` was ready to run, and others had the
    cores, does not count: on a quiet machine it is the time by the clock."""

    def __init__(self, *pids: int) -> None:
        self._started_s = time.monotonic()
        self._waits_s = {pid: _wait_s(pid) for pid in (os.getpid(), *pids)}

    def elapsed_s(self) -> float:
        waited_s = sum(_wait_s(pid, before) - before for pid, before in self._waits_s.items())
        return time.monotonic() - self._started_s - waited_s


def _wait_s(pid: int, otherwise: float = 0.0) -> float:
    """How long its main thread has waited for a core by the kernel's account, which ends with the process."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return otherwise
