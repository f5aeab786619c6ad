"""Parts and calls that have no counterpart of their own in OpenAI's protocol."""

from __future__ import annotations

from typing import Any

from antiphon.core.parts import Data, File, FileReference, Source, Unknown
from antiphon.wire.codec import encode
from antiphon.wire.openai.ids import item_id

SERVER_LABEL = "antiphon"
"""The `server_label` of the tools that the server runs."""

Json = dict[str, Any]


def approval_id(chat_id: str, tool_call_id: str) -> str:
    """The id of the request to approve a call."""
    return item_id("mcpr", chat_id, tool_call_id)


def annotation_of(part: object, text: str) -> Json | None:
    """A source or an uploaded file, as an annotation at the end of the text before it."""
    if isinstance(part, Source):
        end = len(text)
        return {"type": "url_citation", "url": part.url, "title": part.title, "start_index": end, "end_index": end}
    if isinstance(part, FileReference) and part.file_id:
        return {"type": "file_citation", "file_id": part.file_id, "filename": part.file_name, "index": len(text)}
    return None


def words_for(part: object) -> str:
    """The text that stands for a part which Responses has no item for: nothing is left out silently."""
    if isinstance(part, Data):
        return encode(part.data).decode()
    if isinstance(part, File):
        return f"[file: {part.name or part.file_id or 'unnamed'}, {part.media_type}]"
    if isinstance(part, FileReference):
        return f"[{part.file_name}, lines {part.start_line} to {part.end_line}]\n{part.content}"
    kind = part.type if isinstance(part, Unknown) else type(part).__name__
    return f"[a part of the kind {kind}, which this API cannot show]"
