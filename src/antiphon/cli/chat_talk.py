"""Starts a conversation: with a line to type on at a terminal, otherwise line by line."""

from __future__ import annotations

import asyncio
import signal

import click

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.open_calls import OpenCalls
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.conversation.outgoing import Outgoing
from antiphon.cli.screen import PlainScreen, is_rich_terminal
from antiphon.cli.typed_lines import open_lines
from antiphon.client import AsyncClient
from antiphon.core.events import FactEvent, Resync
from antiphon.errors import AntiphonError


async def talk(client: AsyncClient, options: ChatOptions, *, files: AsyncClient | None, come_back: str) -> int:
    """Run a conversation until the person quits or the chat is deleted. Returns the exit code.

    `files` is a client over HTTP, for files; `come_back` is the command that continues the chat, without its id.
    """
    if not is_rich_terminal():
        return await _talk_plainly(client, options)
    from antiphon.cli.conversation.history_file import open_history
    from antiphon.cli.conversation.talk import Talk

    conversation = Talk(client, options, files=files, history=open_history())
    try:
        await conversation.run()
    finally:
        if conversation.chat.chat_id is not None and not conversation.chat.transcript.view.is_deleted:
            click.echo(f"To continue this chat: {come_back} {conversation.chat.chat_id}")
    return 0


async def _talk_plainly(client: AsyncClient, options: ChatOptions) -> int:
    """Lines are read and sent, and complete answers are printed. Ctrl-C interrupts the answer, or quits."""
    conversation = PlainTalk(client, options)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, conversation.on_interrupt)
    try:
        await conversation.run()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return 0


class PlainTalk:
    """A conversation without an input line of its own: what is asked is printed on stderr."""

    def __init__(self, client: AsyncClient, options: ChatOptions) -> None:
        screen = PlainScreen()
        self._chat = OpenChat(
            client,
            options,
            files=None,
            on_pieces=screen.print,
            on_fact=self._on_fact,
            on_refused=self._on_refused,
        )
        self._open_calls = OpenCalls(self._chat)
        self._leaving = asyncio.Event()
        self._stopped_turn: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Raises an error after which the chat cannot continue (`NotFound`, `Unauthenticated`)."""
        following = asyncio.create_task(self._chat.run())
        with open_lines() as lines:
            reading = asyncio.create_task(self._read(lines))
            leaving = asyncio.create_task(self._leaving.wait())
            tasks: set[asyncio.Task[object]] = {following, reading, leaving}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            is_failed = following.done() and following.exception() is not None
            for task in tasks | self._tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if is_failed:
            following.result()

    async def _read(self, lines: asyncio.Queue[str | None]) -> None:
        while (line := await lines.get()) is not None:
            asked = self._open_calls.asked
            decision = asking.decide(asked[0], line) if asked else None
            if decision is None:
                self._chat.outgoing.put(Outgoing(line))
            elif isinstance(decision, asking.Allow | asking.Deny | asking.Answer):
                await self._attempt(self._open_calls.send(asked[0], decision))
            elif isinstance(decision, asking.Problem):
                _report(decision.message)
            else:
                _report("Arguments can be edited at a terminal, or with `antiphon approve --args`.")
        await self._chat.outgoing.join()

    async def _attempt(self, request: object) -> None:
        try:
            await request  # type: ignore[misc]
        except AntiphonError as error:
            _report(str(error))

    def on_interrupt(self) -> None:
        """Ctrl-C: interrupt the turn; quit if it was already interrupted or there is none."""
        chat, turn_id = self._chat, self._chat.turn_id
        if turn_id is None or chat.chat_id is None or self._stopped_turn == turn_id:
            self._leaving.set()
            return
        self._stopped_turn = turn_id
        task = asyncio.create_task(self._attempt(chat.client.interrupt(chat.chat_id, turn_id)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_fact(self, event: FactEvent | Resync) -> None:
        self._open_calls.on_fact(event)
        if isinstance(event, Resync) or event.type == "action_required":
            for call in self._open_calls.asked:
                _report("\n".join(asking.question_lines(call, 0)))

    def _on_refused(self, item: Outgoing, error: AntiphonError) -> None:
        _report(f"Not sent: {error}")


def _report(text: str) -> None:
    click.echo(text, err=True)
