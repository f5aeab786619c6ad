"""The tool calls of a chat that wait for an approval or a result from a client, so that late subscribers can answer.

The state has only their ids; their arguments are in the `action_required` fact of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from antiphon.core.depth import DEPTH_MAX, is_too_deep
from antiphon.core.facts import ActionRequired
from antiphon.core.model import CallState, Chat, Needs, Status
from antiphon.errors import Invalid, TooLarge
from antiphon.ports import ChatStore, Listed
from antiphon.wire.codec import encode
from antiphon.wire.stream import OpenCall, open_calls_json

READS_MAX = 8
"""Maximum number of chats whose open calls are read at once."""

ARGS_BYTES_MAX = 64 * 1024
"""Maximum size of the arguments that a person approves in place of the model's, in bytes: they are a part of the
chat's stored state."""

_KIND = "action_required"


def check_value(field: str, value: Any, bytes_max: int) -> None:
    """Raises `Invalid` for JSON that is nested too deeply, and `TooLarge` for more than `bytes_max`."""
    if is_too_deep(value):
        raise Invalid(field, f"JSON may nest at most {DEPTH_MAX} deep")
    if len(encode(value)) > bytes_max:
        raise TooLarge(f"{field} (in bytes)", bytes_max)


async def read_open_calls(store: ChatStore, chat_id: str, chat: Chat) -> tuple[OpenCall, ...]:
    """The open calls as of `chat`; none unless it requires action."""
    if chat.status is not Status.REQUIRES_ACTION:
        return ()
    entry = await store.newest_entry(chat_id, _KIND, after_seq=chat.turn_id)
    if entry is None or not isinstance(entry.fact, ActionRequired):
        return ()
    waiting = {call.tool_call_id for call in chat.calls if call.state is CallState.AWAITING}
    return tuple(
        OpenCall(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            args=call.args,
            needs=call.needs,
            question=question_in(call.args) if call.needs is Needs.ANSWER else "",
            deadline=chat.deadline,
        )
        for call in entry.fact.calls
        if call.tool_call_id in waiting
    )


def question_in(args: Any) -> str:
    """The question of a call that `turn.ask` made."""
    question = args.get("question") if isinstance(args, dict) else None
    return question if isinstance(question, str) else ""


async def iter_open_calls(
    store: ChatStore, chats: Iterable[tuple[str, Chat]]
) -> AsyncIterator[tuple[str, tuple[OpenCall, ...]]]:
    """The open calls of those of `chats` that have any, in their order. READS_MAX chats are read at once, so a
    caller that stops early wastes few reads."""
    waiting = [(chat_id, chat) for chat_id, chat in chats if chat.status is Status.REQUIRES_ACTION]
    for start in range(0, len(waiting), READS_MAX):
        batch = waiting[start : start + READS_MAX]
        found = await asyncio.gather(*(read_open_calls(store, *item) for item in batch))
        for (chat_id, _), calls in zip(batch, found, strict=True):
            if calls:
                yield chat_id, calls


async def read_open_calls_within(
    store: ChatStore, listed: Iterable[Listed], bytes_max: int
) -> dict[str, tuple[OpenCall, ...]]:
    """The open calls of listed chats by chat id, as far as they need at most `bytes_max` of JSON; at least those of
    one chat."""
    found: dict[str, tuple[OpenCall, ...]] = {}
    size = 0
    async for chat_id, calls in iter_open_calls(store, ((item.chat_id, item.chat) for item in listed)):
        size += len(encode(open_calls_json(calls)))
        if found and size > bytes_max:
            break
        found[chat_id] = calls
    return found
