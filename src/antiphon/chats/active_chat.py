"""The active chat: one of the admin's, the same for every instance on a store."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from antiphon.errors import AntiphonError
from antiphon.ports import Append, Bus, Store
from antiphon.signal import Signal

SETTING = "active_session"
"""Holds the chat's id."""
CHANNEL = "antiphon:active"
POLL_S = 2.0
"""On a shared store it is looked at so often, and when another instance says that it has changed it."""

log = structlog.get_logger(__name__)


class ActiveChat:
    """`chat_id` is empty where no chat is active. `run` it as a task."""

    def __init__(self, *, store: Store, bus: Bus) -> None:
        self.chat_id = ""
        self._store = store
        self._bus = bus
        self._changes = 0
        """How often it was changed here: a look that such a change has overtaken says nothing."""
        self._activating = 0
        """So many changes are being written: what a look finds may be one of them, and was not made elsewhere."""
        self.activated_elsewhere: Signal[str] = Signal("active_chat_changed")
        """Emitted with the chat that another instance made the active one."""
        self._wake = asyncio.Event()
        self._unsubscribe = bus.subscribe(CHANNEL, lambda message: self._wake.set()) if store.is_shared else None

    def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    async def start(self) -> None:
        self.chat_id = await self._read()

    async def activate(self, chat_id: str) -> None:
        """Make it the active one, across restarts."""
        self._activating += 1
        try:
            await self._store.write_setting(SETTING, chat_id)
            self._set(chat_id)
        finally:
            self._activating -= 1
        self._tell(chat_id)

    def on_append(self, append: Append) -> None:
        """A deleted chat is not the active one any more."""
        if append.chat.is_deleted and append.chat_id == self.chat_id:
            self._set("")
            self._tell("")

    def _set(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self._changes += 1

    def _tell(self, chat_id: str) -> None:
        if self._store.is_shared:
            self._bus.publish_nowait(CHANNEL, chat_id.encode())

    async def _read(self) -> str:
        named = await self._store.read_setting(SETTING)
        chat = await self._store.load(named) if named else None
        return named if chat is not None and not chat.is_deleted else ""

    async def run(self) -> None:
        """Follow what other instances make of it, until cancelled."""
        while self._store.is_shared:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._look()
            except AntiphonError as error:  # which readiness tells of the store
                log.debug("active_chat_unread", error=str(error))

    async def _look(self) -> None:
        changes = self._changes
        found = await self._read()
        if found == self.chat_id or changes != self._changes or self._activating:
            return
        self.chat_id = found
        if found:
            self.activated_elsewhere.emit(found)
