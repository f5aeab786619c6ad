"""The items of a Response and their events: messages, reasoning, function calls, calls of the server's tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from antiphon.core.model import Needs
from antiphon.core.parts import File, Text
from antiphon.wire.codec import encode
from antiphon.wire.openai.ids import ResponseId, item_id
from antiphon.wire.openai.numbers import sequence_number
from antiphon.wire.openai.parts import SERVER_LABEL, annotation_of, approval_id, words_for
from antiphon.wire.turn_output import CallDone, CallMade, PartBegun, PartKey, PartText, Place, WholePart

Json = dict[str, Any]

TEXT_DELTA = "response.output_text.delta"
REASONING_DELTA = "response.reasoning_summary_text.delta"


class StreamEvent(NamedTuple):
    """An event of the protocol: its type, and its JSON as of the moment when it was made."""

    type: str
    data: bytes


class Item:
    """An item of the output. `message_id` is 0 until its message is committed."""

    __slots__ = ("delta_head", "delta_place", "draft", "index", "json", "message_id", "pieces")

    def __init__(self, index: int, draft: int, json: Json) -> None:
        self.index = index
        self.draft = draft
        self.json = json
        self.message_id = 0
        self.pieces: list[str] = []
        """The text so far; it is put into `json` when the item is complete, or shown."""
        self.delta_head = self.delta_place = b""
        """What all deltas of the item have as server-sent events: up to their number, and up to their text."""

    def begin_deltas(self, kind: str, fields: Json) -> None:
        """Pieces of text follow."""
        self.delta_head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (kind.encode(), kind.encode())
        self.delta_place = encode(fields)[1:-1] + b',"delta":'

    @property
    def part(self) -> Json:
        """The content of a message, or the summary of a reasoning, with its text so far."""
        part: Json = self.json["content" if self.json["type"] == "message" else "summary"][0]
        if self.pieces:
            part["text"] += "".join(self.pieces)
            self.pieces.clear()
        return part

    def settle(self) -> Json:
        """The item as JSON, with its text so far."""
        if self.pieces:
            assert self.part
        return self.json


class ItemStream:
    """Makes the events of items. A text stays open until what follows it is known: sources may still be added.

    `starting_after`: the client has the events up to this number. They are left out, and the delta across it is cut.
    """

    def __init__(self, response_id: ResponseId, starting_after: int) -> None:
        self.id = response_id
        self.items: list[Item] = []
        self.last_number = starting_after
        self._starting_after = starting_after
        self._open: Item | None = None
        self._parts: dict[PartKey, Item] = {}
        self._calls: dict[str, Item] = {}
        self._announced = 0
        self._place = Place(response_id.after, 0)
        self._used = 0

    def move_to(self, place: Place) -> None:
        """The next events get the numbers of this place, one after another."""
        self._place, self._used = place, 0

    def events(self, *events: tuple[str, Json]) -> Iterator[StreamEvent]:
        for kind, fields in events:
            number = sequence_number(self.id.after, Place(self._place.seq, self._place.step + self._used))
            self._used += 1
            if number > self._starting_after:
                self.last_number = number
                yield made_event(kind, number, fields)

    # --- text and reasoning

    def begin_part(self, output: PartBegun) -> Iterator[StreamEvent]:
        key = output.key
        if output.kind is Text:
            yield from self._begin_message(key)
            return
        shown = {"id": self._id("rs", *key), "type": "reasoning", "summary": [], "status": "in_progress"}
        item = self._announce(key.draft, shown)
        self._parts[key] = self._open = item
        summary = _where(item) | {"summary_index": 0}
        yield from self.events(
            _added(item),
            ("response.reasoning_summary_part.added", summary | {"part": {"type": "summary_text", "text": ""}}),
        )
        item.json["summary"] = [{"type": "summary_text", "text": ""}]
        item.begin_deltas(REASONING_DELTA, summary)

    def _begin_message(self, key: PartKey) -> Iterator[StreamEvent]:
        shown = {
            "id": self._id("msg", *key),
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        item = self._announce(key.draft, shown)
        self._parts[key] = self._open = item
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield from self.events(_added(item), ("response.content_part.added", _in_message(item) | {"part": part}))
        item.json["content"] = [part]
        item.begin_deltas(TEXT_DELTA, _in_message(item) | {"logprobs": []})

    def _announce(self, draft: int, shown: Json) -> Item:
        item = Item(self._announced, draft, shown)
        self._announced += 1
        self.items.append(item)
        return item

    def text(self, output: PartText) -> StreamEvent | None:
        """The delta of a piece of text; None if the client has it."""
        data = self.text_sse(output)
        if not data:
            return None
        kind, _, json = data.partition(b"\ndata: ")
        return StreamEvent(kind.removeprefix(b"event: ").decode(), json[:-2])

    def text_sse(self, output: PartText) -> bytes:
        """The same as a server-sent event; empty if the client has it."""
        _, key, text = output
        item = self._parts[key]
        item.pieces.append(text)
        first = sequence_number(self.id.after, output.place)
        number = first + len(text) - 1
        if first <= self._starting_after:
            if number <= self._starting_after:
                return b""
            text = text[self._starting_after + 1 - first :]
        self.last_number = number
        return b"%b%d,%b%b}\n\n" % (item.delta_head, number, item.delta_place, encode(text))

    def abandon(self, key: PartKey) -> None:
        """The text of a part is not a part of the answer."""
        if (item := self._parts.get(key)) is not None:
            item.json["status"] = "incomplete"

    def set_text(self, key: PartKey, text: str) -> None:
        if (item := self._parts.get(key)) is not None:
            item.pieces.clear()
            item.part["text"] = text

    def close_open(self) -> Iterator[StreamEvent]:
        """The ends of the message or reasoning that is open."""
        item, self._open = self._open, None
        if item is None:
            return
        if item.json["status"] == "in_progress":
            item.json["status"] = "completed"
        part = item.part
        if item.json["type"] == "message":
            where = _in_message(item)
            yield from self.events(
                ("response.output_text.done", where | {"text": part["text"], "logprobs": []}),
                ("response.content_part.done", where | {"part": dict(part)}),
            )
        else:
            where = _where(item) | {"summary_index": 0}
            yield from self.events(
                ("response.reasoning_summary_text.done", where | {"text": part["text"]}),
                ("response.reasoning_summary_part.done", where | {"part": dict(part)}),
            )
        yield from self.events(_done(item))

    # --- sources, files and values

    def whole(self, output: WholePart) -> Iterator[StreamEvent]:
        part = output.part
        if isinstance(part, File) and part.data and part.media_type.startswith("image/"):
            yield from self.close_open()
            image = {"id": self._id("ig", *output.key), "type": "image_generation_call", "status": "completed"}
            item = self._announce(output.key.draft, image | {"result": part.data})
            yield from self.events(_added(item), _done(item))
            return
        annotation = annotation_of(part, self._open_text())
        if annotation is None:
            yield from self.close_open()
            yield from self._begin_message(output.key)
            yield from self._plain_text(output.key, words_for(part))
            return
        if not self._is_message_open():
            yield from self.close_open()
            yield from self._begin_message(output.key)
        assert self._open is not None
        item = self._open
        annotations = item.part["annotations"]
        annotations.append(annotation)
        where = _in_message(item) | {"annotation_index": len(annotations) - 1}
        yield from self.events(("response.output_text.annotation.added", where | {"annotation": annotation}))

    def _plain_text(self, key: PartKey, text: str) -> Iterator[StreamEvent]:
        item = self._parts[key]
        item.part["text"] = text
        yield from self.events((TEXT_DELTA, _in_message(item) | {"delta": text, "logprobs": []}))

    def _open_text(self) -> str:
        text: str = self._open.part["text"] if self._open is not None and self._is_message_open() else ""
        return text

    def _is_message_open(self) -> bool:
        return self._open is not None and self._open.json["type"] == "message"

    # --- tools

    def call(self, output: CallMade) -> Iterator[StreamEvent]:
        call, needs = output.call, output.needs
        arguments = encode(call.args).decode()
        seq = output.place.seq
        if needs in (Needs.RESULT, Needs.ANSWER):
            shown: Json = {
                "id": self._id("fc", seq, len(self._calls)),
                "type": "function_call",
                "call_id": call.tool_call_id,
                "name": call.tool_name,
                "arguments": "",
                "status": "in_progress",
            }
            item = self._announce(seq, shown)
            self._calls[call.tool_call_id] = item
            added = ("response.output_item.added", {"output_index": item.index, "item": dict(shown)})
            shown |= {"arguments": arguments, "status": "completed"}
            where = {"item_id": shown["id"], "output_index": item.index}
            yield from self.events(
                added,
                ("response.function_call_arguments.delta", where | {"delta": arguments}),
                ("response.function_call_arguments.done", where | {"arguments": arguments, "name": call.tool_name}),
                _done(item),
            )
            return
        shown = {"arguments": arguments, "name": call.tool_name, "server_label": SERVER_LABEL}
        if needs is Needs.APPROVAL:
            shown |= {"id": approval_id(self.id.chat_id, call.tool_call_id), "type": "mcp_approval_request"}
            item = self._announce(seq, shown)
            yield from self.events(_added(item), _done(item))
            return
        server_call = self._begin_server_call(seq, call.tool_call_id, shown)
        yield from self.events(_added(server_call), ("response.mcp_call.in_progress", _where(server_call)))

    def _begin_server_call(self, seq: int, tool_call_id: str, shown: Json) -> Item:
        more = {"id": self._id("mcp", seq, len(self._calls)), "type": "mcp_call", "status": "in_progress"}
        item = self._announce(seq, shown | more | {"output": None, "error": None, "approval_request_id": None})
        self._calls[tool_call_id] = item
        return item

    def result(self, output: CallDone) -> Iterator[StreamEvent]:
        """The result of a tool that the server ran; that of a client's tool is input."""
        result = output.result
        if output.needs in (Needs.RESULT, Needs.ANSWER):
            return
        item = self._calls.get(result.tool_call_id)
        if item is None:  # a person approved or denied it, which began this response
            arguments = encode(output.args).decode()
            shown = {"arguments": arguments, "name": result.tool_name, "server_label": SERVER_LABEL}
            item = self._begin_server_call(output.place.seq, result.tool_call_id, shown)
            item.json["approval_request_id"] = approval_id(self.id.chat_id, result.tool_call_id)
            yield from self.events(_added(item), ("response.mcp_call.in_progress", _where(item)))
        item.message_id = output.place.seq
        text = result.result if isinstance(result.result, str) else encode(result.result).decode()
        item.json |= (
            {"status": "failed", "error": text} if result.is_error else {"status": "completed", "output": text}
        )
        kind = "response.mcp_call.failed" if result.is_error else "response.mcp_call.completed"
        yield from self.events((kind, _where(item)), _done(item))

    def _id(self, kind: str, *numbers: int) -> str:
        return item_id(kind, self.id.chat_id, *numbers)


def made_event(kind: str, number: int, fields: Json) -> StreamEvent:
    return StreamEvent(kind, encode({"type": kind, "sequence_number": number} | fields))


def _added(item: Item) -> tuple[str, Json]:
    return "response.output_item.added", {"output_index": item.index, "item": dict(item.json)}


def _done(item: Item) -> tuple[str, Json]:
    return "response.output_item.done", {"output_index": item.index, "item": dict(item.json)}


def _where(item: Item) -> Json:
    return {"item_id": item.json["id"], "output_index": item.index}


def _in_message(item: Item) -> Json:
    return {"item_id": item.json["id"], "output_index": item.index, "content_index": 0}
