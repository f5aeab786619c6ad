"""The tool calls of a chat that wait for an answer from outside, so that whoever comes later can give it.

The state keeps only their ids; what they were called with is in the `action_required` fact that asked.
"""

from __future__ import annotations

from antiphon.core.facts import ActionRequired
from antiphon.core.model import CallState, Chat, Status
from antiphon.ports import Store
from antiphon.wire.stream import OpenCall

WINDOW = 32
"""Facts read at a time, from the open draft's fact back to the turn's first."""
WINDOW_BYTES = 32 * 1024 * 1024


async def read_open_calls(store: Store, chat_id: str, chat: Chat) -> tuple[OpenCall, ...]:
    """The open calls as of `chat`; none unless it requires action."""
    if chat.status is not Status.REQUIRES_ACTION:
        return ()
    waiting = {call.tool_call_id for call in chat.calls if call.state is CallState.AWAITING}
    asked = await _last_question(store, chat_id, chat)
    return tuple(
        OpenCall(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            args=call.args,
            needs=call.needs,
            deadline=chat.deadline,
        )
        for call in (asked.calls if asked is not None else ())
        if call.tool_call_id in waiting
    )


async def _last_question(store: Store, chat_id: str, chat: Chat) -> ActionRequired | None:
    """The newest `action_required` of the turn: it opened the open draft, or came shortly before what did."""
    for high in range(chat.draft, chat.turn_id, -WINDOW):
        after = max(high - WINDOW, chat.turn_id)
        entries = await store.read_entries(chat_id, after, limit=high - after, bytes_max=WINDOW_BYTES)
        found = [entry.fact for entry in entries if isinstance(entry.fact, ActionRequired)]
        if found:
            return found[-1]
    return None
