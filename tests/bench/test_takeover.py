"""The takeover scene, as small as it goes: no figure is judged."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from benchmarks.takeover import measure_once


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_takeover_is_timed_by_the_standbys_reader_and_writer(tmp_path: Path, number: int) -> None:
    write_s, token_s = asyncio.run(measure_once(tmp_path / "data", number))
    assert write_s > 0
    assert token_s > 0
