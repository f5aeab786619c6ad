"""The active chat: one chat of the admin, the same for every instance on a store."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from antiphon.errors import AntiphonError
from antiphon.ports import Append, Bus, Store
from antiphon.signal import Signal

SETTING = "active_session"
"""The name of the stored setting; its value is the chat's id."""
CHANNEL = "antiphon:active"
"""The channel on which an instance publishes that it changed the setting."""

log = structlog.get_logger(__name__)


class ActiveChat:
    """`chat_id` is empty where no chat is active. `run` it as a task."""

    def __init__(self, *, store: Store, bus: Bus, poll_s: float = 2.0) -> None:
        """`poll_s` is how often the setting is read without a hint, in seconds."""
        self.chat_id = ""
        self._store = store
        self._bus = bus
        self._poll_s = poll_s
        self._changes = 0
        """The number of changes made by this instance. A read during such a change is out of date."""
        self._activating = 0
        """The number of changes being written. A read may return one of them, which no other instance made."""
        self.changed_by_other: Signal[str] = Signal("active_chat_changed")
        """Emitted with the chat that another instance made the active one."""
        self._wake = asyncio.Event()
        self._unsubscribe = bus.subscribe(CHANNEL, lambda message: self._wake.set()) if store.is_shared else None

    def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    async def start(self) -> None:
        self.chat_id = await self._read()

    async def activate(self, chat_id: str) -> None:
        """Store `chat_id` as the active chat, and publish the change."""
        self._activating += 1
        try:
            await self._store.write_setting(SETTING, chat_id)
            self._set(chat_id)
        finally:
            self._activating -= 1
        self._publish(chat_id)

    def on_append(self, append: Append) -> None:
        """No chat is active once the active one is deleted."""
        if append.chat.is_deleted and append.chat_id == self.chat_id:
            self._set("")
            self._publish("")

    def _set(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self._changes += 1

    def _publish(self, chat_id: str) -> None:
        if self._store.is_shared:
            self._bus.publish_nowait(CHANNEL, chat_id.encode())

    async def _read(self) -> str:
        named = await self._store.read_setting(SETTING)
        chat = await self._store.load(named) if named else None
        return named if chat is not None and not chat.is_deleted else ""

    async def run(self) -> None:
        """Follow the changes of other instances until cancelled."""
        while self._store.is_shared:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._refresh()
            except AntiphonError as error:  # readiness reports the error of the store
                log.debug("active_chat_read_failed", error=str(error))

    async def _refresh(self) -> None:
        changes = self._changes
        found = await self._read()
        if found == self.chat_id or changes != self._changes or self._activating:
            return
        self.chat_id = found
        if found:
            self.changed_by_other.emit(found)
