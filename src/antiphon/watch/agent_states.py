"""Adds the agent's states to facts that were read from the store.

The log has them beside its facts, because most readers need only their size. Translations to other protocols show
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.core.facts import Entry, StateChanged
from antiphon.ports import Store


async def with_states(store: Store, chat_id: str, entries: tuple[Entry, ...], *, bytes_max: int) -> tuple[Entry, ...]:
    """The facts with the states. Those after the one with which their content reaches `bytes_max` are left out, but
    not where states are missing, because the chat was deleted meanwhile."""
    if not any(isinstance(entry.fact, StateChanged) for entry in entries):
        return entries
    fitting = _fitting(entries, bytes_max)
    seqs = [entry.seq for entry in fitting if isinstance(entry.fact, StateChanged)]
    states = await store.read_contents(chat_id, seqs) if seqs else {}
    found = fitting if len(states) == len(seqs) else entries
    return tuple(replace(entry, content=states[entry.seq]) if entry.seq in states else entry for entry in found)


def _fitting(entries: Sequence[Entry], bytes_max: int) -> tuple[Entry, ...]:
    size = 0
    for number, entry in enumerate(entries):
        state_size = entry.fact.content_size if isinstance(entry.fact, StateChanged) else 0
        size += state_size + len(entry.content or b"")
        if size >= bytes_max:
            return tuple(entries[: number + 1])
    return tuple(entries)
