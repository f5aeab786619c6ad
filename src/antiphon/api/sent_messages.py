"""Whether a message of a client was sent before: receipts name those that were sent, and the log those that a chat
was created with."""

from __future__ import annotations

from antiphon.core.facts import Entry
from antiphon.core.model import FIRST_TURN_ID, Chat
from antiphon.core.parts import FileReference, Part
from antiphon.ports import Store
from antiphon.wire.codec import decode_content


async def first_message(store: Store, chat_id: str, chat: Chat, name: str) -> Entry | None:
    """The message that began the last turn or the first one, if it has this id: a chat that was created with messages
    has no receipts for them."""
    for seq in {chat.turn_id or chat.last_turn_id, FIRST_TURN_ID}:
        found = await store.read_entries(chat_id, seq - 1, limit=1, bytes_max=1)
        if found and getattr(found[0].fact, "client_message_id", "") == name:
            return found[0]
    return None


def is_same_content(entry: Entry, content: tuple[Part, ...]) -> bool:
    """Whether a stored message has this content. What the server stores of a file besides its id does not count."""
    return [_named(part) for part in decode_content(entry.content or b"[]")] == [_named(part) for part in content]


def _named(part: Part) -> Part:
    if isinstance(part, FileReference) and part.file_id:
        return FileReference(file_name=part.file_name, file_id=part.file_id)
    return part
