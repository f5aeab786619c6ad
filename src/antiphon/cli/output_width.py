"""The width for which a command prints: that of the terminal, or unlimited for a pipe or a file."""

from __future__ import annotations

import shutil
import sys

NARROW = 60
"""Below this width, in cells, lists leave out their less important columns."""


def output_width() -> int | None:
    """The width of stdout in cells; None: stdout is no terminal, and programs get full lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
