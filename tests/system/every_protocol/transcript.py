"""What a client shows of a chat, in a form in which all clients are compared: who said what, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from antiphon.testing.checker import TOKEN

Said = list[tuple[str, str]]
"""The role (`user` or `assistant`) and the text. All that was answered to one message is one entry."""


def joined(pieces: Iterable[tuple[str, str]]) -> Said:
    """Pieces of messages, oldest first. What has no text, or is neither a person's nor an answer, is left out."""
    said: Said = []
    for role, text in pieces:
        if not text or role not in ("user", "assistant"):
            continue
        if said and said[-1][0] == role:
            text = said.pop()[1] + text
        said.append((role, text))
    return said


def of_messages(messages: Iterable[dict[str, Any]], draft: str = "") -> Said:
    """Messages as the HTTP API has them, then the text that is being written."""
    found = ((message["role"], text_of(message["content"])) for message in messages)
    return joined([*found, ("assistant", draft)])


def text_of(content: Any) -> str:
    """The text of content that is a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] in ("text", "input_text", "output_text"))


def words(said: Said) -> Said:
    """For a screen, which breaks lines: the same with one space between words."""
    return [(role, " ".join(text.split())) for role, text in said]


class Shows(Protocol):
    """A client of the chat. One that is not exact is a screen, which shows the same words."""

    name: str
    is_exact: bool

    async def said(self) -> Said:
        """What it shows now."""
        ...


def has_begun(said: Said, *, turn: int, tokens: int) -> bool:
    """Whether this number of tokens of the answer to a message (the first is 1) is shown."""
    return len(said) == 2 * turn and len(TOKEN.findall(said[-1][1] + " ")) >= tokens
