"""Sends one message and prints the answer."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from typing import Any

import click

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import answer_text
from antiphon.cli.liveness import Liveness
from antiphon.cli.screen import Screen, is_rich_terminal, open_screen
from antiphon.cli.transcript import Transcript, working_words
from antiphon.cli.verb import EXIT_FAILED, print_json
from antiphon.cli.which_chat import SHORT_ID
from antiphon.client import AsyncClient
from antiphon.core.events import Event, FactEvent

FRAME_S = 0.08
"""Time between two redraws, in seconds."""


class Turn:
    """The turn that this command's message starts. The message is `message_id`, or `queued_id` while it is queued."""

    def __init__(self, *, message_id: int | None, queued_id: int | None) -> None:
        self.turn_id: int | None = None
        self.outcome = ""
        self.messages: list[dict[str, Any]] = []
        self._message_id = message_id
        self._queued_id = queued_id

    @property
    def started_id(self) -> int | None:
        """The turn's id as soon as it has started, also before its first event; None while the message is queued."""
        return self.turn_id or self._message_id

    def handle(self, event: Event) -> bool:
        """Apply an event. Returns whether it belongs to this turn or its message."""
        if not isinstance(event, FactEvent):
            return self.turn_id is not None
        data = event.data
        if event.type == "message_appended" and self._is_ours(data):
            self.turn_id = data["message"]["turn_id"]
            return True
        if event.type == "queued_message_deleted" and data["queued_id"] == self._queued_id:
            self.outcome = "deleted"
        if self.turn_id is None:
            return False
        if event.type == "message_appended" and data["message"]["turn_id"] == self.turn_id:
            self.messages.append(data["message"])
        elif event.type == "turn_ended" and data["turn_id"] == self.turn_id:
            self.outcome = data["outcome"]
        elif event.type == "action_required":
            self.outcome = "requires_action"
        elif event.type == "chat_deleted":
            self.outcome = "deleted"
        return True

    def _is_ours(self, data: dict[str, Any]) -> bool:
        if self._queued_id is not None:
            return bool(data.get("queued_id") == self._queued_id)
        return bool(data["message"]["id"] == self._message_id)


class CtrlC:
    """The first Ctrl-C interrupts the turn, once the message is sent. A second one quits, and so does the first one
    while the message waits in the queue."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.quits: asyncio.Future[None] = self._loop.create_future()
        self._sent: tuple[str, Turn] | None = None
        self._is_pressed = False
        self._interrupting: asyncio.Task[Any] | None = None
        self._loop.add_signal_handler(signal.SIGINT, self._press)

    def close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGINT)
        self.quits.cancel()

    def on_sent(self, chat_id: str, turn: Turn) -> None:
        """The message is sent: interrupt its turn if Ctrl-C was pressed before."""
        self._sent = chat_id, turn
        if self._is_pressed:
            self._interrupt(chat_id, turn)

    def _press(self) -> None:
        if self._is_pressed:
            self._quit()
        elif self._sent is not None:
            self._interrupt(*self._sent)
        self._is_pressed = True

    def _interrupt(self, chat_id: str, turn: Turn) -> None:
        if turn.started_id is None:
            self._quit()
        else:
            self._interrupting = self._loop.create_task(self._client.interrupt(chat_id, turn.started_id))

    def _quit(self) -> None:
        if not self.quits.done():
            self.quits.set_result(None)


async def answer_once(client: AsyncClient, content: str, options: ChatOptions, *, as_json: bool) -> int:
    """Send a message and print the answer. Returns the exit code. Ctrl-C interrupts the turn; a second one quits."""
    ctrl_c = CtrlC(client)
    sending = asyncio.create_task(_send(client, content, options))
    awaited: set[asyncio.Future[Any]] = {sending, ctrl_c.quits}
    try:
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise click.Abort
        chat_id, turn, after = sending.result()
        ctrl_c.on_sent(chat_id, turn)
        await _print_answer(client, chat_id, after, turn, ctrl_c, as_json=as_json)
    finally:
        ctrl_c.close()
        sending.cancel()
        await asyncio.wait({sending})
    return _conclude(chat_id, turn, as_json)


async def _print_answer(
    client: AsyncClient, chat_id: str, after: str, turn: Turn, ctrl_c: CtrlC, *, as_json: bool
) -> None:
    transcript = Transcript()
    screen = None if as_json else open_screen()
    following = asyncio.create_task(_follow(client, chat_id, after, turn, transcript, screen))
    try:
        await asyncio.wait({following, ctrl_c.quits}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        following.cancel()
        await asyncio.wait({following})
        if screen is not None:
            screen.close()


async def _send(client: AsyncClient, content: str, options: ChatOptions) -> tuple[str, Turn, str]:
    """Send the message: the chat's id, the turn, and the cursor before it."""
    if options.chat_id is None:
        chat = await client.create_chat(content, model=options.model, system=options.system, title=options.title)
        return chat["id"], Turn(message_id=2, queued_id=None), "1"
    sent = await client.send(options.chat_id, content, model=options.model)
    message, queued = sent.get("message"), sent.get("queued_message")
    turn = Turn(message_id=message and message["id"], queued_id=queued and queued["id"])
    return options.chat_id, turn, str(sent["seq"] - 1)


async def _follow(
    client: AsyncClient, chat_id: str, after: str, turn: Turn, transcript: Transcript, screen: Screen | None
) -> None:
    transcript.view.seq = int(after)
    is_drawn = screen is not None and is_rich_terminal()
    liveness = Liveness(client, on_lost=(lambda: None) if is_drawn else _report_lost)
    beside = [asyncio.create_task(liveness.run())]
    if screen is not None and is_drawn:
        beside.append(asyncio.create_task(_draw(turn, transcript, screen, liveness)))
    try:
        async with aclosing(client.watch(chat_id, after=after)) as events:
            async for event in events:
                is_ours = turn.handle(event)
                pieces = transcript.apply(event)
                if is_ours and screen is not None:
                    screen.print(pieces)
                if turn.outcome:
                    return
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)


async def _draw(turn: Turn, transcript: Transcript, screen: Screen, liveness: Liveness) -> None:
    while True:
        if turn.turn_id is None:
            screen.draw("", activity=liveness.lost or "waiting in the queue")
        else:
            screen.print(transcript.advance())
            activity = liveness.lost or working_words(transcript)
            screen.draw(transcript.tail, activity=activity)
        await asyncio.sleep(FRAME_S)


def _report_lost() -> None:
    sys.stderr.write("antiphon: the server does not respond; waiting for it\n")


def _conclude(chat_id: str, turn: Turn, as_json: bool) -> int:
    answers = [message for message in turn.messages if message["role"] == "assistant"]
    text = "\n".join(filter(None, (answer_text(message.get("content", [])) for message in answers)))
    if as_json:
        outcome = turn.outcome or "left"
        print_json(
            {"chat_id": chat_id, "turn_id": turn.turn_id, "outcome": outcome, "text": text, "messages": turn.messages}
        )
    elif turn.outcome == "requires_action":
        short = chat_id[:SHORT_ID]
        sys.stderr.write(
            "antiphon: the turn is waiting for a person or a client: `antiphon show "
            f"{short}` says for what; respond with `antiphon approve {short}` or `antiphon answer {short} VALUE`\n"
        )
    elif turn.outcome == "answered" and not text.strip():
        sys.stderr.write(f"antiphon: the answer has no text{_tools_of(answers)}\n")
    elif turn.outcome not in ("answered", "failed"):
        sys.stderr.write(f"antiphon: the turn was {(turn.outcome or 'left running').replace('_', ' ')}\n")
    return 0 if turn.outcome == "answered" else EXIT_FAILED


def _tools_of(answers: list[dict[str, Any]]) -> str:
    parts = (part for message in answers for part in message.get("content", ()))
    names = [clean_line(part["tool_name"]) for part in parts if part.get("type") == "tool-call"]
    return f"; it called {', '.join(names)}" if names else ""
