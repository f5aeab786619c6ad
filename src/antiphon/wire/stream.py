"""The events of a chat's stream as JSON: encoding and decoding.

All APIs share this encoder: the JSON of an event is encoded once, and its bytes are shared (`Frame`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core import facts as f
from antiphon.core.depth import CONTENT_DEPTH_MAX, flatten
from antiphon.core.draft import Draft
from antiphon.core.events import Bye, CaughtUp, Delta, Event, FactEvent, Notice, OpenDraft, Ping, Resync
from antiphon.core.model import Chat, Needs, Queued
from antiphon.core.parts import NO_USAGE, DeltaPart, delta_length
from antiphon.core.values import Value
from antiphon.errors import PeerError
from antiphon.wire import codec
from antiphon.wire.fact_fields import OPTIONAL, shown_fields
from antiphon.wire.gotime import format_time_us

NIL_UUID = "00000000-0000-0000-0000-000000000000"

_encode = msgspec.json.Encoder().encode


class Frame:
    """One event, encoded once: its cursor (seq None: none), type and JSON. `sse` and `event` are made at their first
    use, once for all watchers that share the frame. `state` is the JSON of the agent's state where that has changed:
    it is not sent, but translations to other protocols have it in `event` (`data["state"]`)."""

    __slots__ = ("_event", "_sse", "data", "position", "seq", "state", "type")

    def __init__(
        self,
        seq: int | None,
        position: int,
        type: str,  # noqa: A002
        data: bytes,
        state: bytes | None = None,
    ) -> None:
        self.state = state
        self.seq = seq
        self.position = position
        self.type = type
        self.data = data
        self._sse: bytes | None = None
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """The event as a value, without its cursor."""
        if self._event is None:
            self._event = _delta_event(self.data) if self.type == "delta" else decode_event(self.data)
            if self.state is not None and isinstance(self._event, FactEvent):
                data = self._event.data | {"state": msgspec.Raw(self.state)}
                self._event = msgspec.structs.replace(self._event, data=data)
        return self._event

    @property
    def sse(self) -> bytes:
        """The bytes of the server-sent event. JSON text has no raw line break, so content cannot forge an event."""
        if self._sse is None:
            id_line = b"" if self.seq is None else b"id: %d.%d\n" % (self.seq, self.position)
            self._sse = b"%sevent: %s\ndata: %s\n\n" % (id_line, self.type.encode(), self.data)
        return self._sse


PING = Frame(None, 0, "ping", b'{"type":"ping"}')


# --- values as JSON ---------------------------------------------------------------------------------


class OpenCall(Value):
    """A tool call that is waiting for a client: its arguments, what it `needs`, the deadline in microseconds of the
    store's time, and the `question` if it needs an answer."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: Needs
    deadline: int
    question: str = ""


def chat_json(
    chat_id: str, chat: Chat, *, has_unread: bool = False, open_calls: Sequence[OpenCall] | None = None
) -> dict[str, Any]:
    """The contract's Chat with Antiphon's additions. `open_calls` None: unknown, and omitted."""
    shown: dict[str, Any] = {
        "id": chat_id,
        "owner_id": chat.owner_id,
        "last_model_config_id": NIL_UUID,
        "title": chat.title,
        "status": chat.status,
        "last_error": chat.last_error.message if chat.last_error else None,
        "created_at": format_time_us(chat.created_at),
        "updated_at": format_time_us(chat.updated_at),
        "archived": chat.is_archived,
        "pin_order": chat.pin_order,
        "mcp_server_ids": chat.mcp_server_ids,
        "labels": chat.labels,
        "has_unread": has_unread,
        "seq": chat.seq,
        "draft": chat.draft,
        "queue_length": chat.queue_length,
        "turn_id": chat.turn_id or None,
        "model": chat.model,
        "usage": chat.usage,
    }
    if chat.forked_from is not None:
        shown["forked_from"] = chat.forked_from
    if chat.parent is not None:
        shown["parent_chat_id"] = chat.parent.chat_id
        shown["parent_tool_call_id"] = chat.parent.tool_call_id
        shown["root_chat_id"] = chat.parent.root_chat_id
    if open_calls is not None:
        shown["open_calls"] = open_calls_json(open_calls)
    if chat.diff_status is not None:
        shown["diff_status"] = chat.diff_status
    return shown


def open_calls_json(open_calls: Sequence[OpenCall]) -> list[dict[str, Any]]:
    return [
        {
            "tool_call_id": call.tool_call_id,
            "tool_name": call.tool_name,
            "args": call.args,
            "needs": call.needs,
            "deadline": format_time_us(call.deadline),
        }
        | ({"question": call.question} if call.question else {})
        for call in open_calls
    ]


def message_json(chat_id: str, entry: f.Entry) -> dict[str, Any]:
    """The contract's ChatMessage of a `message_appended`, with model?, turn_id, interrupted?, outcome?,
    dropped?, client_message_id?. The model of an answer is the one that wrote it, that of a question the one it asks
    for. A hidden message has no content."""
    fact = entry.fact
    assert isinstance(fact, f.MessageAppended)
    shown: dict[str, Any] = {"id": entry.seq, "chat_id": chat_id}
    if fact.created_by:
        shown["created_by"] = fact.created_by
    if fact.via:
        shown["via"] = fact.via
    shown["created_at"] = format_time_us(entry.recorded.at)
    shown["role"] = fact.role
    if entry.content is not None:
        shown["content"] = _content_json(entry.content)
    if fact.usage != NO_USAGE:
        shown["usage"] = fact.usage
    if model := fact.used[0].model if fact.used else fact.model:
        shown["model"] = model
    shown["turn_id"] = fact.turn_id
    if fact.interrupted:
        shown["interrupted"] = True
    if fact.outcome:
        shown["outcome"] = fact.outcome
    if fact.dropped:
        shown["dropped"] = fact.dropped
    if fact.client_message_id:
        shown["client_message_id"] = fact.client_message_id
    return shown


def _content_json(content: bytes | None) -> msgspec.Raw:
    """Stored content as clients get it: values that an earlier version stored too deep for readers become text."""
    return msgspec.Raw(flatten(content or b"[]", CONTENT_DEPTH_MAX))


def queued_message_json(chat_id: str, item: Queued, content: bytes | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": item.id,
        "chat_id": chat_id,
        "content": _content_json(content),
        "when_busy": item.when_busy,
        "promoted": item.is_promoted,
    }
    if item.model:
        shown["model"] = item.model
    if item.client_message_id:
        shown["client_message_id"] = item.client_message_id
    shown["created_at"] = format_time_us(item.created_at)
    return shown


def _queued_of(entry: f.Entry, fact: f.MessageQueued) -> Queued:
    return Queued(
        id=entry.seq,
        content_seq=entry.seq,
        content_size=fact.content_size,
        when_busy=fact.when_busy,
        is_promoted=fact.when_busy == "interrupt",
        model=fact.model,
        client_message_id=fact.client_message_id,
        created_at=entry.recorded.at,
    )


def new_message_json(chat_id: str, entry: f.Entry) -> dict[str, Any]:
    """The response to a send: {message, seq} or {queued_message, seq}."""
    if isinstance(entry.fact, f.MessageQueued):
        queued = queued_message_json(chat_id, _queued_of(entry, entry.fact), entry.content)
        return {"queued_message": queued, "seq": entry.seq}
    return {"message": message_json(chat_id, entry), "seq": entry.seq}


# --- frames -----------------------------------------------------------------------------------------


def fact_frame(chat_id: str, entry: f.Entry, *, position: int, with_content: bool = True) -> Frame:
    """The event of a fact. `position` is how much of the open draft the reader has after it."""
    if not with_content:
        entry = msgspec.structs.replace(entry, content=None)
    shown: dict[str, Any] = {
        "type": f.kind_of(entry.fact),
        "seq": entry.seq,
        "at": format_time_us(entry.recorded.at),
        "status": entry.status,
        "draft": entry.draft,
    }
    if entry.more:
        shown["more"] = True
    shown |= _own_fields(chat_id, entry)
    state = entry.content if isinstance(entry.fact, f.StateChanged) else None
    return Frame(entry.seq, position, shown["type"], _encode(shown), state)


def _own_fields(chat_id: str, entry: f.Entry) -> dict[str, Any]:
    fact = entry.fact
    if isinstance(fact, f.MessageAppended):
        shown: dict[str, Any] = {"message": message_json(chat_id, entry)}
        if fact.outcome:
            shown["outcome"] = fact.outcome
        if fact.closes:
            shown["closes"] = fact.closes
        if fact.calls:
            shown["calls"] = [{"tool_call_id": call.tool_call_id, "needs": call.needs} for call in fact.calls]
        if fact.queued_id:
            shown["queued_id"] = fact.queued_id
        if fact.client_message_id:
            shown["client_message_id"] = fact.client_message_id
        if entry.hidden_by:
            shown["hidden_by"] = entry.hidden_by
        return shown
    if isinstance(fact, f.MessageQueued):
        queued = _queued_of(entry, fact)
        shown = queued_message_json(chat_id, queued, entry.content)
        return {"queued_message": shown, "when_busy": fact.when_busy}
    if isinstance(fact, f.QueuedMessageEdited):
        return {"queued_id": fact.queued_id, "content": _content_json(entry.content)}
    if isinstance(fact, f.StateChanged):
        return {"size": fact.content_size}
    optional = OPTIONAL.get(type(fact), frozenset())
    given: dict[str, Any] = msgspec.to_builtins(fact)
    shown = {
        name: given[name] if name in given else getattr(fact, name)
        for name in shown_fields(type(fact))
        if name in given or name not in optional
    }
    if isinstance(fact, f.RetryScheduled):
        shown["retrying_at"] = format_time_us(fact.retrying_at)
    elif isinstance(fact, f.ActionRequired):
        shown["deadline"] = format_time_us(fact.deadline)
    return shown


def delta_frame(seq: int, delta: Delta) -> Frame:
    return Frame(seq, delta.to, "delta", codec.encode(delta))


def caught_up_frame(seq: int, position: int) -> Frame:
    return Frame(seq, position, "caught_up", b'{"type":"caught_up"}')


def bye_frame(reason: str, retry_ms: int | None = None) -> Frame:
    shown: dict[str, Any] = {"type": "bye", "reason": reason}
    if retry_ms is not None:
        shown["retry_ms"] = retry_ms
    return Frame(None, 0, "bye", _encode(shown))


def resync_frame(
    chat_id: str,
    chat: Chat,
    *,
    reason: str,
    messages: Sequence[f.Entry],
    has_more: bool,
    queued: Sequence[tuple[Queued, bytes | None]],
    draft: Draft | None,
    has_unread: bool = False,
    open_calls: Sequence[OpenCall] = (),
) -> Frame:
    """The whole state. The cursor after it is `seq.to`."""
    deltas = draft.read(0) if draft is not None else []
    to = deltas[-1].to if deltas else 0
    parts = []
    for delta in deltas:
        part: dict[str, Any] = msgspec.json.decode(codec.encode(delta.part))
        parts.append(part if delta.part_index is None else part | {"part_index": delta.part_index})
    shown = {
        "type": "resync",
        "reason": reason,
        "chat": chat_json(chat_id, chat, has_unread=has_unread, open_calls=open_calls),
        "messages": [message_json(chat_id, entry) for entry in messages],
        "has_more": has_more,
        "queued_messages": [queued_message_json(chat_id, item, content) for item, content in queued],
        "open_draft": {"draft": chat.draft, "to": to, "parts": parts},
    }
    return Frame(chat.seq, to, "resync", _encode(shown))


# --- reading ----------------------------------------------------------------------------------------

_ENVELOPE = frozenset({"type", "seq", "at", "status", "draft", "more"})


def decode_event(data: bytes, *, cursor: str = "") -> Event:
    """One event of a chat's stream from its JSON. Raises `PeerError` for any other bytes."""
    try:
        raw = msgspec.json.decode(data)
        return _event_of(raw, cursor)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeError, RecursionError) as error:
        raise PeerError(f"not an event of a chat's stream: {error}") from error


def _event_of(raw: dict[str, Any], cursor: str) -> Event:
    kind = raw["type"]
    if kind == "delta":
        return _delta_of(raw, cursor)
    if kind == "caught_up":
        return CaughtUp(cursor=cursor)
    if kind == "ping":
        return Ping()
    if kind == "bye":
        return Bye(reason=raw["reason"], retry_ms=raw.get("retry_ms"))
    if kind == "notice":
        return Notice(kind=raw["kind"], retry=raw.get("retry"), error=raw.get("error"))
    if kind == "resync":
        return Resync(
            reason=raw["reason"],
            chat=raw["chat"],
            messages=raw["messages"],
            has_more=raw["has_more"],
            queued_messages=raw["queued_messages"],
            open_draft=_open_draft_of(raw["open_draft"]),
            cursor=cursor,
        )
    return FactEvent(
        type=kind,
        seq=raw["seq"],
        at=raw["at"],
        status=raw["status"],
        draft=raw["draft"],
        more=raw.get("more", False),
        data={name: value for name, value in raw.items() if name not in _ENVELOPE},
        cursor=cursor,
    )


_decode_delta = msgspec.json.Decoder(Delta).decode


def _delta_event(data: bytes) -> Event:
    """A delta, decoded fast unless its part is of an unknown kind."""
    try:
        return _decode_delta(data)
    except msgspec.ValidationError:
        return decode_event(data)


def _delta_of(raw: dict[str, Any], cursor: str) -> Delta:
    return Delta(
        draft=raw["draft"],
        from_=raw["from"],
        to=raw["to"],
        part_index=raw.get("part_index"),
        part=codec.convert(raw["part"], DeltaPart),
        cursor=cursor,
    )


def _open_draft_of(raw: dict[str, Any]) -> OpenDraft:
    deltas = []
    position = 0
    for shown in raw["parts"]:
        raw_part = {name: value for name, value in shown.items() if name != "part_index"}
        part = codec.convert(raw_part, DeltaPart)
        start, position = position, position + delta_length(part)
        index = shown.get("part_index")
        deltas.append(Delta(draft=raw["draft"], from_=start, to=position, part_index=index, part=part))
    return OpenDraft(draft=raw["draft"], to=raw["to"], parts=deltas)
