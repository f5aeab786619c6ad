"""Parts of A2A's messages and artifacts, from and to the parts of this server.

A part of a client is text, the bytes of a file, the address of a file that is stored here, or a JSON value. Values
become text, because a model reads text; one that names an open tool call is its answer instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import Data, File, FileReference, Part, Text, Unknown
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.wire.a2a.errors import wrong_content
from antiphon.wire.a2a.requests import OWN, fields_of
from antiphon.wire.codec import encode
from antiphon.wire.file_addresses import file_of_url, file_url
from antiphon.wire.json_fields import NAME_MAX, string_in
from antiphon.wire.tool_answers import ToolAnswer
from antiphon.wire.user_content import checked_file

Json = dict[str, Any]

INPUT_MODES = (
    *("text/plain", "text/markdown", "text/html", "text/csv", "application/json", "application/pdf"),
    *("image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav"),
)
"""The media types that the agent card names. Others of the same families are accepted, too."""
OUTPUT_MODES = ("text/plain", "application/json")
_FAMILIES = ("text/", "image/", "audio/", "video/")
_APPLICATIONS = frozenset(
    {"application/json", "application/pdf", "application/xml", "application/yaml", "application/octet-stream"}
)
_CONTENT = ("text", "raw", "url", "data")
_URL_SAFE = str.maketrans("-_", "+/")


class Said(Value, gc=True):
    """What a message of a client says: its content, and its answers to tool calls by their ids."""

    content: tuple[Part, ...]
    answers: dict[str, ToolAnswer]

    @property
    def text(self) -> str:
        """The text of a message that has only text."""
        is_text = all(isinstance(part, Text) for part in self.content)
        return "\n".join(part.text for part in self.content if isinstance(part, Text)) if is_text else ""


def read_parts(parts: Sequence[Mapping[str, Any]], place: str) -> Said:
    """The parts of a client's message.

    Raises:
        Invalid: A part is not one of A2A's, or two parts answer the same call.
        RpcRefused: A part has a media type, or is at an address, that is not accepted.
    """
    content: list[Part] = []
    answers: dict[str, ToolAnswer] = {}
    for number, given in enumerate(parts):
        field = f"{place}[{number}]"
        part = fields_of(given) | ({"data": None} if "data" in given and given["data"] is None else {})
        kinds = [kind for kind in _CONTENT if kind in part]
        if len(kinds) != 1:
            raise Invalid(field, f"a part has one of {', '.join(_CONTENT)}")
        answer = _answer(part["data"], field) if kinds[0] == "data" else None
        if answer is None:
            content.append(_part(kinds[0], part, field))
        elif answer.tool_call_id in answers:
            raise Invalid(field, f"the tool call {answer.tool_call_id[:80]!r} is answered twice")
        else:
            answers[answer.tool_call_id] = answer
    return Said(content=tuple(content), answers=answers)


def _part(kind: str, part: Json, field: str) -> Part:
    if kind == "data":
        return Text(encode(part["data"]).decode())
    value = string_in(part, kind, field)
    if kind == "text":
        return Text(value)
    name = string_in(part, "filename", field) if "filename" in part else ""
    media_type = string_in(part, "mediaType", field).partition(";")[0].strip().lower() if "mediaType" in part else ""
    if media_type and not media_type.startswith(_FAMILIES) and media_type not in _APPLICATIONS:
        raise wrong_content(f"{field}.mediaType", f"files of type {media_type[:80]!r} are not accepted")
    if kind == "raw":
        return checked_file(File(media_type=media_type, data=value.translate(_URL_SAFE), name=name), field)
    try:
        return file_of_url(value, name, f"{field}.url")
    except Invalid as error:
        raise wrong_content(error.field, error.reason) from error


def _answer(data: Any, field: str) -> ToolAnswer | None:
    """The answer to a tool call that a value is; None for any other value."""
    if not isinstance(data, Mapping):
        return None
    call_id = data.get("toolCallId", data.get("tool_call_id"))
    given = [key for key in ("approved", "result", "answer") if key in data]
    if not isinstance(call_id, str) or not given:
        return None
    if len(given) > 1 or not 0 < len(call_id) <= NAME_MAX:
        raise Invalid(field, "an answer has toolCallId, and one of approved, result or answer")
    call_id = replace_surrogates(call_id)
    if given[0] != "approved":
        is_error = data.get("isError", data.get("is_error", False)) is True
        return ToolAnswer(tool_call_id=call_id, value=data[given[0]], is_error=is_error)
    if not isinstance(data["approved"], bool):
        raise Invalid(f"{field}.data.approved", "true or false")
    args, reason = data.get("args"), data.get("reason", "")
    if args is not None and not isinstance(args, dict):
        raise Invalid(f"{field}.data.args", "an object")
    reason = replace_surrogates(reason) if isinstance(reason, str) else ""
    return ToolAnswer(tool_call_id=call_id, is_approved=data["approved"], args=args, reason=reason)


# --- to clients


def part_json(part: Part, base_url: str) -> Json:
    """A part for a client. What A2A has no part for, such as a source, is a value. `base_url` is that of this
    server."""
    match part:
        case Text(text=text):
            return {"text": text}
        case File(data=data) if data:
            return {"raw": data, **_described(part.media_type, part.name)}
        case File() | FileReference() if address := file_url(part):
            name = part.name if isinstance(part, File) else part.file_name
            return {"url": base_url + address, **_described(part.media_type, name)}
        case Data(data=data, name=name):
            return _value(data, {"name": name} if name else {})
        case Unknown(raw=raw, type=kind):
            return _value(raw, {"type": kind})
    shown = msgspec.to_builtins(part)
    shown.pop("provider_metadata", None)
    return _value(shown, {"type": shown.pop("type")})


def parts_json(parts: Iterable[Part], base_url: str) -> list[Json]:
    return [part_json(part, base_url) for part in parts]


def _value(data: Any, own: Json) -> Json:
    more = {"metadata": {OWN: own}} if own else {}
    return {"data": data, "mediaType": "application/json", **more}


def _described(media_type: str, name: str) -> Json:
    return ({"mediaType": media_type} if media_type else {}) | ({"filename": name} if name else {})
