"""The names of files in headers. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from antiphon.core.draft import replace_surrogates
from antiphon.errors import Invalid
from antiphon.wire.media_types import INLINE
from antiphon.wire.user_content import NAME_MAX


def checked_name(header: str) -> str:
    """A file's name from a header, where it is percent-encoded UTF-8. Only the last part of a path is kept, and only
    printable characters. Raises `Invalid` if it is too long."""
    text = replace_surrogates(unquote(header, errors="replace"))
    name = "".join(char for char in re.split(r"[/\\]", text)[-1] if char.isprintable()).strip()
    if len(name) > NAME_MAX:
        raise Invalid("x-filename", f"a file's name has at most {NAME_MAX} characters")
    return "" if name in (".", "..") else name


def content_disposition(media_type: str, name: str) -> str:
    """The Content-Disposition of a file (RFC 6266), with its name for every reader (RFC 8187)."""
    kind = "inline" if media_type in INLINE else "attachment"
    if not name:
        return kind
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
