"""Chats in each status, ready for a command."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import ErrorInfo

from .alphabet import CALLS
from .history import History, words


def empty() -> History:
    history = History()
    history.do(c.CreateChat(owner_id="o"))
    return history


def running(*waiting: str) -> History:
    """A turn that needs a worker. `waiting` are sends such as `queue:a` or `steer:b` while it is held."""
    history = History()
    history.do(c.CreateChat(owner_id="o", content=words("hi")))
    for message in waiting:
        mode, text = message.split(":")
        history.send(text, mode)
    return history


def held(*waiting: str, calls: tuple[str, ...] = ()) -> History:
    """A turn that an attempt holds, with a message of these open calls if any."""
    history = running()
    history.start()
    if calls:
        history.commit("let me see", *(CALLS[name] for name in calls))
    for message in waiting:
        mode, text = message.split(":")
        history.send(text, mode)
    return history


def interrupting(*waiting: str, calls: tuple[str, ...] = ()) -> History:
    history = held(*waiting, calls=calls)
    assert history.interrupt() == ("interrupt_requested",)
    return history


def acting(*waiting: str, calls: tuple[str, ...] = ("approval",)) -> History:
    """Client-side calls or approvals are open."""
    history = held(*waiting, calls=calls)
    assert history.require_action() == ("action_required",)
    return history


def waiting_chat() -> History:
    """One turn was answered."""
    history = held()
    history.commit()
    return history


def failed(*waiting: str, answered: bool = False) -> History:
    """The last turn failed; queued messages stay queued."""
    history = held(*waiting)
    if answered:
        history.commit("so far", is_last=False)
    fail(history)
    return history


def lost(calls: tuple[str, ...], *waiting: str) -> History:
    """The attempt that had begun these calls is lost."""
    history = held(*waiting, calls=calls)
    history.do(c.ExpireAttempt(attempt=history.chat.attempt, reason="lease"))
    return history


def stop(history: History) -> tuple[str, ...]:
    """The holder ends the interrupted turn; it had written nothing."""
    return history.do(c.FinishInterrupt(**fence(history)))


def fail(history: History, delay_ms: int | None = None) -> tuple[str, ...]:
    error = ErrorInfo(message="it broke", kind="server", status_code=500)
    return history.do(c.FailAttempt(**fence(history), error=error, delay_ms=delay_ms))


def fence(history: History) -> dict[str, int]:
    return {"attempt": history.chat.attempt, "draft": history.chat.draft}


def last_fact(history: History, kind: type[f.Fact]) -> f.Fact:
    return next(entry.fact for entry in reversed(history.entries) if type(entry.fact) is kind)


def texts(history: History) -> list[str]:
    """The contents of the visible messages as `role: text`; a delivered message's is read at its `content_seq`."""
    contents = {entry.seq: entry.content for entry in history.entries if entry.content is not None}
    shown = []
    for entry in history.entries:
        fact = entry.fact
        if isinstance(fact, f.MessageAppended) and entry.seq not in history.ledger.hidden:
            shown.append(f"{fact.role}: {_text(contents[fact.content_seq or entry.seq])}")
    return shown


def _text(content: bytes) -> str:
    text = content.decode()
    return text[text.index('"text":"') + 8 :].split('"')[0] if '"text":"' in text else _error(text)


def _error(text: str) -> str:
    return text[text.index('"error":"') + 9 :].split('"')[0]
