"""Names of tools and ids of calls as providers accept them. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from zlib import crc32

NAME_MAX = 64
"""Maximum length of a name that is sent to a provider, in characters."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")


_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def short_id(text: str) -> str:
    """The id of a call in nine letters and digits, as Mistral's API takes it."""
    if len(text) == 9 and text.isascii() and text.isalnum():
        return text
    number = int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:6])
    return "".join(_LETTERS[number // 36**power % 36] for power in range(9))


def accepted_name(text: str) -> str:
    """A tool's name, or the id of a call, as every provider takes it back: letters, digits, `_` and `-`, at most
    NAME_MAX of them. What has to be changed keeps its difference from others by a checksum."""
    if len(text) <= NAME_MAX and _NAME.fullmatch(text):
        return text
    return f"{_NO_NAME.sub('_', text)[: NAME_MAX - 9]}_{crc32(text.encode('utf-8', 'replace')):08x}"
