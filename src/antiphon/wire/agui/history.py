"""A chat's history as AG-UI's messages, and whether a client has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.parts import Role, ToolResult
from antiphon.wire.agui.ids import Names, draft_of
from antiphon.wire.agui.input import OF_CLIENTS
from antiphon.wire.agui.messages import Json, answer_messages, result_message, user_message
from antiphon.wire.codec import decode_content

COMPARED = ("user", "assistant", "tool")
"""The roles of messages that every client has."""


def history_messages(chat_id: str, entries: Iterable[Entry]) -> list[Json]:
    """The messages of visible `message_appended` facts with their content, oldest first."""
    names = Names(chat_id)
    found: list[Json] = []
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, MessageAppended) and entry.content is not None:
            found += _messages(names, entry.seq, fact, entry.content)
    return found


def _messages(names: Names, seq: int, fact: MessageAppended, body: bytes) -> list[Json]:
    content = decode_content(body)
    if fact.role is Role.USER:
        return [user_message(content, names.user(seq, fact.client_message_id))]
    if fact.role is Role.ASSISTANT:
        dropped = [msgspec.to_builtins(call) for call in fact.dropped]
        return answer_messages(names, draft_of(fact.closes, seq), content, seq=seq, dropped=dropped)
    results = [part for part in content if isinstance(part, ToolResult)]
    return [result_message(names, part, seq=seq, number=number) for number, part in enumerate(results)]


def system_message(chat_id: str, system: str) -> Json:
    return {"id": Names(chat_id).user(0), "role": "system", "content": system}


def merged(
    history: Sequence[Json], given: Sequence[Json], *, has_more: bool, system: Json | None = None
) -> list[Json]:
    """What a client with the messages `given` has after a snapshot: its own messages with instructions (else
    `system`), the chat's history, and before it the client's older messages, if the chat `has_more` than that."""
    own = [message for message in given if message.get("role") in OF_CLIENTS]
    if not own and system is not None:
        own = [system]
    older: Sequence[Json] = ()
    if has_more and history:
        ids = [message.get("id") for message in given]
        first = next((ids.index(message["id"]) for message in history if message["id"] in ids), 0)
        older = [message for message in given[:first] if message.get("role") not in OF_CLIENTS]
    return [*own, *older, *history]


def has_history(history: Sequence[Json], given: Sequence[Json], *, has_more: bool) -> bool:
    """Whether the messages of a client are those of the chat. If the chat `has_more` than `history`, only the newest
    ones are compared."""
    wanted, has = [_key(m) for m in history if _is_compared(m)], [_key(m) for m in given if _is_compared(m)]
    return has[-len(wanted) :] == wanted if has_more and wanted else has == wanted


def _is_compared(message: Json) -> bool:
    return message.get("role") in COMPARED


def _key(message: Json) -> tuple[Any, ...]:
    """A result that a client gave has the client's id."""
    is_tool = message.get("role") == "tool"
    return ("tool", message.get("toolCallId")) if is_tool else (message.get("id"),)
