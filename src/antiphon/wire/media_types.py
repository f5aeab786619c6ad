"""Media types of uploaded files: what is declared, what the bytes show, and what a browser may display. Pure.

A browser never decides by the bytes (`nosniff`), so the declared type is what it acts on. A file is displayed inside
a page (`inline`) only if its type is one of a few that cannot run a script, and only if its bytes were found to be of
that type. Everything else is downloaded.
"""

from __future__ import annotations

import re

from antiphon.errors import Invalid

ANY = "application/octet-stream"
"""The media type of bytes without a declared one."""
MEDIA_TYPE_MAX = 127
"""Maximum length of a media type, in characters."""
HEAD_BYTES = 4096
"""How many bytes of a file are checked: its head."""
PDF_JUNK_MAX = 1024
"""Within how many bytes a PDF must begin: readers accept other bytes before it."""
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
"""The types that a browser may display inside a page."""

_TOKEN = r"[a-z0-9!#$&^_.+-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}")
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
_FIELD = "content-type"


def checked_media_type(declared: str, head: bytes) -> str:
    """The media type of a file, in lower case and without parameters.

    Args:
        declared: The Content-Type that was sent with it; empty: by the bytes.
        head: Its first HEAD_BYTES bytes.

    Raises:
        Invalid: It is not a media type, or the bytes are not of the declared type.
    """
    media_type = declared.partition(";")[0].strip().lower() or ANY
    media_type = _ALIASES.get(media_type, media_type)
    if len(media_type) > MEDIA_TYPE_MAX or not _MEDIA_TYPE.fullmatch(media_type):
        raise Invalid(_FIELD, "a media type is written as in image/png")
    found = sniffed_type(head)
    if media_type == ANY:
        return found or ANY
    is_checked = media_type in INLINE or media_type == "application/pdf"
    is_text = media_type == "text/plain" and found is None and b"\0" not in head
    if media_type != found and not is_text and (is_checked or (found and media_type.startswith("image/"))):
        raise Invalid(_FIELD, f"the bytes are not {media_type}" + (f", but {found}" if found else ""))
    return media_type


def sniffed_type(head: bytes) -> str | None:
    """The type that the first bytes of a file show, of those that are checked; None: they show none."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if b"%PDF-" in head[:PDF_JUNK_MAX]:
        return "application/pdf"
    return None
