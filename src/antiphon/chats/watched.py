"""Which chats have a watcher in this process."""

from __future__ import annotations

from collections import Counter

from antiphon.signal import Signal


class WatchedChats:
    """Counts the watchers of each chat. `Watch` updates it; the inbox makes no notification for a watched chat, and
    the relay tells the holder of its draft. `changed` is emitted with a chat when its first watcher comes and when
    its last one leaves."""

    def __init__(self) -> None:
        self.changed: Signal[str] = Signal("watched_chats_changed")
        self._watchers: Counter[str] = Counter()

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self._watchers

    def add(self, chat_id: str) -> None:
        self._watchers[chat_id] += 1
        if self._watchers[chat_id] == 1:
            self.changed.emit(chat_id)

    def remove(self, chat_id: str) -> None:
        self._watchers[chat_id] -= 1
        if not self._watchers[chat_id]:
            del self._watchers[chat_id]
            self.changed.emit(chat_id)
