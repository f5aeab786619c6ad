"""An owner's chats for a program that runs an instance inside its own process: everything is a typed value."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from antiphon.chats.chat_fields import PYTHON
from antiphon.chats.inbox import Inbox
from antiphon.chats.owned import PAGE, CheckBudget, CheckMcpServers, CheckModel, OwnedChats
from antiphon.chats.service import Service
from antiphon.core.events import Event, Ping
from antiphon.core.facts import CallDropped, Entry, MessageAppended
from antiphon.core.model import Queued, WhenBusy
from antiphon.core.parts import NO_USAGE, Part, Role, Usage, text_of
from antiphon.core.values import Value
from antiphon.instance import Instance
from antiphon.options import Limits
from antiphon.ports import Store, Watch
from antiphon.wire.codec import decode, decode_content
from antiphon.wire.cursor import format_cursor, parse_cursor
from antiphon.wire.stream import OpenCall, decode_event


class StoredMessage(Value):
    """A message of the history. `created_at` is in microseconds since the Unix epoch, store time."""

    id: int
    role: Role
    content: tuple[Part, ...]
    turn_id: int
    created_at: int
    interrupted: bool = False
    dropped: tuple[CallDropped, ...] = ()
    usage: Usage = NO_USAGE
    model: str = ""
    created_by: str = ""
    client_message_id: str = ""

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return text_of(self.content)


class QueuedMessage(Value):
    """A message that waits for the turn to end."""

    id: int
    content: tuple[Part, ...]
    when_busy: WhenBusy
    promoted: bool
    created_at: int
    model: str = ""
    client_message_id: str = ""

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return text_of(self.content)


class MessagePage(Value):
    """A page of the history, oldest message first, with the queue."""

    messages: tuple[StoredMessage, ...]
    queued: tuple[QueuedMessage, ...]
    has_more: bool
    open_calls: tuple[OpenCall, ...] = ()


class EmbeddedChats(OwnedChats):
    """`OwnedChats` with typed reads, and a stream of events. Its methods match the routes of the HTTP API."""

    def __init__(
        self,
        service: Service,
        owner_id: str,
        *,
        store: Store,
        limits: Limits,
        check_model: CheckModel | None,
        check_mcp_servers: CheckMcpServers | None,
        check_budget: CheckBudget | None,
        watch: Watch,
        inbox: Inbox,
        trace: str = "",
        via: str = PYTHON,
    ) -> None:
        super().__init__(
            service,
            owner_id,
            store=store,
            limits=limits,
            check_model=check_model,
            check_mcp_servers=check_mcp_servers,
            check_budget=check_budget,
            trace=trace,
            via=via,
        )
        self._watch = watch
        self._inbox = inbox

    async def messages(
        self, chat_id: str, *, after_id: int | None = None, before_id: int | None = None, limit: int = PAGE
    ) -> MessagePage:
        """A page of the history: after `after_id` (0: from the beginning), before `before_id`, or the newest."""
        page = await self.page(chat_id, after_id=after_id, before_id=before_id, limit=limit)
        return MessagePage(
            messages=tuple(_stored(entry, entry.fact) for entry in page.messages if _is_message(entry)),
            queued=tuple(_queued(item, content) for item, content in page.queued),
            has_more=page.has_more,
            open_calls=page.open_calls,
        )

    async def watch(
        self, chat_id: str, *, after: str | None = None, until_idle: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Every event of a chat, in order; each says in `cursor` where to resume. `after` is such a cursor, `0` the
        beginning, None: from now, a `Resync` first. It ends after a `Bye`; with `until_idle` as soon as the chat has
        caught up and is at rest. Raises `NotFound`, `CursorInvalid`, `TooMany`.

        Leaving the loop early? Close it: `async with contextlib.aclosing(chats.watch(…)) as events`.
        """
        await self.get(chat_id)
        opened = self._watch.open_watcher(
            chat_id, parse_cursor(after) if after else None, owner_id=self.owner_id, until_idle=until_idle
        )
        async with opened as watcher:
            while not watcher.is_closed:
                for frame in (await watcher.next_batch()).frames:
                    cursor = "" if frame.seq is None else format_cursor(frame.seq, frame.position)
                    event = decode_event(frame.data, cursor=cursor)
                    if not isinstance(event, Ping):
                        yield event

    async def state(self, chat_id: str) -> Any:
        """The agent's own JSON document of the chat (`turn.state`); an empty object if it has stored none."""
        return decode((await self.agent_state(chat_id))[0], Any)

    async def mark_read(self, chat_id: str, seq: int | None = None) -> int:
        """Move the owner's read cursor to that seq (None: to the chat's last); the cursor. Raises `Invalid` for a seq
        beyond the chat's last."""
        return await self._inbox.read_chat(chat_id, await self.get(chat_id), seq)


def embedded_chats(instance: Instance, owner_id: str, *, trace: str = "", via: str = PYTHON) -> EmbeddedChats:
    """The chats of one owner of the instance. `trace` is the W3C traceparent of the request, `via` its API."""
    return EmbeddedChats(
        instance.service,
        owner_id,
        store=instance.store,
        limits=instance.options.limits,
        check_model=instance.check_model,
        check_mcp_servers=instance.mcp.check_ids,
        check_budget=instance.spending.check_send,
        watch=instance.watch,
        inbox=instance.inbox,
        trace=trace,
        via=via,
    )


def _is_message(entry: Entry) -> bool:
    return isinstance(entry.fact, MessageAppended)


def _stored(entry: Entry, fact: object) -> StoredMessage:
    assert isinstance(fact, MessageAppended)
    return StoredMessage(
        id=entry.seq,
        role=fact.role,
        content=decode_content(entry.content or b"[]"),
        turn_id=fact.turn_id,
        created_at=entry.recorded.at,
        interrupted=fact.interrupted,
        dropped=fact.dropped,
        usage=fact.usage,
        model=fact.model,
        created_by=fact.created_by,
        client_message_id=fact.client_message_id,
    )


def _queued(item: Queued, content: bytes | None) -> QueuedMessage:
    return QueuedMessage(
        id=item.id,
        content=decode_content(content or b"[]"),
        when_busy=item.when_busy,
        promoted=item.is_promoted,
        created_at=item.created_at,
        model=item.model,
        client_message_id=item.client_message_id,
    )
