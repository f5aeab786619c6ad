"""The key of this user that encrypts secrets of providers, where the operator gave none: a file in the user's folder
of configuration, apart from the data. It is created for the first secret."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


class UserKeyFile:
    """A file with keys, one per line (0600). Any number of processes of the user may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def of(env: Mapping[str, str]) -> UserKeyFile | None:
        """By the XDG base directories; None for a user without a home."""
        given = env.get("XDG_CONFIG_HOME") or ""
        folder = Path(given) if given.startswith("/") else Path(env["HOME"]) / ".config" if env.get("HOME") else None
        return UserKeyFile(folder / "antiphon" / "secret.key") if folder is not None else None

    def read(self) -> str:
        """The text of the file; empty if there is none that only its user may read."""
        try:
            with open(self.path) as file:
                return file.read(64 * 1024) if not os.fstat(file.fileno()).st_mode & 0o077 else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def create(self, key: str) -> str:
        """Write a key unless another process has; returns the text of the file. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The name is random: a process id is not unique among containers, and a file of that name may be a link to
        # the key that a crash has left, which would be overwritten.
        temporary = self.path.with_name(f".secret.key.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, self.path)  # unlike a rename it does not replace the key of another process
        temporary.unlink()
        _sync(self.path.parent)  # before a secret is stored that only this key opens
        return self.read()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
