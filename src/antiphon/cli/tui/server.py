"""A server whose chats are listed: found again whenever it does not respond, also at another address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import cast

from antiphon.cli.instance import InstanceAccess
from antiphon.client import AsyncClient
from antiphon.client.shapes import Chat
from antiphon.errors import AntiphonError, Unauthenticated, Unavailable

CHECK_S = 2.0
"""Time between two checks that the server responds, in seconds."""
ANSWER_S = 2.0
"""How long to wait for the response to a check, in seconds."""
PAGE = 100
"""Chats per request."""
CONNECTING = "connecting"
"""The state before the first attempt to reach a server."""
CHATS_MAX = 2_000
"""Maximum number of listed chats of a server. Others are found by the search."""


class Server:
    """Run `run` as a task. `find` returns how to reach the server, or raises the reason why it cannot be reached (it
    runs in a thread). `on_change` is called when the list or the state changes, `on_access` with new clients, before
    the old ones are closed. `can_end`: it is not listed any more when it has ended."""

    def __init__(
        self,
        key: str,
        name: str,
        find: Callable[[], InstanceAccess],
        *,
        on_change: Callable[[], None],
        on_access: Callable[[Server], None],
        can_end: bool = False,
    ) -> None:
        self.key = key
        self.name = name
        self.can_end = can_end
        self.chats: dict[str, Chat] = {}
        self.archived: dict[str, Chat] | None = None
        """The archived chats; None: they are not shown."""
        self.has_more = False
        self.problem = CONNECTING
        """Why the server cannot be used, in a sentence; "": it can."""
        self.client: AsyncClient | None = None
        self.http: AsyncClient | None = None
        self.access: InstanceAccess | None = None
        self._find = find
        self._on_change = on_change
        self._on_access = on_access
        self._feeding: asyncio.Task[None] | None = None
        self._next: str | None = None

    @property
    def running(self) -> int:
        return sum(chat["status"] in ("running", "interrupting") for chat in self.chats.values())

    @property
    def waiting(self) -> int:
        """How many chats wait for a person."""
        return sum(chat["status"] == "requires_action" for chat in self.chats.values())

    @property
    def unread(self) -> int:
        return sum(chat["has_unread"] for chat in self.chats.values())

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if not await self._responds():
                    await self._reconnect()
                await asyncio.sleep(CHECK_S)
        finally:
            await self._close(self.client, self.http)

    async def load_more(self) -> None:
        """List the next page of chats. Raises the error of the request."""
        if self.client is None or self._next is None or len(self.chats) >= CHATS_MAX:
            return
        page = await self.client.chats(limit=PAGE, after=self._next)
        self.chats |= {chat["id"]: chat for chat in page["chats"]}
        self._set_next(page["next"])

    async def show_archived(self, *, is_shown: bool) -> None:
        """List the archived chats, or no longer. Raises the error of the request."""
        if not is_shown or self.client is None:
            self.archived = None
        else:
            page = await self.client.chats(archived=True, limit=PAGE)
            self.archived = {chat["id"]: chat for chat in page["chats"]}
        self._on_change()

    async def search(self, text: str) -> list[Chat]:
        """The chats whose title contains the text; none while the server does not respond."""
        if self.client is None or self.problem:
            return []
        try:
            async with asyncio.timeout(ANSWER_S):
                return (await self.client.chats(title=text, limit=PAGE))["chats"]
        except (AntiphonError, TimeoutError):
            return []

    async def refresh(self) -> None:
        """Read the list again. Raises the error of the request."""
        assert self.client is not None
        page = await self.client.chats(limit=PAGE)
        self.chats = {chat["id"]: chat for chat in page["chats"]}
        self._set_next(page["next"])
        if self.archived is not None:
            await self.show_archived(is_shown=True)

    # --- the connection

    async def _responds(self) -> bool:
        if self.http is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.http.healthz()
        except (AntiphonError, TimeoutError):
            return False
        self._set_problem("")
        return True

    async def _reconnect(self) -> None:
        try:
            access = await asyncio.to_thread(self._find)
            if access != self.access:
                await self._connect(access)
            elif self.client is not None:
                await self.refresh()
        except Unauthenticated:
            self._set_problem("the token is not valid")
        except Unavailable:
            self._set_problem("does not respond")
        except AntiphonError as error:
            self._set_problem(str(error).rstrip("."))
        else:
            self._set_problem("")

    async def _connect(self, access: InstanceAccess) -> None:
        old = self.client, self.http
        self.access, self.client, self.http = access, access.async_client(), access.async_http_client()
        if self._feeding is not None:
            self._feeding.cancel()
        self._feeding = asyncio.create_task(self._feed(self.http))
        self._on_access(self)
        await self._close(*old)
        await self.refresh()

    async def _close(self, *clients: AsyncClient | None) -> None:
        if self._feeding is not None and clients[-1] is self.http:
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
        for client in clients:
            if client is not None:
                await client.aclose()

    async def _feed(self, http: AsyncClient) -> None:
        """Apply the changes of the chats until cancelled. (The feed reconnects by itself.)"""
        try:
            async with aclosing(http.feed()) as events:
                async for event in events:
                    if event.type == "resync":
                        await self.refresh()
                    elif event.type == "chat":
                        self._apply(str(event.data.get("kind")), cast(Chat, event.data["chat"]))
        except AntiphonError as error:
            self._set_problem(str(error).rstrip("."))

    def _apply(self, kind: str, chat: Chat) -> None:
        if kind == "deleted" or chat["archived"] or chat.get("parent_chat_id"):
            self.chats.pop(chat["id"], None)
        else:
            self.chats[chat["id"]] = chat
            while len(self.chats) > CHATS_MAX:
                self.chats.pop(min(self.chats, key=lambda key: self.chats[key]["updated_at"]))
        if self.archived is not None:
            if chat["archived"] and kind != "deleted":
                self.archived[chat["id"]] = chat
            else:
                self.archived.pop(chat["id"], None)
        self._on_change()

    def _set_next(self, following: str | None) -> None:
        self._next, self.has_more = following, following is not None and len(self.chats) < CHATS_MAX
        self._on_change()

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._on_change()
