"""What the commands of a conversation act on, and what they share."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple, Protocol

from rich.cells import cell_len

from antiphon.cli.cells import fit, pad
from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.open_calls import OpenCalls
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.conversation.talk_screen import Output
from antiphon.cli.transcript import Kind, Piece
from antiphon.client import AsyncClient

RESULT_SHOWN_MAX = 20_000
"""Maximum length of a result or of thoughts shown in full, in characters."""


class Editing(NamedTuple):
    """What the input line holds instead of a message: a question that is edited, or the arguments of a call."""

    message_id: int | None = None
    call: dict[str, Any] | None = None


class Conversation(Protocol):
    """What commands act on."""

    client: AsyncClient
    files: AsyncClient | None
    chat: OpenChat
    open_calls: OpenCalls
    rings: bool
    currency: str

    @property
    def screen(self) -> Output: ...

    def open(self, options: ChatOptions) -> None: ...

    def send(self, text: str, *, when_busy: str = "", edits: int | None = None) -> bool: ...

    def edit(self, text: str, editing: Editing) -> None: ...

    def decide(self, call: dict[str, Any], decision: asking.Reply) -> bool: ...

    def act(self, action: Coroutine[Any, Any, None]) -> None: ...

    def note(self, text: str) -> None: ...

    def error(self, text: str) -> None: ...

    def leave(self) -> None: ...


class ActionGroup:
    """Some commands: `_name(argument)` carries one out. It returns False if the line must stay to be corrected."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    def _show(self, text: str, otherwise: str) -> None:
        if not text.strip():
            self._talk.note(otherwise)
            return
        self._talk.screen.print([Piece(Kind.VERBATIM, text[:RESULT_SHOWN_MAX])])
        if len(text) > RESULT_SHOWN_MAX:
            self._talk.note(f"({len(text) - RESULT_SHOWN_MAX:,} more characters; `antiphon show --json` has all)")

    def _chat_id(self) -> str | None:
        if self._talk.chat.chat_id is None:
            self._talk.error("There is no chat yet. Type a message first.")
        return self._talk.chat.chat_id

    def _may_switch(self) -> bool:
        unsent = len(self._talk.chat.outgoing.texts)
        if unsent:
            self._talk.error(f"{unsent} not sent yet. Wait until it is sent, or leave.")
        return not unsent

    def _refuse(self, sentence: str, *, keeps: bool = True) -> bool:
        """Print why a command cannot be carried out. `keeps`: its text stays on the line, to be corrected."""
        self._talk.error(sentence)
        return not keeps

    async def _request(self, change: Coroutine[Any, Any, Any]) -> None:
        await change


def fit_columns(left: str, right: str, column: int, width: int) -> str:
    """Two columns on one line of at most `width` cells."""
    return fit_line(pad(left, column - 1) + " ", right, width)


def fit_line(begin: str, rest: str, width: int) -> str:
    """`begin` unchanged, and as much of `rest` as fits."""
    return begin + fit(rest, width - cell_len(begin))
