"""What the commands of a conversation do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

import msgspec
from rich.cells import cell_len

from antiphon.cli.cells import fit, pad, wrap
from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import content_text
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.commands import Typed, help_lines
from antiphon.cli.conversation.completion import Choice
from antiphon.cli.conversation.decisions import Decisions
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.conversation.prompt_screen import PromptScreen
from antiphon.cli.size_text import size_text
from antiphon.cli.transcript import Kind, Piece
from antiphon.cli.which_chat import LAST, SHORT_ID
from antiphon.client import AsyncClient
from antiphon.client.shapes import Chat
from antiphon.errors import AntiphonError, Invalid, NotFound

LISTED_MAX = 20
"""Maximum number of listed chats."""
MODELS_MAX = 100
"""Maximum number of offered models."""
RESULT_SHOWN_MAX = 20_000
"""Maximum length of a result or of thoughts shown in full, in characters."""
HELP_COLUMN = 26


class Editing(NamedTuple):
    """What the input line holds instead of a message: a question that is edited, or the arguments of a call."""

    message_id: int | None = None
    call: dict[str, Any] | None = None


class Conversation(Protocol):
    """What commands act on."""

    client: AsyncClient
    chat: OpenChat
    decisions: Decisions
    screen: PromptScreen
    rings: bool
    currency: str

    def open(self, options: ChatOptions) -> None: ...

    def send(self, text: str, *, when_busy: str = "", edits: int | None = None) -> bool: ...

    def edit(self, text: str, editing: Editing) -> None: ...

    def decide(self, call: dict[str, Any], decision: asking.Decision) -> bool: ...

    def act(self, action: Coroutine[Any, Any, None]) -> None: ...

    def note(self, text: str) -> None: ...

    def error(self, text: str) -> None: ...

    def leave(self) -> None: ...


class Actions:
    """`run` executes a command."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._listed: list[Chat] = []

    def run(self, typed: Typed) -> bool:
        """Returns whether the line is accepted; otherwise its text stays."""
        command: Callable[[str], bool | None] = getattr(self, f"_{typed.name}")
        return command(typed.argument) is not False

    # --- the terminal

    def _help(self, _: str) -> None:
        self._talk.note(help_text(self._talk.screen.width))

    def _quit(self, _: str) -> None:
        self._talk.leave()

    def _bell(self, _: str) -> None:
        self._talk.rings = not self._talk.rings
        self._talk.note(f"(the bell rings when an answer is ready: {'yes' if self._talk.rings else 'no'})")

    def _thoughts(self, _: str) -> None:
        thoughts = self._talk.chat.transcript.thoughts.latest
        self._show(thoughts, "There are no thoughts: the model has shown none in this conversation.")

    def _result(self, argument: str) -> bool | None:
        runs = self._talk.chat.transcript.runs
        number = int(argument) if argument.isascii() and argument.isdigit() else 1 if not argument else 0
        if not 1 <= number <= max(len(runs), 1):
            return self._refuse(f"/result takes a number from 1 to {max(len(runs), 1)}; 1 is the last result.")
        if not runs:
            return self._refuse("No tool was called in this conversation.", keeps=False)
        run = runs[-number]
        self._talk.note(f"{run.call}:")
        if run.diff and len(run.result) <= RESULT_SHOWN_MAX:
            self._talk.screen.print([Piece(Kind.DIFF, run.result)])
        else:
            self._show(run.result, "(the result is empty)")
        return None

    def _files(self, _: str) -> None:
        parts = [
            part
            for message in self._talk.chat.transcript.view.messages
            for part in message.get("content", ())
            if part.get("type") == "file-reference" and part.get("file_id")
        ]
        lines = [f"{size_text(part.get('size', 0)):>10}  {clean_line(part.get('file_name', ''))}" for part in parts]
        self._talk.note(
            "\n".join(lines) or "This chat has no files. Name one in a message with @, such as @notes.txt."
        )

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
        if wanted.isdigit() and 1 <= int(wanted) <= len(self._listed):
            return self._listed[int(wanted) - 1]
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

    # --- the answer

    def _retry(self, _: str) -> bool | None:
        chat_id = self._chat_id()
        if chat_id is None:
            return False
        self._talk.act(self._ignore(self._talk.client.retry(chat_id)))
        return None

    def _edit(self, text: str) -> bool | None:
        question = self._talk.chat.last_question()
        if question is None:
            return self._refuse("There is no question to edit yet.", keeps=bool(text))
        if text:
            return self._talk.send(text, edits=question["id"])
        parts = [part["text"] for part in question.get("content", ()) if part.get("type") == "text"]
        self._talk.edit("\n".join(parts), Editing(message_id=question["id"]))
        return None

    def _add(self, text: str) -> bool:
        return self._send_as("steer", text)

    def _interrupt(self, text: str) -> bool:
        return self._send_as("interrupt", text)

    def _send_as(self, when_busy: str, text: str) -> bool:
        if not text:
            return self._refuse("Type the text behind the command.")
        return self._talk.send(text, when_busy=when_busy)

    def _stop(self, argument: str) -> bool | None:
        if argument not in ("", "all"):
            return self._refuse("/stop takes nothing, or `all`.")
        if self._talk.chat.turn_id is None:
            return self._refuse("No answer is being written.", keeps=False)
        self._talk.act(self.stop(everything=argument == "all"))
        return None

    async def stop(self, *, everything: bool) -> None:
        """Interrupt the turn; `everything`: also remove the queued messages."""
        chat, turn_id = self._talk.chat, self._talk.chat.turn_id
        if chat.chat_id is None or turn_id is None:
            return
        waiting = len(chat.transcript.view.queued_messages)
        await self._talk.client.interrupt(chat.chat_id, turn_id, clear_queue=everything)
        if everything and waiting:
            self._talk.note(f"(stopped, and removed {waiting} waiting; ↑ brings the texts back)")

    def _approve(self, argument: str) -> bool | None:
        if argument not in ("", "always"):
            return self._refuse("/approve takes nothing, or `always`.")
        return self._decide(asking.Allow(always=argument == "always"))

    def _deny(self, reason: str) -> bool | None:
        return self._decide(asking.Deny(reason=reason))

    def _decide(self, decision: asking.Decision) -> bool | None:
        calls = [call for call in self._talk.decisions.asked if call["needs"] == "approval"]
        if not calls:
            return self._refuse("No tool call is waiting for you.", keeps=False)
        return self._talk.decide(calls[0], decision)

    # --- the queue

    def _queue(self, argument: str) -> bool | None:
        items = self._talk.chat.transcript.view.queued_messages
        if not argument:
            lines = [
                f"{number:>3}  {clean_line(content_text(item['content']))}" for number, item in enumerate(items, 1)
            ]
            width = self._talk.screen.width
            self._talk.note("\n".join(fit(line, width) for line in lines) or "No message is waiting.")
            return None
        action, number, text = [*argument.split(maxsplit=2), "", ""][:3]
        is_number = number.isascii() and number.isdigit() and 1 <= int(number) <= len(items)
        if action not in ("edit", "delete", "next") or not is_number or (action == "edit") != bool(text):
            return self._refuse("Use /queue delete N, /queue next N, or /queue edit N TEXT; N as listed by /queue.")
        chat_id = self._chat_id()
        assert chat_id is not None, "a chat with a queue has an id"
        queued_id, client = items[int(number) - 1]["id"], self._talk.client
        match action:
            case "edit":
                change: Coroutine[Any, Any, Any] = client.edit_queued(chat_id, queued_id, text)
            case "delete":
                change = client.delete_queued(chat_id, queued_id)
            case _:
                change = client.promote_queued(chat_id, queued_id)
        self._talk.act(self._ignore(change))
        return None

    # --- choices

    async def model_choices(self) -> list[Choice]:
        """The names that `/model` takes; none if the server does not list them."""
        try:
            configs = await self._talk.client.model_configs()
        except AntiphonError:
            return []
        shown = [item for item in configs if item["is_enabled"]][:MODELS_MAX]
        return [
            Choice(item["name"], item["model"] + (" (the default)" if item["is_default"] else "")) for item in shown
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

    # --- what they share

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

    async def _ignore(self, change: Coroutine[Any, Any, Any]) -> None:
        await change


def help_text(width: int) -> str:
    """The commands and keys; on a narrow terminal each explanation is below its name."""
    lines: list[str] = []
    for name, text in help_lines():
        if width < 2 * HELP_COLUMN:
            lines += [fit(name, width), *("  " + line for line in wrap(text, width - 2))]
            continue
        first, *others = wrap(text, width - HELP_COLUMN)
        is_short = cell_len(name) < HELP_COLUMN
        lines += [pad(name, HELP_COLUMN) + first] if is_short else [name, " " * HELP_COLUMN + first]
        lines += [" " * HELP_COLUMN + line for line in others]
    return "\n".join(lines)


def fit_columns(left: str, right: str, column: int, width: int) -> str:
    """Two columns on one line of at most `width` cells."""
    return fit_line(pad(left, column - 1) + " ", right, width)


def fit_line(begin: str, rest: str, width: int) -> str:
    """`begin` unchanged, and as much of `rest` as fits."""
    return begin + fit(rest, width - cell_len(begin))


def chat_line(number: int, chat: Chat, width: int) -> str:
    """A numbered chat on one line: its short id, its status and its title."""
    begin = f"{number:>3}  {chat['id'][:SHORT_ID]}  {pad(chat['status'].replace('_', ' '), 15)}  "
    if width < 60:
        begin = f"{number:>3}  {chat['id'][:SHORT_ID]}  "
    return fit_line(begin, chat["title"] or "Untitled chat", width)


def _with_chat(options: ChatOptions, chat_id: str | None) -> ChatOptions:
    """The options for another chat: an existing one, or (None) a new one with the same model and system prompt."""
    model = options.model if chat_id is None else ""
    return msgspec.structs.replace(options, chat_id=chat_id, title="", model=model)
