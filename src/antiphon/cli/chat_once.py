"""Sends one message and prints the answer."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from typing import Any

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import answer_text
from antiphon.cli.liveness import Liveness
from antiphon.cli.screen import Screen, open_screen
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


async def answer_once(client: AsyncClient, content: str, options: ChatOptions, *, as_json: bool) -> int:
    """Send a message and print the answer. Returns the exit code. Ctrl-C interrupts the turn; a second one quits."""
    chat_id, turn, after = await _send(client, content, options)
    transcript = Transcript()
    screen = None if as_json else open_screen(with_users=False)
    leaving = _on_interrupt(client, chat_id, turn)
    following = asyncio.create_task(_follow(client, chat_id, after, turn, transcript, screen))
    try:
        await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        leaving.cancel()
        following.cancel()
        await asyncio.wait({following})
        if screen is not None:
            screen.close()
    return _conclude(chat_id, turn, as_json)


async def _send(client: AsyncClient, content: str, options: ChatOptions) -> tuple[str, Turn, str]:
    """Send the message: the chat's id, the turn, and the cursor before it."""
    if options.chat_id is None:
        chat = await client.create_chat(content, model=options.model, system=options.system, title=options.title)
        return chat["id"], Turn(message_id=2, queued_id=None), "1"
    sent = await client.send(options.chat_id, content, model=options.model)
    message, queued = sent.get("message"), sent.get("queued_message")
    turn = Turn(message_id=message and message["id"], queued_id=queued and queued["id"])
    return options.chat_id, turn, str(sent["seq"] - 1)


def _on_interrupt(client: AsyncClient, chat_id: str, turn: Turn) -> asyncio.Future[None]:
    """Interrupt the turn at the first Ctrl-C. The future is done at the second one, or at once if no turn runs
    yet."""
    loop = asyncio.get_running_loop()
    leaving: asyncio.Future[None] = loop.create_future()
    asked: list[asyncio.Task[Any]] = []

    def interrupt() -> None:
        if turn.turn_id is not None and not asked:
            asked.append(loop.create_task(client.interrupt(chat_id, turn.turn_id)))
        elif not leaving.done():
            leaving.set_result(None)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    return leaving


async def _follow(
    client: AsyncClient, chat_id: str, after: str, turn: Turn, transcript: Transcript, screen: Screen | None
) -> None:
    transcript.view.seq = int(after)
    is_drawn = screen is not None and sys.stdout.isatty()
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
            screen.draw("", activity=liveness.lost or "waiting in the queue", waiting=[], prompt=None)
        else:
            screen.print(transcript.advance())
            activity = liveness.lost or working_words(transcript)
            screen.draw(transcript.tail, activity=activity, waiting=[], prompt=None)
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
