"""The tool calls of a chat that wait for an approval or a result from a client, so that late subscribers can answer.

The state has only their ids; their arguments are in the `action_required` fact of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from antiphon.core.facts import ActionRequired
from antiphon.core.model import CallState, Chat, Status
from antiphon.ports import ChatStore
from antiphon.wire.stream import OpenCall

READS_MAX = 8
"""Maximum number of chats whose open calls are read at once."""

_KIND = "action_required"


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
            deadline=chat.deadline,
        )
        for call in entry.fact.calls
        if call.tool_call_id in waiting
    )


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
