"""The drafts that workers of this process write, and their listeners."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.core.draft import Draft
from antiphon.signal import Signal


class LiveDrafts:
    """At most one open draft per chat, written by the attempt that holds it. Implements `ports.Drafts`."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self.grown: Signal[str] = Signal("draft_grown")
        """Emitted with the chat of each draft that grows."""

    def __len__(self) -> int:
        return len(self._drafts)

    def get(self, chat_id: str) -> Draft | None:
        return self._drafts.get(chat_id)

    def open(self, chat_id: str, name: int) -> Draft:
        """Open the draft `name`, whose fact is durable; it replaces the one before it."""
        draft = self._drafts[chat_id] = Draft(name)
        return draft

    def close(self, chat_id: str, draft: Draft) -> None:
        """Drop `draft`, unless another one has replaced it."""
        if self._drafts.get(chat_id) is draft:
            del self._drafts[chat_id]

    def items(self) -> list[tuple[str, Draft]]:
        """The open drafts with their chats."""
        return list(self._drafts.items())

    def touch(self, chat_id: str) -> None:
        """Notify the listeners of a draft that has grown, and the subscribers of `grown`."""
        self.notify_listeners(chat_id)
        self.grown.emit(chat_id)

    def notify_listeners(self, chat_id: str) -> None:
        """Notify only the listeners (of a draft that another instance writes)."""
        for listener in tuple(self._listeners.get(chat_id, ())):
            listener()

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """Does nothing: drafts of other instances come through the relay (`cluster.relay`)."""

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        self._listeners.setdefault(chat_id, []).append(on_change)

        def stop() -> None:
            listeners = self._listeners.get(chat_id, [])
            if on_change in listeners:
                listeners.remove(on_change)
            if not listeners:
                self._listeners.pop(chat_id, None)

        return stop
