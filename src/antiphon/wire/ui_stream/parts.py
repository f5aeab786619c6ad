"""Parts as the AI SDK shows them: the chunk, or the part of a message, of sources, files, values and messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from antiphon.core.parts import Data, File, FileReference, Part, Source, Text, Unknown, Usage
from antiphon.wire.codec import encode
from antiphon.wire.file_addresses import file_url

Json = dict[str, Any]


def whole_chunk(part: Part, part_id: str) -> Json:
    """The chunk of a part that comes at once; as a part of a message it is the same. A part of a kind that the AI SDK
    does not have is a `data-` part: nothing is left out silently."""
    match part:
        case Source(url="", source_id=source_id, title=title):
            shown = {"sourceId": source_id or part_id, "mediaType": "text/plain", "title": title or source_id}
            return {"type": "source-document", **shown}
        case Source(url=url, source_id=source_id, title=title):
            more = {"title": title} if title else {}
            return {"type": "source-url", "sourceId": source_id or part_id, "url": url, **more}
        case Data(data=data, name=name):
            return {"type": f"data-{name or 'value'}", "id": part_id, "data": data}
        case File() | FileReference(file_id=str()):
            if (url := file_url(part)) and part.media_type:
                return {"type": "file", "url": url, "mediaType": part.media_type}
    if isinstance(part, Unknown):
        return {"type": f"data-{part.type}", "id": part_id, "data": part.raw}
    data = msgspec.to_builtins(part)
    return {"type": f"data-{data.pop('type')}", "id": part_id, "data": data}


def user_parts_json(content: Iterable[Part], message_id: str) -> list[Json]:
    """The content of a user's message as the parts of an AI SDK message."""
    shown: list[Json] = []
    for number, part in enumerate(content):
        if isinstance(part, Text):
            shown.append({"type": "text", "text": part.text})
            continue
        chunk = whole_chunk(part, f"{message_id}-{number}")
        name = part.name if isinstance(part, File) else getattr(part, "file_name", "")
        shown.append(chunk | ({"filename": name} if chunk["type"] == "file" and name else {}))
    return shown


def usage_json(usage: Usage) -> Json:
    """With the names of the AI SDK; unknown counts are left out."""
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cache_read_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def error_text(value: Any) -> str:
    """A failed tool's result as text."""
    return value if isinstance(value, str) else encode(value).decode()
