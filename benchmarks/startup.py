"""From nothing to ready, and `antiphon --help`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer


def measure_startup(scale: Scale) -> list[Figure]:
    bare, ready, helped = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(scale.repeats + 1):
            bare.append(_timed([sys.executable, "-c", "pass"]))
            helped.append(_timed([sys.executable, "-m", "antiphon.cli", "--help"]))
            started = time.perf_counter()
            with BenchServer(data=Path(folder) / str(i)):
                ready.append(time.perf_counter() - started)
    bare_s, ready_s, help_s = middle(bare[1:]), middle(ready[1:]), middle(helped[1:])
    floor_name = "python -c pass"
    return [
        Figure(
            name="start to ready, new data directory",
            value=ready_s,
            unit="s",
            floor=bare_s,
            floor_name=floor_name,
            goal="≤ 0.8 s",
            is_met=ready_s <= 0.8,
        ),
        Figure(
            name="antiphon --help",
            value=help_s,
            unit="s",
            floor=bare_s,
            floor_name=floor_name,
            goal="≤ 0.25 s",
            is_met=help_s <= 0.25,
        ),
    ]


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
