"""Opens the watcher of a turn for a response or a completion."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.api.turn_targets import restart_of
from antiphon.core.facts import ActionRequired, Entry, MessageAppended
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.core.values import Value
from antiphon.errors import NotFound
from antiphon.watch.watcher import Watcher
from antiphon.wire.openai.ids import ResponseId
from antiphon.wire.openai.response import ResponseInfo
from antiphon.wire.openai.settings import tool_json
from antiphon.wire.turn_output import TurnOutput

ENTRY_BYTES_MAX = 1
"""Of the fact at which a response begins only the kind is needed."""


class OpenedTurn(Value, gc=True):
    """The watcher begins before the fact after which the response begins."""

    id: ResponseId
    info: ResponseInfo
    restarted_at: int
    """The fact that restarted the turn last; 0: it was not restarted."""
    opened: AbstractAsyncContextManager[Watcher]
    watcher: Watcher

    def output(self) -> TurnOutput:
        """A translation of the turn from its beginning."""
        return TurnOutput(self.id.turn_id, self.id.after, restarted_at=self.restarted_at)

    async def close(self) -> None:
        await self.opened.__aexit__(None, None, None)


class AfterStart(Exception):
    """An error, its cause, after the request has started its turn: the same request again would start another."""


async def open_turn(call: Call, response_id: ResponseId, *, given: dict[str, Any] | None = None) -> OpenedTurn:
    """Open it now, so that a refusal is still an ordinary answer. `given` are settings that the response repeats, of
    a request that has just started the turn; None: the request only reads it.

    Raises:
        NotFound: The owner has no such response.
        TooMany: The maximum number of watchers is reached.
        AfterStart: With `given`, instead of any error.
    """
    try:
        return await _open_turn(call, response_id, given or {})
    except Exception as error:
        if given is None:
            raise
        raise AfterStart from error


async def _open_turn(call: Call, response_id: ResponseId, given: dict[str, Any]) -> OpenedTurn:
    try:
        chat = await chats_of(call).get(response_id.chat_id)
    except NotFound:
        raise NotFound("response") from None
    entry = await _entry(call, response_id)
    if entry is None or not _begins_response(entry, response_id):
        raise NotFound("response")
    restarted_at = await restart_of(
        call.instance.store, response_id.chat_id, response_id.turn_id, after=response_id.after
    )
    assert call.token is not None
    opened = call.instance.watch.open_watcher(
        response_id.chat_id,
        (response_id.after - 1, 0),
        token_id=call.token.token_id,
        owner_id=call.owner_id,
        reads_all=True,
    )
    info = _info(call, chat, entry, response_id, given)
    return OpenedTurn(
        id=response_id,
        info=info,
        restarted_at=restarted_at,
        opened=opened,
        watcher=await opened.__aenter__(),
    )


async def _entry(call: Call, response_id: ResponseId) -> Entry | None:
    found = await call.instance.store.read_entries(
        response_id.chat_id, response_id.after - 1, limit=1, bytes_max=ENTRY_BYTES_MAX
    )
    return found[0] if found else None


def _begins_response(entry: Entry, response_id: ResponseId) -> bool:
    """Whether a response may begin after this fact: a message of the turn, or its wait for clients."""
    fact = entry.fact
    if entry.seq != response_id.after:
        return False
    if isinstance(fact, MessageAppended):
        is_first = entry.seq == response_id.turn_id and fact.role is Role.USER
        return fact.turn_id == response_id.turn_id and (is_first or entry.seq > response_id.turn_id)
    return isinstance(fact, ActionRequired)


def _info(call: Call, chat: Chat, entry: Entry, response_id: ResponseId, given: dict[str, Any]) -> ResponseInfo:
    return ResponseInfo(
        id=response_id,
        model=chat.model or call.instance.default_model(),
        created_at=entry.recorded.at // 1_000_000,
        instructions=chat.system,
        tools=tuple(tool_json(tool["name"], tool["description"], tool["parameters"]) for tool in chat.tools or ()),
        metadata=chat.labels,
        given=given,
    )
