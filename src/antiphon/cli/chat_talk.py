"""A conversation: the chat, and below it the input line. Messages typed while a turn runs are queued."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from typing import Any

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line, shorten
from antiphon.cli.content_text import call_text, content_text
from antiphon.cli.keyboard import open_keyboard
from antiphon.cli.line_editor import LineEditor
from antiphon.cli.liveness import Liveness
from antiphon.cli.screen import Screen, open_screen
from antiphon.cli.transcript import Kind, Piece, Transcript, working_words
from antiphon.client import AsyncClient
from antiphon.core.events import Bye
from antiphon.errors import AntiphonError
from antiphon.wire.typed_answers import NO, YES, question_of, typed_answer

FRAME_S = 0.08
"""Time between two redraws, in seconds."""
SHORTENED_MAX = 80
"""Maximum length of a shown queued message or tool call, in characters."""
WELCOME = "Type a message. Ctrl-C interrupts the answer, or quits if there is none; Ctrl-D quits."


async def talk(client: AsyncClient, options: ChatOptions) -> int:
    """Run a conversation until the person quits or the chat is deleted. Returns the exit code."""
    is_terminal = sys.stdout.isatty()
    screen = open_screen(with_users=True)
    conversation = Conversation(client, options, screen, shows_prompt=is_terminal)
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
    """One chat on the screen, with the person's input."""

    def __init__(self, client: AsyncClient, options: ChatOptions, screen: Screen, *, shows_prompt: bool) -> None:
        self._client = client
        self._options = options
        self._chat_id = options.chat_id
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
        """Raises an error after which the chat cannot continue (`NotFound`, `Unauthenticated`)."""
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
            if self._editor.is_closed:
                break
        await self._outgoing.join()
        self._leaving.set()

    def _asked(self) -> list[dict[str, Any]]:
        """The calls that are waiting for a person and were not answered here yet."""
        calls = self._transcript.view.open_calls
        return [call for call in calls if call["needs"] != "result" and call["tool_call_id"] not in self._decided]

    def _decide(self, line: str) -> bool:
        """Handle a line as the answer to the shown call: `y` or `n` to an approval, any to a question. Returns
        whether it was one."""
        asked, word = self._asked(), line.strip().lower()
        if not asked or not word or self._chat_id is None or self._tasks is None:
            return False
        call = asked[0]
        if question_of(call):
            try:
                answer = typed_answer(line, call)
            except AntiphonError as error:
                self._show([Piece(Kind.ERROR, f"Not sent: {error}")])
                return True
            self._decided.add(call["tool_call_id"])
            self._tasks.create_task(self._send_answer(self._chat_id, call, answer))
            return True
        if word not in YES | NO:
            return False
        self._decided.add(call["tool_call_id"])
        self._tasks.create_task(self._send_decision(self._chat_id, call, is_approved=word in YES))
        return True

    async def _send_answer(self, chat_id: str, call: dict[str, Any], answer: Any) -> None:
        call_id = call["tool_call_id"]
        try:
            await self._client.answer(chat_id, call_id, answer)
        except AntiphonError as error:
            self._decided.discard(call_id)
            self._show([Piece(Kind.ERROR, f"Not sent: {error}")])
        else:
            self._show([Piece(Kind.NOTE, "(answered)")])

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
        """Ctrl-C: interrupt the turn; quit if it was already interrupted or there is none."""
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
        """Send the lines one after another, in the order in which they were typed."""
        while True:
            text = await self._outgoing.get()
            try:
                await self._send(text)
            except AntiphonError as error:
                self._show([Piece(Kind.ERROR, f"Not sent: {error}")])
            finally:
                self._outgoing.task_done()

    async def _send(self, text: str) -> None:
        options = self._options
        if self._chat_id is not None:
            await self._client.send(self._chat_id, text, model=options.model)
            return
        chat = await self._client.create_chat(text, model=options.model, system=options.system, title=options.title)
        self._chat_id = chat["id"]
        self._is_named.set()

    # --- the chat

    async def _follow(self) -> None:
        """Follow a new chat from its beginning, a continued chat from its last messages."""
        await self._is_named.wait()
        assert self._chat_id is not None
        after = "0" if self._options.chat_id is None else None
        async with aclosing(self._client.watch(self._chat_id, after=after)) as events:
            async for event in events:
                self._show(self._transcript.apply(event))
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
        if question := question_of(asked[0]):
            return f"{shorten(clean_line(question), SHORTENED_MAX)}  type the answer{more}"
        return f"approve? {shorten(call_text(asked[0]), SHORTENED_MAX)}  y or n{more}"


def _waiting(item: dict[str, object]) -> str:
    content = item["content"]
    assert isinstance(content, list)
    return shorten(content_text(content), SHORTENED_MAX)


def _raise_one(error: BaseException | None) -> None:
    """Raise the first error of a group, as the one that is shown."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
