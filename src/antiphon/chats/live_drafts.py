"""The drafts that are being written in this process, and who is told when they grow."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.core.draft import Draft


class LiveDrafts:
    """At most one open draft a chat, by its holder's hand. Keeps the promises of `ports.Drafts`."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._observers: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._drafts)

    def get(self, chat_id: str) -> Draft | None:
        return self._drafts.get(chat_id)

    def open(self, chat_id: str, name: int) -> Draft:
        """Begin the draft `name`, whose fact is durable; the one before it is dropped."""
        draft = self._drafts[chat_id] = Draft(name)
        return draft

    def close(self, chat_id: str, draft: Draft) -> None:
        """Drop `draft`, unless another has taken its place."""
        if self._drafts.get(chat_id) is draft:
            del self._drafts[chat_id]

    def items(self) -> list[tuple[str, Draft]]:
        return list(self._drafts.items())

    def touch(self, chat_id: str) -> None:
        """Tell the listeners and the observers that the draft has grown."""
        self.tell(chat_id)
        for observe in tuple(self._observers):
            observe(chat_id)

    def tell(self, chat_id: str) -> None:
        """Tell the listeners alone (of a draft that is written elsewhere)."""
        for listener in tuple(self._listeners.get(chat_id, ())):
            listener()

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """What is written elsewhere is not to be had here."""

    def observe(self, observer: Callable[[str], None]) -> Callable[[], None]:
        """Call `observer` with the chat of each draft that grows; returns the call that ends it."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        self._listeners.setdefault(chat_id, []).append(on_change)

        def stop() -> None:
            listeners = self._listeners.get(chat_id, [])
            if on_change in listeners:
                listeners.remove(on_change)
            if not listeners:
                self._listeners.pop(chat_id, None)

        return stop
