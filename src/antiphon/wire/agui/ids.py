"""The ids of AG-UI's messages. They depend on the log only, so they are the same live and in a snapshot.

- `usr_<chat>_<id>`: a user's message that has no id of a client.
- `ans_<chat>_<draft>`: what the model wrote into a draft: its first text and its tool calls.
- `ans_<chat>_<draft>_<number>`: a further part of the draft, such as reasoning.
- `res_<chat>_<id>_<number>`: the result of a tool.

`<chat>` is the chat's UUID without dashes. A message that has a client's own id keeps it.
"""

from __future__ import annotations

from antiphon.core.facts import Closes
from antiphon.wire.client_ids import stored_client_id
from antiphon.wire.turn_output import PartKey


class Names:
    """The ids of the messages of one chat."""

    def __init__(self, chat_id: str) -> None:
        self._chat = chat_id.replace("-", "")

    def user(self, seq: int, client_message_id: str = "") -> str:
        return client_message_id or f"usr_{self._chat}_{seq}"

    def is_user(self, name: str) -> bool:
        """Whether it is the id of a user's message of this chat that has no id of a client."""
        return name.startswith(f"usr_{self._chat}_")

    def answer(self, draft: int | str) -> str:
        return f"ans_{self._chat}_{draft}"

    def part(self, draft: int | str, number: int) -> str:
        return f"ans_{self._chat}_{draft}_{number}"

    def part_of(self, key: PartKey) -> str:
        return self.part(key.draft, key.number)

    def result(self, seq: int, number: int) -> str:
        return f"res_{self._chat}_{seq}_{number}"

    def dropped(self, seq: int, number: int) -> str:
        """The result of a call that the model has not finished."""
        return f"res_{self._chat}_{seq}_d{number}"


def draft_of(closes: Closes | None, seq: int) -> int | str:
    """The draft that a message closes, or a name for that of an imported message, which was never written here."""
    return closes.draft if closes is not None else f"m{seq}"


def client_message_id(text: str) -> str:
    """A client's id of a message as it is stored."""
    return stored_client_id(text, "agui")
