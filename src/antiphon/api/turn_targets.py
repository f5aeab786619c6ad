"""What a client of another protocol reads: the answer of a turn after one of its facts. And how it is read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.core.facts import Entry, MessageQueued
from antiphon.core.values import Value
from antiphon.watch.watcher import Watcher

CHAT_HEADER = "antiphon-chat-id"
"""The chat's id in this server, for its other APIs."""
HEADER_MAX = 1_000
"""Maximum length of a header with texts of a client, in characters."""


class Target(Value):
    """What a client wants to read: the turn's answer after the fact `after`, or that of a queued message, whose turn
    has not begun (`turn_id` 0) and whose id is `after`."""

    chat_id: str
    turn_id: int
    after: int
    is_new: bool = False
    """Whether this request has begun it."""
    ignored: tuple[str, ...] = ()
    """What of the request has no effect."""


def target_of(chat_id: str, entry: Entry, *, is_new: bool = False) -> Target:
    """The answer to a message that was appended or queued."""
    turn_id = 0 if isinstance(entry.fact, MessageQueued) else getattr(entry.fact, "turn_id", 0)
    return Target(chat_id=chat_id, turn_id=turn_id, after=entry.seq, is_new=is_new)


async def open_target(call: Call, target: Target) -> tuple[AbstractAsyncContextManager[Watcher], Watcher]:
    """A watcher that begins with the fact `after`. It is opened now, so that a refusal is still an ordinary answer.

    Raises:
        NotFound: There is no such chat.
        TooMany: The maximum number of watchers is reached.
    """
    assert call.token is not None
    opened: AbstractAsyncContextManager[Watcher] = call.instance.watch.open_watcher(
        target.chat_id,
        (target.after - 1, 0),
        token_id=call.token.token_id,
        owner_id=call.owner_id,
        reads_all=True,
    )
    return opened, await opened.__aenter__()


async def restart_of(call: Call, chat_id: str, turn_id: int) -> int:
    """The fact that restarted a turn last; 0: none did."""
    restart: Any = await call.instance.store.newest_entry(chat_id, "turn_restarted", after_seq=turn_id)
    return restart.seq if restart is not None and restart.fact.turn_id == turn_id else 0


async def stop_turn(call: Call, chat_id: str, *, clear_queue: bool) -> bool:
    """Interrupt the turn that is in progress now; whether there is one. Raises `NotFound`."""
    chats = chats_of(call)
    turn_id = (await chats.get(chat_id)).turn_id
    return bool(turn_id) and (await chats.interrupt(chat_id, turn_id, clear_queue=clear_queue))[0]


def header_of(texts: Iterable[str]) -> str:
    """Texts as the value of a header: plain ASCII, bounded."""
    shown = ", ".join(texts).encode("ascii", "replace").decode()
    return "".join(char if char.isprintable() else "?" for char in shown)[:HEADER_MAX]
