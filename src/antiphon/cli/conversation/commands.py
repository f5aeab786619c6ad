"""The commands of a conversation: lines that begin with `/`."""

from __future__ import annotations

import re
from typing import NamedTuple


class Command(NamedTuple):
    """A command: its name, what may follow it, and what it does."""

    name: str
    argument: str
    summary: str


COMMANDS = (
    Command("help", "", "Show the commands and the keys."),
    Command("new", "[TEXT]", "Begin another chat."),
    Command("chats", "[TEXT]", "List your chats, or those whose title contains TEXT."),
    Command("open", "CHAT", "Continue another chat: its number in the list, its id, or `last`."),
    Command("title", "TEXT", "Give this chat another title."),
    Command("model", "[NAME]", "Show the models, or choose the one that answers from now on."),
    Command("fork", "", "Continue in a new chat with the same history."),
    Command("export", "[FILE]", "Write this chat to a Markdown file, or to a .json file."),
    Command("share", "[off]", "Make an address at which others can read this chat; `off` withdraws it."),
    Command("retry", "", "Have the last question answered again."),
    Command("edit", "[TEXT]", "Change your last question; what follows it is replaced."),
    Command("add", "TEXT", "Add TEXT to the answer that is being written."),
    Command("interrupt", "TEXT", "Interrupt the answer, and send TEXT."),
    Command("queue", "[edit|delete|next N [TEXT]]", "Show or change the messages that wait."),
    Command("stop", "[all]", "Stop the answer; with `all` also remove the messages that wait."),
    Command("approve", "[always]", "Allow the tool call that is waiting."),
    Command("deny", "[REASON]", "Deny the tool call that is waiting."),
    Command("thoughts", "", "Show what the model thought before its last answer."),
    Command("result", "[N]", "Show the result of the last tool call in full, or of the N-th last."),
    Command("files", "", "List the files of this chat."),
    Command("bell", "", "Ring when an answer is ready, or no longer."),
    Command("quit", "", "Leave. The chat, and an answer that is being written, go on."),
)

NAMES = {command.name: command for command in COMMANDS}
SAME_AS = {"exit": "quit", "?": "help", "steer": "add"}
"""Other names of commands, which are understood and not listed."""

KEYS = (
    ("Enter", "send"),
    ("Alt+Enter, Ctrl+J", "a new line"),
    ("Shift+Tab", "while an answer is being written: wait, add to this answer, or interrupt"),
    ("Esc", "stop the answer; twice: also remove the messages that wait"),
    ("Ctrl+C", "clear the line; on an empty line twice: leave"),
    ("Ctrl+D", "on an empty line: leave"),
    ("↑ ↓", "earlier lines, also of other days"),
    ("Ctrl+R", "search the earlier lines"),
    ("Tab", "complete a command, a file after @, a model or a chat"),
    ("Ctrl+T", "what the model thought"),
    ("Ctrl+O", "the last tool result in full"),
    ("Ctrl+X Ctrl+E", "edit the text in $VISUAL or $EDITOR"),
    ("Alt+B, Alt+F", "a word back, a word forward"),
)
"""Each key with what it does."""

_LINE = re.compile(r"/(?P<name>[a-z?]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL)


class Typed(NamedTuple):
    """A submitted text: a command with its argument, or (`name` is empty) a message."""

    name: str
    argument: str


def read_line(text: str) -> Typed:
    """What a submitted text is. Only names of the list are commands, so that `/tokens 5` is a message; `//help` is
    the message `/help`."""
    found = _LINE.match(text.strip())
    if found is not None:
        name = SAME_AS.get(found["name"], found["name"])
        if name in NAMES:
            return Typed(name, (found["rest"] or "").strip())
    if text.startswith("//") and read_line(text[1:]).name:
        return Typed("", text[1:])
    return Typed("", text)


def help_lines() -> list[tuple[str, str]]:
    """The commands and the keys, each with what it does."""
    commands = [(f"/{item.name} {item.argument}".rstrip(), item.summary) for item in COMMANDS]
    others = [("@FILE", "Send a file with the message; @@ is a plain @."), ("//WORD", "Send /WORD as a message.")]
    return [*commands, *others, *KEYS]
