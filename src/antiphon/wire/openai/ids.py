"""The ids of OpenAI's objects. Each names the chat, the turn and the fact that it stands for, so nothing is stored.

- `conv_<chat>`: a chat.
- `resp_<chat>_<turn>` or `resp_<chat>_<turn>_<after>`: the output of a turn that follows the fact `after`; without
  it, that which follows the message that began the turn. A turn that waits for a client's tool has several
  responses.
- `chatcmpl-<chat>-<turn>-<after>`: the same as a chat completion.

`<chat>` is the chat's UUID without dashes. An id that is not of this form is that of an object which does not exist.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from antiphon.errors import NotFound
from antiphon.wire.ids import chat_hex, chat_of_hex

_HEX = r"[0-9a-f]{32}"
_NUMBER = r"[1-9][0-9]{0,14}"
_RESPONSE = re.compile(rf"resp_({_HEX})_({_NUMBER})(?:_({_NUMBER}))?", re.ASCII)
_CONVERSATION = re.compile(rf"conv_({_HEX})", re.ASCII)


class ResponseId(NamedTuple):
    """The output of the turn `turn_id` of a chat after the fact `after`."""

    chat_id: str
    turn_id: int
    after: int

    def __str__(self) -> str:
        later = "" if self.after == self.turn_id else f"_{self.after}"
        return f"resp_{chat_hex(self.chat_id)}_{self.turn_id}{later}"

    @property
    def completion(self) -> str:
        """The id as that of a chat completion."""
        return f"chatcmpl-{chat_hex(self.chat_id)}-{self.turn_id}-{self.after}"


def parse_response_id(text: str) -> ResponseId:
    """Raises `NotFound` for any other text."""
    match = _RESPONSE.fullmatch(text)
    if match is None:
        raise NotFound("response")
    turn_id = int(match[2])
    after = int(match[3] or turn_id)
    if after < turn_id:
        raise NotFound("response")
    return ResponseId(chat_of_hex(match[1]), turn_id, after)


def parse_conversation_id(text: str) -> str:
    """The chat's id. Raises `NotFound` for any other text."""
    match = _CONVERSATION.fullmatch(text)
    if match is None:
        raise NotFound("conversation")
    return chat_of_hex(match[1])


def conversation_id(chat_id: str) -> str:
    return f"conv_{chat_hex(chat_id)}"


def item_id(kind: str, chat_id: str, *numbers: int | str) -> str:
    """The id of an item of a chat: `msg_<chat>_<draft>_<number>`, say."""
    return "_".join((kind, chat_hex(chat_id), *map(str, numbers)))
