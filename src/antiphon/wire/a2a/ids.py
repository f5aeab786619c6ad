"""The ids of A2A. Each names what it stands for, so nothing is stored.

- `task_<chat>_<message>`: a turn, by the message that begins it, or by the queued message that will begin it.
- `<draft>-<number>`: an artifact, by the draft and the number of the part in it.
- `msg_<chat>_<fact>` and `msg_<chat>_<draft>-<number>`: messages of the agent, and of users who gave no id.

`<chat>` is the chat's UUID without dashes. A context is a chat: its id, or the client's own name of it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from antiphon.errors import NotFound
from antiphon.wire.ids import chat_hex, chat_of_hex
from antiphon.wire.turn_output import PartKey

_TASK = re.compile(r"task_([0-9a-f]{32})_([1-9][0-9]{0,14})", re.ASCII)


class TaskId(NamedTuple):
    """The turn that the message `message_id` of a chat begins; it may wait in the queue."""

    chat_id: str
    message_id: int

    def __str__(self) -> str:
        return f"task_{chat_hex(self.chat_id)}_{self.message_id}"


def parse_task_id(text: str) -> TaskId:
    """Raises `NotFound` for any other text."""
    match = _TASK.fullmatch(text)
    if match is None:
        raise NotFound("task")
    return TaskId(chat_of_hex(match[1]), int(match[2]))


def artifact_id(key: PartKey) -> str:
    return f"{key.draft}-{key.number}"


def message_id(chat_id: str, place: int | str) -> str:
    """The id of a message that no client has named."""
    return f"msg_{chat_hex(chat_id)}_{place}"
