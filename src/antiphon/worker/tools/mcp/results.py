"""The result of an MCP tool as the JSON value of a tool result: bounded, and readable for models and people.

Images, sounds and embedded resources become stored files, which the result names: people see them, and models that
can read them get them.
"""

from __future__ import annotations

import base64
import binascii
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

from antiphon.core.parts import FileReference
from antiphon.errors import AttemptFailed
from antiphon.wire.result_files import shown_reference
from antiphon.worker.tools.tool import FileRefused, ToolContext, cap_output

BLOCKS_MAX = 64
"""Maximum number of content blocks of one result that are kept."""
INLINE_CHARACTERS_MAX = 16 * 1024
"""Maximum length of an embedded text that is part of the result, in characters. A longer one becomes a file."""


async def value_of(result: CallToolResult, context: ToolContext) -> Any:
    """The structured content of a result where it has only text beside it; its text; or else a list of its blocks.

    Text is in the blocks as well where a server sends structured content, so the text is left out then.
    """
    blocks = result.content[:BLOCKS_MAX]
    if all(isinstance(block, TextContent) for block in blocks):
        if result.structured_content is not None:
            return cap_output(result.structured_content)
        return cap_output("\n".join(block.text for block in blocks if isinstance(block, TextContent)))
    shown = [await _shown(block, context) for block in blocks]
    if len(result.content) > BLOCKS_MAX:
        shown.append({"type": "text", "text": f"[cut: {len(result.content):,} blocks, {BLOCKS_MAX} shown]"})
    files = [block for block in shown if block["type"] == "file-reference"]
    whole: dict[str, Any] = {"content": shown}
    if result.structured_content is not None:
        whole["structured"] = result.structured_content
    capped = cap_output(whole)
    return {"content": files, "cut": capped} if files and isinstance(capped, str) else capped


async def _shown(block: Any, context: ToolContext) -> dict[str, Any]:
    match block:
        case TextContent():
            return {"type": "text", "text": block.text}
        case ImageContent() | AudioContent():
            return await _stored({"type": block.type}, _decoded(block.data), block.mime_type, "", context)
        case ResourceLink():
            return {"type": "link", "uri": str(block.uri), "name": block.name, "media_type": block.mime_type}
        case EmbeddedResource():
            resource = block.resource
            head: dict[str, Any] = {"type": "resource", "uri": str(resource.uri)}
            media_type, name = resource.mime_type or "", _name_in(str(resource.uri))
            if isinstance(resource, BlobResourceContents):
                return await _stored(head, _decoded(resource.blob), media_type, name, context)
            if len(resource.text) > INLINE_CHARACTERS_MAX:
                data = resource.text.encode("utf-8", "replace")
                return await _stored(head, data, media_type or "text/plain", name, context)
            return head | {"media_type": media_type, "text": resource.text}
        case _:
            return {"type": "unknown"}


async def _stored(
    head: dict[str, Any], data: bytes | None, media_type: str, name: str, context: ToolContext
) -> dict[str, Any]:
    """The bytes of a block as a stored file. What cannot be stored is omitted, with the reason."""
    described = head | {"media_type": media_type}
    if not data:
        return described | {"omitted": "the server sent no valid base64" if data is None else "it is empty"}
    try:
        reference = await _store(data, media_type, name, context)
    except FileRefused as error:
        return described | {"omitted": error.message}
    except AttemptFailed as error:
        return described | {"omitted": str(error)}
    uri = {"uri": head["uri"]} if "uri" in head else {}
    return shown_reference(reference) | uri


async def _store(data: bytes, media_type: str, name: str, context: ToolContext) -> FileReference:
    try:
        return await context.store_file(data, media_type=media_type, name=name)
    except FileRefused as error:
        if error.code != "invalid" or not media_type:
            raise
    return await context.store_file(data, name=name)  # the bytes are of another type than the server says


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _name_in(uri: str) -> str:
    """The name of a resource: the last segment of the path of its address."""
    return uri.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
