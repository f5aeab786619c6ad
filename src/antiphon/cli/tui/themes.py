"""The light and the dark theme, and which one was chosen last."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from textual.theme import Theme

from antiphon.cli.tui.entry_lines import Colours

DARK = Theme(
    name="antiphon-dark",
    primary="#7aa2f7",
    secondary="#5b6c8f",
    accent="#7dcfff",
    warning="#e0af68",
    error="#f7768e",
    success="#9ece6a",
    foreground="#d5d9e4",
    background="#16181d",
    surface="#1c1f26",
    panel="#252933",
    dark=True,
)
LIGHT = Theme(
    name="antiphon-light",
    primary="#1f5fbf",
    secondary="#5b6c8f",
    accent="#0b6e99",
    warning="#8a5a00",
    error="#b3213f",
    success="#2f6f1f",
    foreground="#1d2128",
    background="#ffffff",
    surface="#f5f6f8",
    panel="#e9ebf0",
    dark=False,
)
THEMES = {"dark": DARK, "light": LIGHT}
NAME_BYTES_MAX = 100


def colours_of(theme: Theme) -> Colours:
    """The colours of the entries of a transcript."""
    return Colours(accent=theme.primary, error=theme.error or "red", success=theme.success or "green")


class ThemeFile:
    """The name of the chosen theme, in a file that is ignored if it cannot be read or written."""

    def __init__(self, path: Path | None) -> None:
        """None: nothing is stored."""
        self._path = path or Path(os.devnull)

    def read(self) -> str:
        """The name; empty: none was chosen."""
        with contextlib.suppress(OSError, ValueError), self._path.open("rb") as file:
            return file.read(NAME_BYTES_MAX).decode("ascii").strip()
        return ""

    def write(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(name.encode("ascii", "replace")[:NAME_BYTES_MAX])
