"""Files of messages as a provider's request needs them. Pure."""

from __future__ import annotations

import base64
from typing import NamedTuple

from antiphon.core.parts import File, FileReference


class DecodedFile(NamedTuple):
    """A file's media type without parameters, its data as plain base64, and its bytes."""

    media_type: str
    data: str
    content: bytes


def decode_file(file: File) -> DecodedFile:
    """The bytes are empty if they are not here (the data is an address) or are no base64."""
    data = "".join(file.data.rpartition("base64,")[2].split())
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:  # invalid base64
        content = b""
    return DecodedFile(file.media_type.partition(";")[0].strip().lower(), data, content)


def named_file(file: File) -> str:
    """A file that a model cannot get in this place, in words."""
    media_type, _, content = decode_file(file)
    size = f", {len(content):,} bytes" if content else ""
    return f"[the file {file.name or 'without a name'} ({media_type or 'unknown type'}{size}) cannot be shown here]"


def reference_text(part: FileReference) -> str:
    """The lines that a part quotes. A stored file whose bytes are not here is named in words."""
    if part.file_id and not part.content:
        about = f" ({part.media_type}, {part.size:,} bytes)" if part.media_type else ""
        return f"[the file {part.file_name or part.file_id}{about} that cannot be shown here]"
    return f"{part.file_name}, lines {part.start_line} to {part.end_line}:\n```\n{part.content}\n```"
