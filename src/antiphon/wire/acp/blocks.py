"""Content blocks of the protocol, and the parts of messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from antiphon.core.parts import (
    Data,
    File,
    FileReference,
    Part,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from antiphon.errors import Invalid
from antiphon.wire.codec import encode

Block = dict[str, Any]

FIELD = "prompt"
TEXT_MAX = 16_384
"""Maximum length of the text of one block, in characters. A longer text is several blocks."""
INLINE_MAX = 4 << 20
"""Maximum length of the base64 of a file that is sent to the editor. A larger one is named, with its size."""
_LINES = re.compile(r"L(\d{1,9})(?:[-:]L?(\d{1,9}))?(?::\d+)?")
"""The lines of a resource in the fragment of its address, as editors write it."""


def user_content(blocks: Sequence[Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts of a user's message. Raises `Invalid` with the index of a block that cannot be stored."""
    parts: list[Part] = []
    for index, block in enumerate(blocks):
        part = _part_of(block, f"{FIELD}[{index}]")
        last = parts[-1] if parts else None
        if isinstance(part, Text) and isinstance(last, Text):
            parts[-1] = Text(last.text + part.text)  # a mention of a file stands in the middle of a sentence
        else:
            parts.append(part)
    if not parts:
        raise Invalid(FIELD, "a prompt has at least one content block")
    return tuple(parts)


def _part_of(block: Mapping[str, Any], field: str) -> Part:
    match block.get("type"):
        case "text":
            return Text(_string(block, "text", field))
        case "image" | "audio":
            return File(media_type=_string(block, "mimeType", field), data=_string(block, "data", field))
        case "resource_link":
            return Text(f"[@{_string(block, 'name', field)}]({_string(block, 'uri', field)})")
        case "resource":
            resource = block.get("resource")
            if not isinstance(resource, Mapping):
                raise Invalid(f"{field}.resource", "an object")
            return _resource(resource, f"{field}.resource")
    kind = str(block.get("type"))[:80]
    raise Invalid(field, f"text, image, audio, resource and resource_link can be stored, not {kind!r}")


def _resource(resource: Mapping[str, Any], field: str) -> Part:
    uri = _string(resource, "uri", field)
    name, lines = _name_of(uri)
    if isinstance(resource.get("blob"), str):
        media_type = resource.get("mimeType")
        return File(
            media_type=media_type if isinstance(media_type, str) else "",
            data=resource["blob"],
            name=name.rpartition("/")[2][-256:],
        )
    text = _string(resource, "text", field)
    start, end = lines or (1, max(len(text.splitlines()), 1))
    return FileReference(file_name=name, start_line=start, end_line=end, content=text)


def _name_of(uri: str) -> tuple[str, tuple[int, int] | None]:
    """The path of a file, or the address of another resource; and the lines that its fragment names."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri, None
    found = _LINES.fullmatch(parts.fragment)
    lines = (int(found[1]), int(found[2] or found[1])) if found else None
    if parts.scheme == "file":
        return unquote(parts.path), lines
    return (uri.partition("#")[0] if lines else uri), lines


def _string(block: Mapping[str, Any], key: str, field: str) -> str:
    value = block.get(key)
    if not isinstance(value, str):
        raise Invalid(f"{field}.{key}", "a string")
    return value


# --- to the editor


def blocks_of(parts: Iterable[Part]) -> Iterator[Block]:
    """The blocks that show parts. Tool calls and their results are shown as such, not here."""
    for part in parts:
        match part:
            case Text(text=text) | Reasoning(text=text):
                yield from map(text_block, pieces_of(text))
            case File():
                yield _file(part)
            case FileReference(file_id=""):
                resource = {"uri": _uri_of(part), "text": part.content}
                yield {"type": "resource", "resource": resource}
            case FileReference():
                yield _link(f"antiphon:files/{part.file_id}", part.file_name or part.file_id, part)
            case Source(url=url, title=title):
                yield {"type": "resource_link", "uri": url, "name": title or url}
            case Data(data=data, name=name):
                text = encode(data).decode()
                resource = {"uri": f"antiphon:data/{quote(name)}", "mimeType": "application/json", "text": text}
                yield {"type": "resource", "resource": resource}
            case Unknown(type=kind):
                yield text_block(f"[a part of the kind {kind[:80]}, which this version cannot show]")
            case ToolCall() | ToolResult():
                pass


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}


def pieces_of(text: str) -> Iterator[str]:
    """A text in pieces of at most TEXT_MAX characters."""
    for start in range(0, len(text), TEXT_MAX):
        yield text[start : start + TEXT_MAX]


def _file(part: File) -> Block:
    kind = part.media_type.partition("/")[0]
    if len(part.data) > INLINE_MAX or not part.data:
        shown = _link("antiphon:file", part.name or "a file", part)
        return shown | {"size": len(part.data) * 3 // 4}
    if kind in ("image", "audio"):
        return {"type": kind, "mimeType": part.media_type, "data": part.data}
    uri = f"antiphon:file/{quote(part.name)}"
    return {"type": "resource", "resource": {"uri": uri, "mimeType": part.media_type, "blob": part.data}}


def _link(uri: str, name: str, part: File | FileReference) -> Block:
    shown: Block = {"type": "resource_link", "uri": uri, "name": name}
    if part.media_type:
        shown["mimeType"] = part.media_type
    if isinstance(part, FileReference) and part.size:
        shown["size"] = part.size
    return shown


def _uri_of(part: FileReference) -> str:
    lines = f"#L{part.start_line}:{part.end_line}"
    name = part.file_name
    return f"file://{quote(name)}{lines}" if name.startswith("/") else f"{name}{lines}"
