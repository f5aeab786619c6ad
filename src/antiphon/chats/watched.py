"""The chats that have a watcher in this process."""

from __future__ import annotations

from collections import Counter

from antiphon.signal import Signal


class WatchedChats:
    """Counts the watchers of each chat. `Watch` updates the counts; the inbox makes no notification for a watched
    chat, and the relay reports watched chats to the instance that writes their draft."""

    def __init__(self) -> None:
        self.changed: Signal[str] = Signal("watched_chats_changed")
        """Emitted with a chat when its first watcher subscribes and when its last one is closed."""
        self._watchers: Counter[str] = Counter()

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self._watchers

    def add(self, chat_id: str) -> None:
        """Count one watcher more."""
        self._watchers[chat_id] += 1
        if self._watchers[chat_id] == 1:
            self.changed.emit(chat_id)

    def remove(self, chat_id: str) -> None:
        """Count one watcher less."""
        self._watchers[chat_id] -= 1
        if not self._watchers[chat_id]:
            del self._watchers[chat_id]
            self.changed.emit(chat_id)
