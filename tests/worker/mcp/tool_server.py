"""An MCP server made with the official SDK, for tests: `tool_server.py LOG [PORT]`, over stdio or streamable HTTP.

It writes to LOG, one line each, which calls began and how they ended. (LOG, and not what it answers, is the evidence
of what has run.)
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextResourceContents,
    ToolAnnotations,
)

LOG = Path(sys.argv[1])
PNG = bytes.fromhex("89504e470d0a1a0a")

server = MCPServer("tools")


def note(line: str) -> None:
    with LOG.open("a") as log:
        log.write(f"{line}\n")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    note(f"add {a} {b}")
    return a + b


@server.tool()
async def echo(text: str, ctx: Context, wait_s: float = 0.0) -> str:
    """Report the text as progress, then return it."""
    await ctx.report_progress(1, 2, text)
    await anyio.sleep(wait_s)
    return text


@server.tool()
async def slow(name: str, ctx: Context, wait_s: float = 60.0) -> str:
    """Wait."""
    note(f"begin {name}")
    try:
        await ctx.report_progress(1, 10, f"{name} has begun")
        await anyio.sleep(wait_s)
    except anyio.get_cancelled_exc_class():
        note(f"cancelled {name}")
        raise
    note(f"end {name}")
    return name


@server.tool()
def trace(ctx: Context) -> str:
    """The trace context of the request."""
    return str(dict(ctx.request_context.meta or {}).get("traceparent", ""))


@server.tool()
def fail(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


@server.tool()
def person() -> dict[str, Any]:
    """A structured result."""
    return {"name": "Ada", "age": 36}


@server.tool()
def picture(size: int = 8) -> Image:
    """An image of `size` bytes."""
    return Image(data=PNG + bytes(max(0, size - len(PNG))), format="png")


def image(size: int, media_type: str = "image/png") -> ImageContent:
    data = base64.b64encode(PNG + bytes(size - len(PNG))).decode()
    return ImageContent(type="image", data=data, mime_type=media_type)


@server.tool(structured_output=False)
def gallery() -> CallToolResult:
    """Every kind of content that is not text."""
    pdf = base64.b64encode(b"%PDF-1.7").decode()
    return CallToolResult(
        content=[
            image(300_000),
            AudioContent(type="audio", data="UklGRg==", mime_type="audio/wav"),
            EmbeddedResource(
                type="resource", resource=TextResourceContents(uri="note://a", mime_type="text/plain", text="a note")
            ),
            EmbeddedResource(
                type="resource",
                resource=BlobResourceContents(
                    uri="file:///reports/report.pdf", mime_type="application/pdf", blob=pdf
                ),
            ),
            ImageContent(type="image", data="no base64!", mime_type="image/png"),
        ]
    )


@server.tool(structured_output=False)
def mislabelled() -> CallToolResult:
    """An image of another type than its label."""
    return CallToolResult(content=[image(100, "image/jpeg")])


@server.tool()
def environment() -> list[str]:
    """The names of the environment variables of this process."""
    return sorted(os.environ)


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Offer one more tool."""

    def grown() -> str:
        return f"I am {name}"

    server.add_tool(grown, name=name, description="A tool that was added.")
    await ctx.notify_tools_changed()
    return "grown"


@server.tool()
def die(name: str) -> str:
    """End the process in the middle of the call."""
    note(f"die {name}")
    os._exit(1)


if __name__ == "__main__":
    note("start")
    if len(sys.argv) > 2:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")
