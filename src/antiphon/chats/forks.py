"""Forks: new chats that begin with the history of another chat up to one of its messages."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.chats.chat_fields import check_chat_id, clean_title, hash_of
from antiphon.chats.sending import Sending
from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.facts import CallOpened
from antiphon.core.model import Chat, ForkedFrom
from antiphon.core.parts import CALLS_MAX, Role
from antiphon.errors import Invalid, NotFound, TooLarge
from antiphon.observe.traces import TRACES
from antiphon.ports import Done, Request, Store

FORK_MAX = 1_000
"""Maximum number of messages that a fork takes over."""
FORK_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of their content, in bytes."""


class ForkedChats(Sending):
    """Forks the chats of one owner."""

    _store: Store

    @abstractmethod
    async def get(self, chat_id: str) -> Chat: ...

    async def fork(
        self,
        source_id: str,
        message_id: int,
        *,
        as_of: int | None = None,
        chat_id: str | None = None,
        title: str = "",
    ) -> Done:
        """Create a chat with the history of another one up to a message. It waits for a person; the source does not
        change. It takes over the messages, the settings and the agent's state, not the labels or the queue.

        Args:
            source_id: The chat that is forked.
            message_id: The last message of the fork. With tool calls, their results are part of the fork.
            as_of: The history as it was after the fact with this seq, to fork what an edit or a retry has replaced.
            chat_id: A UUID of the caller, which makes the call idempotent.
            title: Empty: that of the source.

        Raises:
            NotFound: There is no such chat, or no such message in that history.
            Invalid: A tool call of the message has no result yet.
            TooLarge: The history has more than `FORK_MAX` messages or `FORK_BYTES_MAX` bytes.
            Conflict: A chat of that id was created in another way.
        """
        check_chat_id(chat_id or None)
        asked = f"fork {source_id} {message_id} {as_of} {title}".encode()
        request = Request(client_id="", body_hash=hash_of(asked)) if chat_id else None
        chat_id = chat_id or str(uuid.uuid4())
        try:
            source = await self.get(source_id)
        except NotFound:
            if not await self._is_repeat(chat_id, request):
                raise
            return await self._service.execute(chat_id, c.CreateChat(owner_id=self.owner_id), request=request)
        command = c.CreateChat(
            owner_id=self.owner_id,
            title=clean_title(title) or source.title,
            is_title_made=not title and not source.is_titled_by_person,
            model=source.model,
            system=source.system,
            tools=source.tools,
            mcp_server_ids=source.mcp_server_ids,
            forked_from=ForkedFrom(chat_id=source_id, message_id=message_id),
            trace=self._trace or TRACES.current(),
            via=self._via,
        )
        async with self._service.fork_slots.slot(self.owner_id):
            return await self._append_fork(chat_id, command, source, as_of, request)

    async def _append_fork(
        self, chat_id: str, command: c.CreateChat, source: Chat, as_of: int | None, request: Request | None
    ) -> Done:
        forked = command.forked_from
        assert forked is not None
        if await self._service.chat(chat_id) is None:  # else nothing will be appended there
            seq = source.seq if as_of is None else as_of  # an edit between two reads changes neither
            entries = await self._history(forked.chat_id, forked.message_id, seq)
            used = [
                replace(past, content=await self._use_files(chat_id, past.content)) for past in map(_past, entries)
            ]
            has_state = as_of is not None or source.state_seq
            state = await self._state(forked.chat_id, entries[-1].seq, seq) if has_state else b""
            await self.get(forked.chat_id)  # what was read while it was deleted may have gaps
            command = replace(command, history=tuple(used), state=state)
        return await self._service.execute(chat_id, command, request=request)

    async def _history(self, chat_id: str, message_id: int, as_of: int) -> Sequence[f.Entry]:
        """The messages up to `message_id`, and the results of its calls."""
        last = await self._read(chat_id, message_id - 1, as_of)
        if not last or last[0].seq != message_id:
            raise NotFound("message")
        end = 1
        waiting = _call_ids(last[0])
        while waiting and end < len(last) and (resolved := _fact(last[end]).resolves) in waiting:
            waiting.discard(resolved)
            end += 1
        if waiting:
            raise Invalid("message_id", "a tool call of this message has no result yet; fork at another message")
        earlier, has_more = await self._store.read_messages(
            chat_id, before_id=message_id, limit=FORK_MAX - end, bytes_max=FORK_BYTES_MAX, as_of=as_of
        )
        if has_more:
            raise TooLarge("history of a fork (in messages, with at most 16 MiB)", FORK_MAX)
        return (*earlier, *last[:end])

    async def _read(self, chat_id: str, after_id: int, as_of: int) -> tuple[f.Entry, ...]:
        limit = CALLS_MAX + 1
        return (await self._store.read_messages(chat_id, after_id=after_id, limit=limit, as_of=as_of))[0]

    async def _state(self, chat_id: str, last_id: int, as_of: int) -> bytes:
        """The agent's state after the message `last_id`: the newest one before the next message. An edit or a retry
        before it went back to an earlier one; those after it do not count."""
        following = await self._read(chat_id, last_id, as_of)
        end = following[0].seq if following else as_of
        changed, truncated = [
            await self._store.newest_entry(chat_id, kind, after_seq=0, upto=end)
            for kind in ("state_changed", "history_truncated")
        ]
        seq = changed.seq if changed is not None else 0
        if truncated is not None and seq < truncated.seq:
            assert isinstance(truncated.fact, f.HistoryTruncated)
            seq = truncated.fact.state_seq
        found = await self._store.read_contents(chat_id, [seq]) if seq else {}
        return found.get(seq, b"")


def _fact(entry: f.Entry) -> f.MessageAppended:
    assert isinstance(entry.fact, f.MessageAppended)
    return entry.fact


def _call_ids(entry: f.Entry) -> set[str]:
    return {call.tool_call_id for call in _fact(entry).calls}


def _past(entry: f.Entry) -> c.PastMessage:
    fact = _fact(entry)
    return c.PastMessage(
        role=fact.role,
        content=entry.content or b"[]",
        calls=tuple(CallOpened(tool_call_id=call.tool_call_id, tool_name=call.tool_name) for call in fact.calls),
        resolves=fact.resolves if fact.role is Role.TOOL else "",
        model=fact.used[0].model if fact.used else fact.model,
        interrupted=fact.interrupted,
        outcome=fact.outcome,
    )
