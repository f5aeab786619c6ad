"""The size of images, read from their first bytes."""

from __future__ import annotations

import random

import pytest

from antiphon.wire.image_size import UNKNOWN, image_size

PNG = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000000200000001008060000")
GIF = b"GIF89a" + bytes.fromhex("20001000f00000")
JPEG = bytes.fromhex("ffd8ffe00010") + bytes(14) + bytes.fromhex("ffffc00011080010002003012200021101031101")
LOSSY = b"RIFF\0\0\0\0WEBPVP8 " + bytes(4) + bytes.fromhex("3001009d012a20001000")
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + (31 | 15 << 14).to_bytes(4, "little")
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + bytes.fromhex("1f00000f0000")
IMAGES = [
    ("image/png", PNG),
    ("image/gif", GIF),
    ("image/jpeg", JPEG),
    ("image/webp", LOSSY),
    ("image/webp", LOSSLESS),
    ("image/webp", EXTENDED),
]


@pytest.mark.parametrize(("media_type", "head"), IMAGES)
def test_the_size_of_each_format_is_found(media_type: str, head: bytes) -> None:
    assert image_size(media_type, head) == (32, 16)
    assert image_size(media_type, head + bytes(1000)) == (32, 16)


@pytest.mark.parametrize(("media_type", "head"), IMAGES)
def test_the_size_of_a_damaged_image_is_unknown_or_plausible(media_type: str, head: bytes) -> None:
    seeded = random.Random(7)
    for end in range(len(head)):
        assert image_size(media_type, head[:end]) in (UNKNOWN, (32, 16))
    for _ in range(2000):
        damaged = bytearray(head)
        damaged[seeded.randrange(len(head))] = seeded.randrange(256)
        width, height = image_size(media_type, bytes(damaged))
        assert 0 <= width <= 100_000
        assert 0 <= height <= 100_000


def test_a_jpeg_of_endless_segments_ends() -> None:
    assert image_size("image/jpeg", b"\xff\xd8" + b"\xff\xe0\x00\x00" * 100_000) == UNKNOWN


def test_other_types_have_no_size() -> None:
    assert image_size("image/svg+xml", b"<svg width='3'/>") == UNKNOWN
    assert image_size("text/plain", PNG) == UNKNOWN
