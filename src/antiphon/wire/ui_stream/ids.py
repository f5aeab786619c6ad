"""The ids of the AI SDK's messages. Ours name the chat, the turn and the fact at which the message begins.

- `msg_<chat>_<turn>`: the answer of a turn.
- `msg_<chat>_<turn>_<begin>`: the answer after the turn was restarted by the fact `begin`.
- `msg_<chat>_<id>` as the id of a user's message: one that has no id of a client.

`<chat>` is the chat's UUID without dashes. Messages that the client has made have the client's own ids.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from antiphon.wire.client_ids import stored_client_id

_OURS = re.compile(r"msg_([0-9a-f]{32})_([1-9][0-9]{0,14})(?:_([1-9][0-9]{0,14}))?", re.ASCII)


class MessageId(NamedTuple):
    """The answer of the turn `turn_id`. `begin` is the fact that restarted it last, or `turn_id`."""

    chat_id: str
    turn_id: int
    begin: int

    def __str__(self) -> str:
        later = "" if self.begin == self.turn_id else f"_{self.begin}"
        return f"{user_message_id(self.chat_id, self.turn_id)}{later}"


def user_message_id(chat_id: str, seq: int) -> str:
    """The id of a user's message that has no id of a client."""
    return f"msg_{chat_id.replace('-', '')}_{seq}"


def parse_message_id(text: str, chat_id: str) -> MessageId | None:
    """None for an id that is not one of this chat."""
    match = _OURS.fullmatch(text)
    if match is None or match[1] != chat_id.replace("-", ""):
        return None
    return MessageId(chat_id, int(match[2]), int(match[3] or match[2]))


def client_message_id(text: str) -> str:
    """A client's id of a message as it is stored."""
    return stored_client_id(text, "ui")
