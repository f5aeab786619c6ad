"""An agent with tools that return files, for the tests of the web UI."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from antiphon import Agent, ToolContext, tool

SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><script>
document.title = "pwned"; alert("pwned"); fetch("/api/v1/chats");
</script><rect width="200" height="100" fill="red"/></svg>"""


def png(width: int, height: int) -> bytes:
    """An image with a gradient."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(
        b"\0" + b"".join(bytes((255 * x // width, 120, 255 * y // height)) for x in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@tool
async def chart(context: ToolContext) -> Any:
    """Draw a chart and write a report."""
    return {
        "chart": await context.store_file(png(1600, 800), media_type="image/png", name="sales by month.png"),
        "report": await context.store_file(b"%PDF-1.7" + bytes(1_500_000), name="report <b>2026.pdf"),
    }


@tool
async def drawing(context: ToolContext) -> Any:
    """Return an SVG image with a script."""
    return await context.store_file(SVG, media_type="image/svg+xml", name="drawing.svg")


agent = Agent(tools=[chart, drawing])
