"""A real terminal: tmux, whose screen is captured as text."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from programs import program
from support.waiting import wait_until_sync

from .conftest import COMMAND, environment


class Tmux:
    """A tmux server of its own with one window, in which a shell command runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmux = [program("tmux"), "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self.environment = environment(XDG_STATE_HOME=str(folder / "state"))
        self._run("new-session", "-d", "-s", "first", "read end")  # the tmux server ends with its last window

    def start(self, *arguments: str, columns: int = 80, lines: int = 24, **env: str) -> None:
        """Run the command in a new window; what it leaves stays on the screen."""
        subprocess.run([*self._tmux, "kill-session", "-t", "=run"], capture_output=True, check=False)
        command = f"{shlex.join([*COMMAND, *arguments])}; echo; echo exit code $?; read end"
        size = ["-x", str(columns), "-y", str(lines)]
        more = [item for name, value in env.items() for item in ("-e", f"{name}={value}")]
        self._run("new-session", "-d", "-s", "run", *size, *more, "-c", str(self._folder), command)

    def keys(self, *keys: str) -> None:
        """Names of keys, such as `Enter`, or text."""
        self._run("send-keys", "-t", "=run:", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self._run("resize-window", "-t", "=run:", "-x", str(columns), "-y", str(lines))

    def text(self, *options: str) -> str:
        return self._run("capture-pane", "-t", "=run:", "-p", "-S", "-", *options)

    def wait_for(self, shown: str) -> str:
        return wait_until_sync(self.text, what=f"{shown!r} is shown", accept=lambda text: shown in text)

    def stop(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, env=self.environment
        )
        return done.stdout
