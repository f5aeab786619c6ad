"""Files that a message names with `@`: found in the text, checked, and uploaded."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from antiphon.cli.conversation.typed_path import is_there, typed_path
from antiphon.errors import Invalid, Refused

if TYPE_CHECKING:
    from antiphon.client import AsyncClient

FILES_MAX = 20
"""Maximum number of files in one message."""

_MENTION = re.compile(r'(?<!\S)@(?:"(?P<quoted>[^"\n]+)"|(?P<plain>[^\s"@]+))')
_PATH = re.compile(r"[\w./~+%=,#-]+")
_PUNCTUATION = ".,;:!?)]}'"


class Mentions(NamedTuple):
    """The files that a text names, and the text as it is sent (`@@` is a plain `@`)."""

    text: str
    paths: list[Path]


def read_mentions(text: str, folder: Path) -> Mentions:
    """Raises `Invalid` for a path that does not exist, or is not a readable file. A word that cannot be a path is
    text, such as `@name`."""
    paths: list[Path] = []
    for found in _MENTION.finditer(text):
        path = _path_of(found, folder)
        if path is not None and path not in paths:
            paths.append(path)
    if len(paths) > FILES_MAX:
        raise Invalid("files", f"{len(paths)} files are too many for one message; the maximum is {FILES_MAX}")
    return Mentions(re.sub(r"(?<!\S)@@", "@", text), paths)


async def upload(client: AsyncClient | None, path: Path) -> dict[str, Any]:
    """Upload a file. Returns the part of a message that names it. Raises `Invalid` if it cannot be read."""
    if client is None:
        raise Refused("Files can be sent over HTTP only: use `antiphon chat`, or give its address with --url.")
    try:
        stored = await client.upload(path)
    except OSError as error:
        raise Invalid(path.name, error.strerror or str(error)) from error
    return {"type": "file-reference", "file_id": stored["file_id"], "file_name": path.name}


def _path_of(found: re.Match[str], folder: Path) -> Path | None:
    name = found["quoted"] or found["plain"]
    tries = [name] if found["quoted"] else [name, name.rstrip(_PUNCTUATION)]
    for tried in tries:
        path = folder / typed_path(tried)
        if tried and is_there(path):
            return _checked(path, tried)
    last = tries[-1]
    if not found["quoted"] and not _seems_path(last):
        return None
    raise Invalid(f"@{last}", "there is no such file; correct the path, or type @@ for a plain @")


def _seems_path(name: str) -> bool:
    return _PATH.fullmatch(name) is not None and ("/" in name or Path(name).suffix[1:].isalnum())


def _checked(path: Path, name: str) -> Path:
    if path.is_dir():
        raise Invalid(f"@{name}", "this is a folder; name a file in it")
    if not path.is_file():
        raise Invalid(f"@{name}", "this is not a regular file")
    if not os.access(path, os.R_OK):
        raise Invalid(f"@{name}", "this file may not be read")
    if path.stat().st_size == 0:
        raise Invalid(f"@{name}", "this file is empty")
    return path
