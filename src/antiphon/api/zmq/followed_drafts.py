"""The drafts that other instances write of chats which are told here: asked for, up to a bound, and let go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from antiphon.cluster.relay import RelayedDrafts
from antiphon.core.draft import Draft
from antiphon.core.facts import Closes
from antiphon.core.model import Chat, Status
from antiphon.observe.metrics import METRICS

FOLLOWED_MAX = 500
"""So many drafts are followed at once, those of the chats that changed last; others are told once they are closed."""
CLOSING_S = 0.1
"""So long a fact that closes a draft waits for what of the draft is still on its way."""

GROWS = (Status.RUNNING, Status.INTERRUPTING)
"""A chat in one of these has a draft that somebody may write."""


class Followed:
    """A draft that is asked for. `led_to`: the newest one whose facts were asked for because of it."""

    __slots__ = ("end", "grown", "led_to", "updated_at")

    def __init__(self) -> None:
        self.end: Callable[[], None] = lambda: None
        self.grown = asyncio.Event()
        self.led_to = 0
        self.updated_at = 0


class FollowedDrafts:
    """`keep_up` with each chat that is told. `on_growth` is called when a chat's draft has grown, `on_led` when one
    has begun of which no fact is told yet (`seq_told`)."""

    def __init__(
        self,
        relay: RelayedDrafts,
        *,
        instance_id: str,
        seq_told: Callable[[str], int],
        on_growth: Callable[[str], None],
        on_led: Callable[[str], None],
    ) -> None:
        self._relay = relay
        self._instance_id = instance_id
        self._seq_told = seq_told
        self._tell_growth = on_growth
        self._tell_led = on_led
        self._followed: dict[str, Followed] = {}

    def __len__(self) -> int:
        return len(self._followed)

    def get(self, chat_id: str) -> Draft | None:
        """The open draft of a chat, wherever it is written."""
        return self._relay.get(chat_id)

    def keep_up(self, chat_id: str, chat: Chat) -> None:
        """Follow the chat's draft while it may be written elsewhere, else let it go."""
        if chat.status not in GROWS or chat.holder == self._instance_id:
            self._let_go(chat_id)
            return
        followed = self._followed.get(chat_id) or self._follow(chat_id, chat)
        if followed is not None:
            followed.updated_at = chat.updated_at
            self._relay.follow(chat_id, chat.draft, chat.holder)

    def clear(self) -> None:
        for chat_id in tuple(self._followed):
            self._let_go(chat_id)

    async def wait_closing(self, chat_id: str, closes: Closes) -> None:
        """Wait, but not for long, until the draft has come in up to where it was closed."""
        followed = self._followed.get(chat_id)
        if followed is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                while (draft := self.get(chat_id)) is not None:
                    if draft.name != closes.draft or draft.position >= closes.upto:
                        return
                    followed.grown.clear()
                    await followed.grown.wait()

    def _follow(self, chat_id: str, chat: Chat) -> Followed | None:
        if len(self._followed) >= FOLLOWED_MAX:
            METRICS.oddities.labels("unfollowed_session").inc()
            oldest = min(self._followed, key=lambda each: self._followed[each].updated_at)
            if self._followed[oldest].updated_at >= chat.updated_at:
                return None
            self._let_go(oldest)
        followed = self._followed[chat_id] = Followed()
        followed.end = self._relay.listen(chat_id, partial(self._on_growth, chat_id), is_seen=False)
        return followed

    def _let_go(self, chat_id: str) -> None:
        followed = self._followed.pop(chat_id, None)
        if followed is not None:
            followed.end()

    def _on_growth(self, chat_id: str) -> None:
        followed, draft = self._followed.get(chat_id), self.get(chat_id)
        if followed is None:
            return
        followed.grown.set()
        if draft is not None and draft.name > max(self._seq_told(chat_id), followed.led_to):
            followed.led_to = draft.name
            self._tell_led(chat_id)
        self._tell_growth(chat_id)
