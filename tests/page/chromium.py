"""The system's Chromium: where it is and how it is started. CI must have it; elsewhere its tests are skipped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

EXECUTABLE = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch_options() -> dict[str, Any]:
    """For playwright's `chromium.launch`."""
    if not EXECUTABLE.exists() and "CI" not in os.environ:
        pytest.skip("there is no Chromium")
    return {"executable_path": str(EXECUTABLE), "args": OPTIONS}
