"""Completions on the input line: commands, files after `@`, and what a command takes (models, chats)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from antiphon.cli.clean import clean_line, shorten
from antiphon.cli.conversation.commands import COMMANDS
from antiphon.cli.conversation.typed_path import typed_path

ENTRIES_MAX = 200
"""Maximum number of entries of a folder that are offered."""
META_MAX = 60
"""Maximum length of the text beside a completion, in characters."""

_NAME = re.compile(r"/[a-z?]*\Z")
_ARGUMENT = re.compile(r"/(?P<name>[a-z]+) (?P<begun>[^\n]*)\Z")
_MENTION = re.compile(r'(?:^|(?<=\s))@(?P<quote>"?)(?P<begun>[^\s"@]*|(?<=")[^"\n]*)\Z')
_QUEUE = ("delete ", "edit ", "next ")


class Choice(NamedTuple):
    """A possible argument, and the text beside it."""

    text: str
    meta: str = ""


class TalkCompleter(Completer):
    """`arguments` gives the choices of a command by its name (`model`, `open`), asynchronously."""

    def __init__(self, arguments: dict[str, Callable[[], Awaitable[list[Choice]]]], folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Those that need no server."""
        before = document.text_before_cursor
        if _NAME.match(before):
            for command in COMMANDS:
                if command.name.startswith(before[1:]):
                    space = " " if command.argument else ""
                    yield Completion(
                        f"/{command.name}{space}", start_position=-len(before), display_meta=command.summary
                    )
        elif found := _MENTION.search(before):
            yield from _files(found["begun"], found["quote"], self._folder)
        elif before.startswith("/queue "):
            yield from _choices(before.removeprefix("/queue "), [Choice(word) for word in _QUEUE])

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        for completion in self.get_completions(document, complete_event):
            yield completion
        found = _ARGUMENT.match(document.text_before_cursor)
        if found is not None and (choices := self._arguments.get(found["name"])) is not None:
            for completion in _choices(found["begun"], await choices()):
                yield completion


def _choices(begun: str, choices: Iterable[Choice]) -> Iterator[Completion]:
    for choice in choices:
        if begun.lower() in choice.text.lower() or (begun and begun.lower() in choice.meta.lower()):
            meta = shorten(choice.meta, META_MAX)
            yield Completion(choice.text, start_position=-len(begun), display_meta=meta)


def _files(begun: str, quote: str, folder: Path) -> Iterator[Completion]:
    """The entries of the folder that is named so far; hidden ones only after a dot."""
    head, separator, tail = begun.rpartition("/")
    shown_folder = folder / typed_path(head + separator)
    try:
        with os.scandir(shown_folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir())
                for entry in entries
                if entry.name.lower().startswith(tail.lower()) and (tail or not entry.name.startswith("."))
            )
    except (OSError, ValueError):  # ValueError: the name has a NUL
        return
    for name, is_folder in found[:ENTRIES_MAX]:
        if name != clean_line(name):
            continue  # control characters would reach the terminal
        path = head + separator + name + ("/" if is_folder else "")
        needs_quotes = bool(quote) or " " in path or path.endswith(tuple(".,;:!?)]}'"))
        text = f'"{path}' + ("" if is_folder else '"') if needs_quotes else path
        yield Completion(text, start_position=-len(begun) - len(quote), display=name + ("/" if is_folder else ""))
