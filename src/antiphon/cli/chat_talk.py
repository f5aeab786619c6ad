"""A conversation: the chat above, the line that is typed below. What is typed while a turn runs is queued."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from typing import Any

from antiphon.cli.chat import Wish
from antiphon.cli.clean import shorten
from antiphon.cli.content_text import call_text, content_text
from antiphon.cli.keyboard import open_keyboard
from antiphon.cli.line_editor import LineEditor
from antiphon.cli.liveness import Liveness
from antiphon.cli.screen import Screen, open_screen
from antiphon.cli.transcript import Kind, Piece, Transcript, working_words
from antiphon.client import AsyncClient
from antiphon.core.events import Bye
from antiphon.errors import AntiphonError

FRAME_S = 0.08
YES, NO = frozenset({"y", "yes"}), frozenset({"n", "no"})
WAITING_MAX = 80
WELCOME = "Type a message. Ctrl-C stops an answer, and leaves when there is none; Ctrl-D leaves."


async def talk(client: AsyncClient, wish: Wish) -> int:
    """Until the person leaves or the chat is gone; the exit code."""
    is_terminal = sys.stdout.isatty()
    screen = open_screen(with_users=True)
    conversation = Conversation(client, wish, screen, shows_prompt=is_terminal)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, conversation.on_interrupt)
    try:
        with open_keyboard(key_by_key=is_terminal) as typed:
            await conversation.run(typed)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        screen.close()
    return 0


class Conversation:
    """One chat on the screen, and the person before it."""

    def __init__(self, client: AsyncClient, wish: Wish, screen: Screen, *, shows_prompt: bool) -> None:
        self._client = client
        self._wish = wish
        self._chat_id = wish.chat_id
        self._screen = screen
        self._shows_prompt = shows_prompt
        self._editor = LineEditor()
        self._transcript = Transcript()
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._is_named = asyncio.Event()
        self._leaving = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped_turn: int | None = None
        self._liveness = Liveness(client)
        self._decided: set[str] = set()

    async def run(self, typed: asyncio.Queue[str | None]) -> None:
        """Raises what ends the chat for good (`NotFound`, `Unauthenticated`)."""
        if self._chat_id is not None:
            self._is_named.set()
        if self._shows_prompt:
            self._screen.print([Piece(Kind.NOTE, WELCOME + "\n")])
        leaving = asyncio.create_task(self._leaving.wait())
        living = asyncio.create_task(self._live(typed))
        await asyncio.wait({leaving, living}, return_when=asyncio.FIRST_COMPLETED)
        for task in (leaving, living):
            task.cancel()
        await asyncio.wait({leaving, living})
        if not living.cancelled():
            _raise_one(living.exception())

    async def _live(self, typed: asyncio.Queue[str | None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._read(typed))
            tasks.create_task(self._send_all())
            tasks.create_task(self._follow())
            if self._shows_prompt:
                tasks.create_task(self._draw())
                tasks.create_task(self._liveness.run())

    # --- the person

    async def _read(self, typed: asyncio.Queue[str | None]) -> None:
        while (text := await typed.get()) is not None:
            for line in self._editor.feed(text):
                if not self._decide(line):
                    self._outgoing.put_nowait(line)
            if self._editor.is_over:
                break
        await self._outgoing.join()
        self._leaving.set()

    def _asked(self) -> list[dict[str, Any]]:
        """The calls that wait for this person's approval and were not answered here yet."""
        calls = self._transcript.view.open_calls
        return [call for call in calls if call["needs"] == "approval" and call["tool_call_id"] not in self._decided]

    def _decide(self, line: str) -> bool:
        """Whether a typed line answers the call that is asked about: `y` or `n`."""
        asked, word = self._asked(), line.strip().lower()
        if not asked or word not in YES | NO or self._chat_id is None or self._tasks is None:
            return False
        self._decided.add(asked[0]["tool_call_id"])
        self._tasks.create_task(self._send_decision(self._chat_id, asked[0], is_approved=word in YES))
        return True

    async def _send_decision(self, chat_id: str, call: dict[str, Any], *, is_approved: bool) -> None:
        call_id = call["tool_call_id"]
        try:
            await (self._client.approve if is_approved else self._client.deny)(chat_id, call_id)
        except AntiphonError as error:
            self._decided.discard(call_id)
            self._show([Piece(Kind.ERROR, f"Not decided: {error}")])
        else:
            self._show([Piece(Kind.NOTE, f"({'approved' if is_approved else 'denied'}: {call_text(call)})")])

    def on_interrupt(self) -> None:
        """Ctrl-C: stop the turn; leave when it was asked to stop already, or when there is none."""
        turn_id = self._transcript.view.turn_id
        if turn_id is None or self._chat_id is None or self._stopped_turn == turn_id or self._tasks is None:
            self._leaving.set()
            return
        self._stopped_turn = turn_id
        self._tasks.create_task(self._interrupt(self._chat_id, turn_id))

    async def _interrupt(self, chat_id: str, turn_id: int) -> None:
        try:
            await self._client.interrupt(chat_id, turn_id)
        except AntiphonError as error:
            self._stopped_turn = None
            self._show([Piece(Kind.ERROR, str(error))])

    async def _send_all(self) -> None:
        """One after another, so that they arrive in the order they were typed."""
        while True:
            text = await self._outgoing.get()
            try:
                await self._send(text)
            except AntiphonError as error:
                self._show([Piece(Kind.ERROR, f"Not sent: {error}")])
            finally:
                self._outgoing.task_done()

    async def _send(self, text: str) -> None:
        wish = self._wish
        if self._chat_id is not None:
            await self._client.send(self._chat_id, text, model=wish.model)
            return
        chat = await self._client.create_chat(text, model=wish.model, system=wish.system, title=wish.title)
        self._chat_id = chat["id"]
        self._is_named.set()

    # --- the chat

    async def _follow(self) -> None:
        """A new chat is followed from its beginning, one that is continued from its last messages on."""
        await self._is_named.wait()
        assert self._chat_id is not None
        after = "0" if self._wish.chat_id is None else None
        async with aclosing(self._client.watch(self._chat_id, after=after)) as events:
            async for event in events:
                self._show(self._transcript.take(event))
                if isinstance(event, Bye):
                    break
        self._leaving.set()

    def _show(self, pieces: list[Piece]) -> None:
        self._screen.print(pieces)
        if pieces and self._shows_prompt:
            self._paint()

    async def _draw(self) -> None:
        while True:
            self._screen.print(self._transcript.advance())
            self._paint()
            await asyncio.sleep(FRAME_S)

    def _paint(self) -> None:
        waiting = [_waiting(item) for item in self._transcript.view.queued_messages]
        prompt = (self._editor.text, self._editor.cursor)
        self._screen.draw(self._transcript.tail, activity=self._activity(), waiting=waiting, prompt=prompt)

    def _activity(self) -> str:
        transcript = self._transcript
        if self._liveness.lost:
            return self._liveness.lost
        if not transcript.is_busy:
            return ""
        if transcript.view.status == "interrupting":
            return "stopping"
        if transcript.view.status == "requires_action":
            return self._question()
        return working_words(transcript)

    def _question(self) -> str:
        asked = self._asked()
        if not asked:
            return "waiting for a client to answer"
        more = f" ({len(asked) - 1} more)" if len(asked) > 1 else ""
        return f"may it run? {shorten(call_text(asked[0]), WAITING_MAX)}  y or n{more}"


def _waiting(item: dict[str, object]) -> str:
    content = item["content"]
    assert isinstance(content, list)
    return shorten(content_text(content), WAITING_MAX)


def _raise_one(error: BaseException | None) -> None:
    """Of a group of errors the first one, which is what a person is told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
