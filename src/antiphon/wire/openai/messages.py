"""Stored messages as items of a conversation. An answer's items have the same ids as in its response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Needs
from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.wire.codec import decode_content, encode
from antiphon.wire.openai.ids import item_id
from antiphon.wire.openai.parts import SERVER_LABEL, annotation_of, approval_id, words_for

Json = dict[str, Any]


def message_items(chat_id: str, entry: Entry) -> list[Json]:
    """The items of a message, in order; none if it is hidden."""
    fact = entry.fact
    if not isinstance(fact, MessageAppended) or entry.content is None:
        return []
    content = decode_content(entry.content)
    if fact.role is Role.USER:
        return [_user_item(chat_id, entry.seq, content)]
    if fact.role is Role.TOOL:
        return [_result_item(chat_id, entry.seq, part) for part in content if isinstance(part, ToolResult)]
    draft = fact.closes.draft if fact.closes else entry.seq
    needs = {call.tool_call_id: call.needs for call in fact.calls}
    status = "incomplete" if fact.interrupted else "completed"
    return list(_answer_items(chat_id, entry.seq, draft, content, needs, status))


def _user_item(chat_id: str, seq: int, content: tuple[Part, ...]) -> Json:
    parts = [_user_part(part) for part in content]
    shown: Json = {"id": item_id("msg", chat_id, seq), "type": "message", "role": "user", "status": "completed"}
    return shown | {"content": parts}


def _user_part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, FileReference) and part.file_id:
        return {"type": "input_file", "file_id": part.file_id, "filename": part.file_name or None}
    if isinstance(part, File):
        url = f"data:{part.media_type};base64,{part.data}"
        if part.media_type.startswith("image/"):
            return {"type": "input_image", "image_url": url, "detail": "auto", "file_id": None}
        return {"type": "input_file", "file_data": url, "filename": part.name or None}
    return {"type": "input_text", "text": words_for(part)}


def _result_item(chat_id: str, seq: int, part: ToolResult) -> Json:
    output = part.result if isinstance(part.result, str) else encode(part.result).decode()
    shown: Json = {"id": item_id("fco", chat_id, seq), "type": "function_call_output", "status": "completed"}
    return shown | {"call_id": part.tool_call_id, "output": output}


def _answer_items(
    chat_id: str, seq: int, draft: int, content: tuple[Part, ...], needs: dict[str, Needs], status: str
) -> Iterator[Json]:
    number = 0
    message: Json | None = None
    calls = [part for part in content if isinstance(part, ToolCall)]
    for part in content:
        if isinstance(part, ToolCall | ToolResult) or (isinstance(part, Text | Reasoning) and not part.text):
            continue
        text = message["content"][0]["text"] if message is not None else ""
        annotation = annotation_of(part, text)
        if annotation is not None and message is not None:
            message["content"][0]["annotations"].append(annotation)
        else:
            if message is not None:
                yield message
            message = None
            if isinstance(part, Reasoning):
                summary = [{"type": "summary_text", "text": part.text}]
                yield {"id": item_id("rs", chat_id, draft, number), "type": "reasoning", "summary": summary}
            else:
                words = "" if annotation else part.text if isinstance(part, Text) else words_for(part)
                message = _answer_item(item_id("msg", chat_id, draft, number), words, annotation, status)
        number += 1
    if message is not None:
        yield message
    for place, call in enumerate(calls):
        yield _call_item(chat_id, seq, place, call, needs.get(call.tool_call_id, Needs.SERVER))


def _answer_item(name: str, text: str, annotation: Json | None, status: str) -> Json:
    annotations = [annotation] if annotation else []
    part = {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": [part]}


def _call_item(chat_id: str, seq: int, place: int, call: ToolCall, needs: Needs) -> Json:
    arguments = encode(call.args).decode()
    if needs is Needs.APPROVAL:
        shown: Json = {"id": approval_id(chat_id, call.tool_call_id), "type": "mcp_approval_request"}
        return shown | {"name": call.tool_name, "arguments": arguments, "server_label": SERVER_LABEL}
    shown = {"id": item_id("fc", chat_id, seq, place), "type": "function_call", "status": "completed"}
    return shown | {"call_id": call.tool_call_id, "name": call.tool_name, "arguments": arguments}
