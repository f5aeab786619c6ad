"""The result of an MCP tool as the JSON value of a tool result: bounded, and readable for models and people."""

from __future__ import annotations

from typing import Any

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from antiphon.worker.tools.tool import OUTPUT_BYTES_MAX, cap_output

BLOCKS_MAX = 64
"""Maximum number of content blocks of one result that are kept."""
BINARY_CHARACTERS_MAX = OUTPUT_BYTES_MAX // 2
"""Maximum size of the base64 text of all images, sounds and files of one result, in characters. A larger one is
replaced by its size."""


def value_of(result: CallToolResult) -> Any:
    """The structured content of a result where it has only text beside it; its text; or else a list of its blocks.

    Text is in the blocks as well where a server sends structured content, so the text is left out then.
    """
    blocks = result.content[:BLOCKS_MAX]
    if all(isinstance(block, TextContent) for block in blocks):
        if result.structured_content is not None:
            return cap_output(result.structured_content)
        return cap_output("\n".join(block.text for block in blocks if isinstance(block, TextContent)))
    left = BINARY_CHARACTERS_MAX
    shown: list[dict[str, Any]] = []
    for block in blocks:
        value = _shown(block)
        if (data := value.get("data")) is not None:
            if len(data) > left:
                del value["data"]
                value["omitted"] = f"{len(data):,} characters of base64, {BINARY_CHARACTERS_MAX:,} are the maximum"
            else:
                left -= len(data)
        shown.append(value)
    if len(result.content) > BLOCKS_MAX:
        shown.append({"type": "text", "text": f"[cut: {len(result.content):,} blocks, {BLOCKS_MAX} shown]"})
    whole: dict[str, Any] = {"content": shown}
    if result.structured_content is not None:
        whole["structured"] = result.structured_content
    return cap_output(whole)


def _shown(block: Any) -> dict[str, Any]:
    match block:
        case TextContent():
            return {"type": "text", "text": block.text}
        case ImageContent() | AudioContent():
            return {"type": block.type, "media_type": block.mime_type, "data": block.data}
        case ResourceLink():
            return {"type": "link", "uri": str(block.uri), "name": block.name, "media_type": block.mime_type}
        case EmbeddedResource():
            resource = block.resource
            head = {"type": "file", "uri": str(resource.uri), "media_type": resource.mime_type}
            if isinstance(resource, BlobResourceContents):
                return head | {"data": resource.blob}
            return head | {"text": resource.text}
        case _:
            return {"type": "unknown"}
