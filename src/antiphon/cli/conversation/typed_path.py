"""A path that a person has typed: any text at all, so most of them name nothing."""

from __future__ import annotations

from pathlib import Path


def typed_path(text: str) -> Path:
    """The path of a text. `~` and `~NAME` are home folders; without such a user, it is a plain name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_there(path: Path) -> bool:
    """Whether something has this path. A path that no file can have (too long, say) has nothing."""
    try:
        return path.exists()
    except OSError:
        return False
