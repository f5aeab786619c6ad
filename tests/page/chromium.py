"""The system's Chromium: its path and its options."""

from __future__ import annotations

from typing import Any

from programs import CHROMIUM, program

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
    return {"executable_path": program(*CHROMIUM), "args": OPTIONS}
