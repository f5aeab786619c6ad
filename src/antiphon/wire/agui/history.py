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
    wanted, has = list(filter(_is_compared, history)), list(filter(_is_compared, given))
    has = has[-len(wanted) :] if has_more and wanted else has
    return len(has) == len(wanted) and all(map(_is_same, has, wanted))


def snapshots(known: list[Json], given: Sequence[Json]) -> list[list[Json]]:
    """The snapshots that make `known` of the messages of a client. It leaves messages that it has in their places
    and appends the others, so where its messages differ, they are removed first."""
    same = 0
    while same < min(len(known), len(given)) and known[same]["id"] == given[same].get("id"):
        same += 1
    return [known] if same in (len(given), len(known)) else [known[:same], known]


def _is_compared(message: Json) -> bool:
    return message.get("role") in COMPARED


def _is_same(given: Json, wanted: Json) -> bool:
    """Whether a client's message is that of the chat. A result that a client gave, and an answer that was imported,
    have the client's ids."""
    if given.get("id") == wanted["id"]:
        return True
    if given.get("role") != wanted["role"]:
        return False
    if wanted["role"] == "tool":
        return bool(given.get("toolCallId") == wanted["toolCallId"])
    return wanted["role"] == "assistant" and _said(given) == _said(wanted)


def _said(message: Json) -> tuple[Any, list[Any]]:
    calls = message.get("toolCalls")
    names = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return message.get("content") or "", names
