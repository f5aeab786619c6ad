"""An owner's chats: every command and read of a person, authorised in one place.

A chat of another owner is `NotFound`, like one that does not exist.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
from msgspec.structs import replace

from antiphon.chats.chat_fields import (
    PYTHON,
    check_chat_id,
    clean_labels,
    clean_mcp_server_ids,
    clean_model,
    clean_system,
    clean_title,
    hash_of,
    make_title,
)
from antiphon.chats.client_tools import ClientTool, checked_tools
from antiphon.chats.file_description import with_descriptions
from antiphon.chats.forks import ForkedChats
from antiphon.chats.imported import ImportedChats
from antiphon.chats.open_call_answers import OpenCallAnswers
from antiphon.chats.queued_messages import QueuedMessages
from antiphon.chats.service import Service
from antiphon.chats.settings import ChatSettings
from antiphon.chats.shares import SharedChats
from antiphon.core import commands as c
from antiphon.core.depth import DEPTH_MAX, is_too_deep
from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Outcome, Parent, Queued, Status
from antiphon.core.parts import Part, Text, file_ids_of
from antiphon.core.values import Value
from antiphon.errors import BudgetExhausted, Invalid, NotFound, TooLarge
from antiphon.observe.traces import TRACES
from antiphon.options import Limits
from antiphon.ports import Done, Listed, Request, Store, Version
from antiphon.wire.codec import decode_content, encode_content
from antiphon.wire.stream import OpenCall
from antiphon.wire.user_content import user_parts

PAGE = 50
"""Number of items in a page of results if the caller names none."""
PAGE_MAX = 1_000
"""Maximum number of messages in a page of results."""

ITER_BYTES = 256 * 1024
"""Size of the content that is read ahead while messages are iterated, in bytes."""
VERSIONS_MAX = 1_000
"""Maximum number of replaced versions that are listed of a chat."""

Content = str | Sequence[Part]
CheckModel = Callable[[str], Awaitable[None]]
"""Raises `Invalid` for the name of a model that cannot exist."""
CheckMcpServers = Callable[[Sequence[str]], None]
"""Raises `Invalid` for the id of an MCP server that is not configured."""
CheckBudget = Callable[[str], Awaitable[None]]
"""Raises `BudgetExhausted` for the id of an owner who has used a budget of this day."""


class Page(Value):
    """A page of the history; `queued` are all queued messages with their content."""

    messages: tuple[Entry, ...]
    queued: tuple[tuple[Queued, bytes | None], ...]
    has_more: bool
    open_calls: tuple[OpenCall, ...] = ()


class OwnedChats(OpenCallAnswers, ChatSettings, QueuedMessages, ImportedChats, ForkedChats, SharedChats):
    """The commands and reads of one owner. Content is a string or parts; ids are strings and seqs."""

    def __init__(
        self,
        service: Service,
        owner_id: str,
        *,
        store: Store,
        limits: Limits = Limits(),  # noqa: B008 - a value
        check_model: CheckModel | None = None,
        trace: str = "",
        via: str = PYTHON,
        check_mcp_servers: CheckMcpServers | None = None,
        check_budget: CheckBudget | None = None,
    ) -> None:
        """`trace` is the W3C traceparent of the request, "" if it has none; `via` the API that it came by."""
        self._service = service
        self._store = store
        self.owner_id = owner_id
        self._limits = limits
        self._check_model = check_model
        self._trace = trace
        self._via = via
        self._check_mcp_servers = check_mcp_servers
        self._check_owner_budget = check_budget

    # --- chats

    async def create(
        self,
        *,
        chat_id: str | None = None,
        content: Content | None = None,
        title: str = "",
        model: str = "",
        system: str = "",
        labels: dict[str, str] | None = None,
        tools: Sequence[ClientTool] = (),
        mcp_server_ids: Sequence[str] | None = None,
        parent: Parent | None = None,
    ) -> Done:
        """Create a chat; with content its first turn starts.

        Args:
            chat_id: A UUID of the caller, which makes the call idempotent: a repeat returns the chat as it is now.
            content: The first message.
            title: Empty: made from the first message.
            model: Empty: the default model.
            system: The system prompt.
            labels: Names and values by which the chat can be listed.
            tools: The tools that clients run, besides those of the server.
            mcp_server_ids: The MCP servers that the chat uses; None: all configured ones.
            parent: For a child chat: where it belongs.

        Raises:
            Invalid: The id, the content, the model, a tool or an MCP server is not valid.
            TooLarge: The content, a label or a text is too large.
            Conflict: A chat of that id was created with another body.
            BudgetExhausted, RateLimited: The owner may not send the content now.
        """
        check_chat_id(chat_id or None)
        title, model, labels = clean_title(title), clean_model(model), clean_labels(labels or {})
        body = self.make_content(content) if content is not None else b""
        command = c.CreateChat(
            owner_id=self.owner_id,
            content=body,
            title=title or make_title(content if isinstance(content, str) else decode_content(body or b"[]")),
            is_title_made=not title,
            model=model,
            system=clean_system(system),
            labels=labels,
            tools=checked_tools(tools),
            trace=self._trace or TRACES.current(),
            via=self._via,
            mcp_server_ids=clean_mcp_server_ids(mcp_server_ids),
            parent=parent,
        )
        request = Request(client_id="", body_hash=_hash_of(command, title, system)) if chat_id else None
        await self._check_named(model, chat_id or "", request, command.mcp_server_ids or ())
        if body:
            await self._check_budget(chat_id or "", request)
        chat_id = chat_id or str(uuid.uuid4())
        if request is None or await self._service.chat(chat_id) is None:  # else nothing will be appended there
            command = replace(command, content=await self._use_files(chat_id, body, request))
        return await self._service.execute(chat_id, command, request=request)

    async def get(self, chat_id: str) -> Chat:
        """The state of a chat. Raises `NotFound`, also for a deleted one."""
        chat = await self._service.chat(chat_id)
        if chat is None or chat.owner_id != self.owner_id or chat.is_deleted:
            raise NotFound
        return chat

    async def list(
        self,
        *,
        parent: str | None = None,
        archived: bool | None = False,
        label: tuple[str, str] | None = None,
        title: str = "",
        limit: int = PAGE,
        after: tuple[int, str] | None = None,
    ) -> tuple[Listed, ...]:
        """A page of the chats, latest `updated_at` first. See `ports.ChatStore.list_chats`."""
        return await self._store.list_chats(
            self.owner_id, parent=parent, archived=archived, label=label, title=title, limit=limit, after=after
        )

    async def list_pinned(self, *, limit: int = PAGE) -> tuple[Listed, ...]:
        """The pinned chats by the order of their pins, without archived and child chats."""
        return await self._store.list_pinned_chats(self.owner_id, limit=limit)

    async def change(self, chat_id: str, *commands: c.Command, request: Request | None = None) -> Done:
        """Execute any commands of a person in one append. `request` makes the call idempotent."""
        await self._check_owner(chat_id)
        for command in commands:
            if isinstance(command, c.SetModel):
                await self._check_named(command.model, chat_id, None)
            elif isinstance(command, c.SetMcpServers):
                await self._check_named("", chat_id, None, command.mcp_server_ids or ())
        return await self._service.execute(chat_id, *commands, request=request)

    # --- messages

    async def edit(
        self,
        chat_id: str,
        message_id: int,
        content: Content,
        *,
        clear_queue: bool = False,
        client_message_id: str = "",
        settings: Sequence[c.Command] = (),
    ) -> Done:
        """Replace a message and what follows it. `settings` change in the same append, or not at all."""
        body = self.make_content(content)
        await self._check_owner(chat_id)
        await self._check_budget(chat_id)
        command = c.EditMessage(
            message_id=message_id,
            content=await self._use_files(chat_id, body),
            target=None,
            clear_queue=clear_queue,
            client_message_id=client_message_id,
            by=self.owner_id,
            trace=self._trace or TRACES.current(),
            via=self._via,
        )
        return await self.change(chat_id, *settings, command)

    async def retry(
        self,
        chat_id: str,
        turn_id: int = 0,
        *,
        settings: Sequence[c.Command] = (),
        request: Request | None = None,
    ) -> Done:
        """Run the last turn again. A `turn_id` that is not the last turn is refused; 0 stands for the last one.
        `settings` change in the same append, and `request` makes it idempotent."""
        await self._check_owner(chat_id)
        await self._check_budget(chat_id, request)
        return await self.change(chat_id, *settings, c.Retry(turn_id=turn_id), request=request)

    async def agent_state(self, chat_id: str) -> tuple[bytes, int]:
        """The agent's state (`turn.state`) as JSON, and the seq of its fact (0: the agent has stored none)."""
        seq = (await self.get(chat_id)).state_seq
        found = await self._store.read_contents(chat_id, [seq]) if seq else {}
        return found.get(seq, b"{}"), seq

    # --- the turn

    async def interrupt(self, chat_id: str, turn_id: int, *, clear_queue: bool = False) -> tuple[bool, int]:
        """Interrupt a turn.

        Returns:
            Whether that turn is being interrupted or was just interrupted, and the seq of the fact that says so, or
            else the chat's last seq.
        """
        command = c.Interrupt(turn_id=turn_id, clear_queue=clear_queue, by=self.owner_id)
        chat = (await self.change(chat_id, command)).chat
        is_stopping = chat.status is Status.INTERRUPTING and chat.turn_id == turn_id
        was_stopped = chat.last_turn_id == turn_id != chat.turn_id and chat.last_outcome is Outcome.INTERRUPTED
        interrupted = turn_id > 0 and (is_stopping or was_stopped)
        return interrupted, (chat.interrupt_seq if interrupted and chat.interrupt_seq else chat.seq)

    async def delete(self, chat_id: str, *, upto: int = 0) -> None:
        """Delete a chat and its child chats. It raises `NotAllowedNow` if the chat has facts after `upto`."""
        chat = await self._service.chat(chat_id)
        if chat is None or chat.owner_id != self.owner_id:
            raise NotFound
        if upto in (0, chat.seq):
            await self._delete_children(chat_id)
        with contextlib.suppress(NotFound):
            await self.change(chat_id, c.Delete(upto=upto))
        await self._delete_children(chat_id)  # those that its turn has started meanwhile

    async def _delete_children(self, chat_id: str) -> None:
        while children := await self.list(parent=chat_id, archived=None):
            for child in children:
                await self.delete(child.chat_id)

    async def page(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int = PAGE,
        as_of: int | None = None,
    ) -> Page:
        """A page of the history, with the queued messages.

        Args:
            chat_id: The chat.
            after_id: The page after this message; 0: from the beginning.
            before_id: The page before this message. With neither, the newest page.
            limit: Maximum number of messages.
            as_of: The history as it was after the fact with this seq; None: as it is now.
        """
        chat = await self.get(chat_id)
        store = self._store
        limit = min(limit, PAGE_MAX)
        messages, has_more = await store.read_messages(
            chat_id, after_id=after_id, before_id=before_id, limit=limit, as_of=as_of
        )
        queue = (*chat.steering, *chat.queue)
        contents = await store.read_contents(chat_id, [item.content_seq for item in queue]) if queue else {}
        queued = tuple((item, contents.get(item.content_seq)) for item in queue)
        open_calls = await self.open_calls(chat_id, chat)
        return Page(messages=messages, queued=queued, has_more=has_more, open_calls=open_calls)

    async def iter_messages(self, chat_id: str, *, page: int) -> AsyncIterator[Entry]:
        """All messages that are visible now, oldest first, read `page` at a time, with at most `ITER_BYTES` and a
        message. Edits meanwhile do not change them. Raises `NotFound` if the chat is deleted meanwhile."""
        as_of = (await self.get(chat_id)).seq
        after_id, has_more = 0, True
        while has_more:
            messages, has_more = await self._store.read_messages(
                chat_id, after_id=after_id, limit=page, bytes_max=ITER_BYTES, as_of=as_of
            )
            for entry in messages:
                yield entry
            after_id = messages[-1].seq if messages else after_id
        await self.get(chat_id)

    async def versions(self, chat_id: str) -> tuple[Version, ...]:
        """What edits and retries have replaced, oldest first: the newest `VERSIONS_MAX` of them."""
        await self.get(chat_id)
        return await self._store.read_versions(chat_id, limit=VERSIONS_MAX)

    def make_content(self, content: Content) -> bytes:
        """The canonical bytes of a message's content.

        Raises:
            Invalid: It is empty, nested too deeply, or has parts that a message cannot have.
            TooLarge: It has more than `Limits.message_bytes`.
        """
        parts = user_parts(content)
        if all(isinstance(part, Text) and not part.text for part in parts):
            raise Invalid("content", "a message needs some content")
        if is_too_deep(parts):
            raise Invalid("content", f"JSON may nest at most {DEPTH_MAX} deep")
        body = encode_content(parts)
        if len(body) > self._limits.message_bytes:
            raise TooLarge("message (in bytes)", self._limits.message_bytes)
        return body

    async def _check_named(
        self, model: str, chat_id: str, request: Request | None, mcp_server_ids: Sequence[str] = ()
    ) -> None:
        """Raises `Invalid` for a model that cannot exist, and for an MCP server that is not configured. A repeat
        passes: it gets the first answer, even if the model or server was removed meanwhile."""
        try:
            if model and self._check_model is not None:
                await self._check_model(model)
            if mcp_server_ids and self._check_mcp_servers is not None:
                self._check_mcp_servers(mcp_server_ids)
        except Invalid:
            if not await self._is_repeat(chat_id, request):
                raise

    async def _check_budget(self, chat_id: str, request: Request | None = None) -> None:
        """Raises `BudgetExhausted` before a turn is started or queued. A repeat passes: it gets the first answer."""
        try:
            if self._check_owner_budget is not None:
                await self._check_owner_budget(self.owner_id)
        except BudgetExhausted:
            if not await self._is_repeat(chat_id, request):
                raise

    async def _use_files(self, chat_id: str, body: bytes, request: Request | None = None) -> bytes:
        """Record that the chat names the files in a message, before it is appended. Returns the message with what the
        store records of them. Raises `NotFound` for a file that the owner does not have. A repeat passes: the file
        may have been removed with its chat."""
        parts = decode_content(body) if b'"file_id"' in body else ()
        if not (file_ids := file_ids_of(parts)):
            return body
        missing = await self._store.use_files(self.owner_id, chat_id, file_ids)
        if not missing:
            return encode_content(await with_descriptions(self._store, parts))
        if not await self._is_repeat(chat_id, request):
            raise NotFound("file")
        return body

    async def _is_repeat(self, chat_id: str, request: Request | None) -> bool:
        return request is not None and bool(await self._store.read_receipts(chat_id, [request.client_id]))

    async def _check_owner(self, chat_id: str) -> None:
        """Raises `NotFound` for a chat of another owner. Deleted chats pass: their receipts still answer repeats. The
        owner of a chat never changes, so an old cached state is good enough."""
        chat = self._service.chat_nowait(chat_id) or await self._service.chat(chat_id)
        if chat is None or chat.owner_id != self.owner_id:
            raise NotFound


def _hash_of(command: c.CreateChat, title: str, system: str) -> bytes:
    """The hash of what a caller gave; `title` and `system` as they were given."""
    given = [msgspec.json.encode(command.tools, order="sorted")] if command.tools else []
    if command.mcp_server_ids is not None:
        given.append(msgspec.json.encode({"mcp": sorted(command.mcp_server_ids)}))
    labels = msgspec.json.encode(command.labels, order="sorted")
    return hash_of(command.content, title, command.model, system, labels, command.owner_id, *given)
