"""The progress of a backup or a restore on stderr, if it takes long."""

from __future__ import annotations

import sys
import time

import click

from antiphon.cli.size_text import size_text

FIRST_S = 2.0
"""After how long the progress is shown, in seconds."""
TERMINAL_S = 0.2
LOG_S = 10.0
"""How often it is shown on a terminal, where it replaces itself, and in a log."""


class BackupProgress:
    """Called with what is being done, the number of bytes done and of all bytes (0: unknown)."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + FIRST_S
        self._is_shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() < self._next:
            return
        amount = f"{size_text(done)} of {size_text(total)}" if total else size_text(done)
        if self._is_terminal:
            click.echo(f"\r\x1b[K{what}: {amount}", err=True, nl=False)
        else:
            click.echo(f"{what}: {amount}", err=True)
        self._is_shown = True
        self._next = time.monotonic() + (TERMINAL_S if self._is_terminal else LOG_S)

    def finish(self) -> None:
        """Remove the line from a terminal."""
        if self._is_shown and self._is_terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
