"""The names under which the tools of an MCP server are offered: valid for every model, and unique in their server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

NAME_MAX = 64
"""Maximum length of a tool's name, in characters: that of the providers of models."""
HASH_CHARACTERS = 8

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")


def offered_names(names: Iterable[str], prefix: str) -> dict[str, str]:
    """The offered name of each tool by the server's own name.

    A name is the prefix and the server's own name, with `_` for each character that models do not accept. Where that
    is longer than NAME_MAX, or two tools would have one name, the end of the name is a hash of the server's own name.
    So a name depends on nothing but the names that the server lists, and a stored call finds its tool again after a
    restart, on every instance.
    """
    plain = {name: prefix + _NOT_ALLOWED.sub("_", name) for name in names}
    uses: dict[str, int] = {}
    for short in plain.values():
        uses[short] = uses.get(short, 0) + 1
    return {
        name: short if len(short) <= NAME_MAX and uses[short] == 1 else _hashed(short, name)
        for name, short in plain.items()
    }


def _hashed(short: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:HASH_CHARACTERS]
    return f"{short[: NAME_MAX - HASH_CHARACTERS - 1]}_{digest}"
