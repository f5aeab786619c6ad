"""The messages that a person has sent and the server has not confirmed yet, in their order."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from antiphon.client.shapes import WhenBusy
from antiphon.errors import AntiphonError, Unavailable

RETRY_S = 1.0
"""Time before a message is sent again to a server that does not respond, in seconds."""
UNSENT_MAX = 100
"""Maximum number of unconfirmed messages; a further one is refused, and its text stays on the input line."""


class Outgoing(NamedTuple):
    """A message and its files. Its id makes sending it again safe. `edits`: the message that it replaces."""

    text: str
    paths: Sequence[Path] = ()
    when_busy: WhenBusy = "queue"
    edits: int | None = None
    message_id: str = ""


class OutgoingQueue:
    """Sends one message after another by `send`. While the server does not respond, the first one is tried again;
    a refused one is handed to `on_refused` with the reason."""

    def __init__(
        self,
        send: Callable[[Outgoing], Awaitable[None]],
        on_refused: Callable[[Outgoing, AntiphonError], None],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._retry_s = retry_s
        self._send = send
        self._on_refused = on_refused
        self._waiting: deque[Outgoing] = deque()
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def items(self) -> Sequence[Outgoing]:
        return tuple(self._waiting)

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self._waiting]

    def put(self, item: Outgoing) -> bool:
        """Returns False if too many messages are unconfirmed."""
        if len(self._waiting) >= UNSENT_MAX:
            return False
        self._waiting.append(item._replace(message_id=item.message_id or str(uuid.uuid4())))
        self._empty.clear()
        self._changed.set()
        return True

    def clear(self) -> int:
        """Withdraw all messages; the one that is being sent may arrive all the same. Returns how many they were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    async def join(self) -> None:
        """Wait until every message is confirmed or refused."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            while not self._waiting:
                self._empty.set()
                self._changed.clear()
                await self._changed.wait()
            item = self._waiting[0]
            try:
                await self._send(item)
            except Unavailable as error:
                if item.edits is None:  # an edit has no id of its own: it is not sent twice
                    await asyncio.sleep(self._retry_s)
                    continue
                self._on_refused(item, error)
            except AntiphonError as error:
                self._on_refused(item, error)
            if self._waiting and self._waiting[0] is item:  # not withdrawn meanwhile
                self._waiting.popleft()
