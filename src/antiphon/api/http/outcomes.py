"""The results of commands, the same over every protocol."""

from __future__ import annotations

from typing import Any

from antiphon.core.facts import Entry, MessageQueued
from antiphon.ports import Done


def sent_entry(done: Done) -> Entry:
    """The fact of the message that a send or an edit appended or queued."""
    for entry in done.entries:
        if isinstance(entry.fact, MessageQueued) or getattr(entry.fact, "role", None) == "user":
            return entry
    raise AssertionError("a send appends or queues a message")


def restarted(done: Done) -> dict[str, Any]:
    """The turn that a retry restarts."""
    entry: Any = next(entry for entry in done.entries if hasattr(entry.fact, "turn_id"))
    return {"turn_id": entry.fact.turn_id, "seq": entry.seq}


def last_seq(done: Done) -> dict[str, Any]:
    """The seq of the last fact the command made, else the chat's last."""
    return {"seq": done.entries[-1].seq if done.entries else done.chat.seq}
