"""The width and height of an image, from its first bytes. Pure.

Only the formats that the web UI shows are read. The bytes come from users, so nothing is trusted: a size that is not
there, or is not plausible, is unknown.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEAD_BYTES = 64 * 1024
"""How many bytes of an image are searched for its size."""
PIXELS_MAX = 100_000
"""Maximum width and height that are believed, in pixels."""
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""The markers of JPEG's frames, whose header has the size."""


class ImageSize(NamedTuple):
    """In pixels; zeros if the size is unknown."""

    width: int
    height: int


UNKNOWN = ImageSize(0, 0)


def image_size(media_type: str, head: bytes) -> ImageSize:
    """The size of an image, from its first HEAD_BYTES bytes. An image that its metadata rotates has the size before
    that."""
    read = _READERS.get(media_type)
    if read is None:
        return UNKNOWN
    try:
        width, height = read(head[:HEAD_BYTES])
    except (struct.error, IndexError):  # truncated
        return UNKNOWN
    is_plausible = 0 < width <= PIXELS_MAX and 0 < height <= PIXELS_MAX
    return ImageSize(width, height) if is_plausible else UNKNOWN


def _png(head: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", head, 16) if head[12:16] == b"IHDR" else (0, 0)


def _gif(head: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", head, 6)


def _webp(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8 ":  # lossy: 14 bits each, after a frame tag and a start code
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":  # lossless: 14 bits each, less one
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":  # extended: 24 bits each, less one
            width_low, width_high, height_low, height_high = struct.unpack_from("<HBHB", head, 24)
            return (width_low | width_high << 16) + 1, (height_low | height_high << 16) + 1
    return 0, 0


def _jpeg(head: bytes) -> tuple[int, int]:
    """From the first frame header. The segments before it, such as metadata, are passed by their lengths."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        (length,) = struct.unpack_from(">H", head, at + 2)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + max(length, 2)
    return 0, 0


_READERS = {"image/png": _png, "image/gif": _gif, "image/webp": _webp, "image/jpeg": _jpeg}
