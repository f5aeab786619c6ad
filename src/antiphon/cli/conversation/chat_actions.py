"""The commands that list, open, name and pass on chats, and choose a model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from antiphon.cli.cells import pad
from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line
from antiphon.cli.conversation.action_group import (
    ActionGroup,
    Conversation,
    fit_columns,
    fit_line,
)
from antiphon.cli.conversation.completion import Choice
from antiphon.cli.conversation.status_line import MODEL_NAMES
from antiphon.cli.conversation.typed_number import typed_number
from antiphon.cli.conversation.typed_path import is_there, typed_path
from antiphon.cli.size_text import size_text
from antiphon.cli.transcript import Kind, Piece
from antiphon.cli.which_chat import LAST, SHORT_ID
from antiphon.client.shapes import Chat
from antiphon.errors import AntiphonError, Invalid, NotFound, Refused

LISTED_MAX = 20
"""Maximum number of listed chats."""
MODELS_MAX = 100
"""Maximum number of offered models."""


class ChatActions(ActionGroup):
    """`/new /chats /open /title /model /fork /export /share`."""

    def __init__(self, talk: Conversation) -> None:
        super().__init__(talk)
        self._listed: list[Chat] = []

    # --- chats

    def _new(self, text: str) -> bool | None:
        if not self._may_switch():
            return False
        self._talk.open(_with_chat(self._talk.chat.options, None))
        self._talk.note("(a new chat)")
        return self._talk.send(text) if text else None

    def _chats(self, text: str) -> None:
        self._talk.act(self._list_chats(text))

    async def _list_chats(self, text: str) -> None:
        page = await self._talk.client.chats(title=text, limit=LISTED_MAX)
        self._listed = list(page["chats"])
        width = self._talk.screen.width
        lines = [chat_line(number, chat, width) for number, chat in enumerate(self._listed, start=1)]
        self._talk.note("\n".join(lines) or "There is no such chat.")
        if lines:
            self._talk.note("(/open and a number continues one)")

    def _open(self, argument: str) -> bool | None:
        if not argument:
            return self._refuse("/open takes a number of the list of /chats, an id, or `last`.")
        if not self._may_switch():
            return False
        self._talk.act(self._open_chat(argument.split()[0]))
        return None

    async def _open_chat(self, wanted: str) -> None:
        chat = await self._find(wanted)
        self._talk.open(_with_chat(self._talk.chat.options, chat["id"]))
        self._talk.note(f"({clean_line(chat['title']) or 'Untitled chat'})")

    async def _find(self, wanted: str) -> Chat:
        if number := typed_number(wanted, len(self._listed)):
            return self._listed[number - 1]
        if len(wanted) == 36:
            return await self._talk.client.chat(wanted.lower())
        chats = (await self._talk.client.chats(limit=500))["chats"]
        if wanted == LAST:
            others = [chat for chat in chats if chat["id"] != self._talk.chat.chat_id]
            if others:
                return others[0]
            raise NotFound("other chat")
        found = [chat for chat in chats if chat["id"].startswith(wanted.lower())]
        if len(found) != 1:
            raise Invalid("/open", f"{len(found) or 'no'} chats have an id that begins with {wanted}")
        return found[0]

    def _fork(self, _: str) -> bool | None:
        chat_id, messages = self._chat_id(), self._talk.chat.transcript.view.messages
        if chat_id is None or not messages:
            return False
        if self._talk.chat.turn_id is not None:
            return self._refuse("Wait for the answer, or stop it, before you fork the chat.")
        if not self._may_switch():
            return False
        self._talk.act(self._open_fork(chat_id, messages[-1]["id"]))
        return None

    async def _open_fork(self, chat_id: str, message_id: int) -> None:
        fork = await self._talk.client.fork(chat_id, message_id)
        self._talk.open(_with_chat(self._talk.chat.options, fork["id"]))
        self._talk.note("(a new chat with the same history; the other one stays as it is)")

    def _export(self, name: str) -> bool | None:
        chat_id = self._chat_id()
        if chat_id is None:
            return False
        path = typed_path(name or f"chat-{chat_id[:SHORT_ID]}.md")
        if is_there(path):
            return self._refuse(f"{path} exists already. Give another name: /export NAME.md or NAME.json.")
        self._talk.act(self._write_export(chat_id, path))
        return None

    async def _write_export(self, chat_id: str, path: Path) -> None:
        if self._talk.files is None:
            raise Refused("A chat can be exported over HTTP only: use `antiphon chat`.")
        try:
            size = await self._talk.files.export_to(
                chat_id, path, format="json" if path.suffix == ".json" else "markdown"
            )
        except (OSError, ValueError) as error:  # ValueError: the name has a NUL
            raise Invalid(str(path), getattr(error, "strerror", "") or str(error)) from error
        self._talk.note(f"(written to {path}, {size_text(size)})")

    def _share(self, argument: str) -> bool | None:
        chat_id = self._chat_id()
        if chat_id is None:
            return False
        if argument not in ("", "off"):
            return self._refuse("/share takes nothing, or `off`.")
        self._talk.act(self._unshare(chat_id) if argument else self._make_share(chat_id))
        return None

    async def _make_share(self, chat_id: str) -> None:
        client = self._talk.files or self._talk.client
        secret = (await client.create_share(chat_id))["secret"]
        self._talk.note("(everyone with this address can read the chat; /share off withdraws it)")
        self._talk.screen.print([Piece(Kind.VERBATIM, f"{client.url}/#/shared/{secret}")])

    async def _unshare(self, chat_id: str) -> None:
        shares = await self._talk.client.shares(chat_id)
        for share in shares:
            await self._talk.client.revoke_share(chat_id, share["id"])
        self._talk.note(f"({len(shares)} links withdrawn)")

    def _title(self, title: str) -> bool | None:
        chat_id = self._chat_id()
        if chat_id is None or not title:
            return self._refuse("/title takes the new title.") if chat_id else False
        self._talk.act(self._change("title", chat_id, title))
        return None

    async def _change(self, what: str, chat_id: str, value: str) -> None:
        if what == "title":
            await self._talk.client.update_chat(chat_id, title=value)
        else:
            await self._talk.client.update_chat(chat_id, model=value)
            self._talk.chat.use_model("")  # the chat's own model answers, not that of the command line
            self._talk.chat.transcript.model = value
        self._talk.note(f"({what}: {clean_line(value)})")

    def _model(self, name: str) -> None:
        chat = self._talk.chat
        if not name:
            self._talk.act(self._list_models())
        elif chat.chat_id is not None:
            self._talk.act(self._change("model", chat.chat_id, name))
        else:
            chat.use_model(name)
            self._talk.note(f"(model: {clean_line(name)})")

    async def _list_models(self) -> None:
        choices = await self.model_choices()
        width = self._talk.screen.width
        column = min(max((len(choice.text) for choice in choices), default=0) + 2, width // 2)
        lines = [fit_columns(choice.text, choice.meta, column, width) for choice in choices]
        self._talk.note("\n".join(lines) or "No model is configured; `antiphon config` connects one.")

    # --- choices

    async def model_choices(self) -> list[Choice]:
        """The names that `/model` takes; none if the server does not list them."""
        try:
            offered = await self._talk.client.models()
        except AntiphonError:
            return []
        return [
            Choice(item["name"], _model_words(item["name"], item["model"], is_default=item["is_default"]))
            for item in offered["models"][:MODELS_MAX]
        ]

    async def chat_choices(self) -> list[Choice]:
        """The newest chats; none if the server does not respond."""
        try:
            async with asyncio.timeout(2):
                chats = (await self._talk.client.chats(limit=LISTED_MAX))["chats"]
        except (AntiphonError, TimeoutError):
            return []
        return [Choice(chat["id"], chat["title"] or "Untitled chat") for chat in chats]

    async def read_currency(self) -> None:
        """The unit of costs, for the status line."""
        self._talk.currency = clean_line((await self._talk.client.usage())["currency"] or "") or " "


def chat_line(number: int, chat: Chat, width: int) -> str:
    """A numbered chat on one line: its short id, its status and its title."""
    begin = f"{number:>3}  {chat['id'][:SHORT_ID]}  {pad(chat['status'].replace('_', ' '), 15)}  "
    if width < 60:
        begin = f"{number:>3}  {chat['id'][:SHORT_ID]}  "
    return fit_line(begin, chat["title"] or "Untitled chat", width)


def _model_words(name: str, model: str, *, is_default: bool) -> str:
    """What is shown beside the name of a model."""
    words = [MODEL_NAMES.get(model, model)] if model != name or model in MODEL_NAMES else []
    return ", ".join([*words, *(["the default"] if is_default else [])])


def _with_chat(options: ChatOptions, chat_id: str | None) -> ChatOptions:
    """The options for another chat: an existing one, or (None) a new one with the same model and system prompt."""
    model = options.model if chat_id is None else ""
    return msgspec.structs.replace(options, chat_id=chat_id, title="", model=model)
