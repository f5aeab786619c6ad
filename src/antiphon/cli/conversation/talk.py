"""A conversation at a terminal: connects the open chat, the input line and the commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import content_text
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.action_group import Editing
from antiphon.cli.conversation.actions import Actions
from antiphon.cli.conversation.attachments import read_mentions
from antiphon.cli.conversation.call_preview import preview
from antiphon.cli.conversation.commands import read_line
from antiphon.cli.conversation.completion import TalkCompleter
from antiphon.cli.conversation.open_calls import OpenCalls
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.conversation.outgoing import Outgoing
from antiphon.cli.conversation.prompt_screen import Below, PromptScreen
from antiphon.cli.conversation.status_line import Status
from antiphon.cli.conversation.talk_screen import TalkScreen
from antiphon.cli.conversation.usage_count import UsageCount
from antiphon.cli.liveness import Liveness
from antiphon.cli.transcript import Kind, Piece, working_words
from antiphon.client import AsyncClient
from antiphon.client.shapes import WhenBusy
from antiphon.core.events import FactEvent, Resync
from antiphon.errors import AntiphonError, Invalid

TWICE_S = 2.0
"""How long after a key the same key means more (Esc: stop everything; Ctrl+C: leave), in seconds."""
REPLACED_S = 1.0
"""How long a typed answer is refused after another client has answered the question that was shown, in seconds: it
was meant for that one."""
ACTIONS_MAX = 50
"""Maximum number of requests that are under way at once; further ones are refused."""
WELCOME = "Type a message, or /help. Esc stops an answer, Ctrl+D leaves."


class Talk:
    """Run `run` until the person leaves, or the chat is deleted. It implements `prompt_keys.Person`."""

    welcome = WELCOME

    def __init__(
        self,
        client: AsyncClient,
        options: ChatOptions,
        *,
        files: AsyncClient | None,
        make_screen: Callable[..., TalkScreen] = PromptScreen,
        history: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.files = files
        self.clock = clock
        self.rings = options.rings
        self.currency = ""
        self.when_busy = "queue"
        self._actions = Actions(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._editing: Editing | None = None
        self._asked: tuple[tuple[str, int], tuple[str, ...]] = ("", 0), ()
        self._decided = ""
        self._replaced_at = float("-inf")
        self._leaving = asyncio.Event()
        self._hint = ""
        self._hint_until = 0.0
        self._stopped_at = self._left_at = float("-inf")
        self._liveness = Liveness(client)
        completer = TalkCompleter({"model": self._actions.model_choices, "open": self._actions.chat_choices}, Path())
        self.screen: TalkScreen = make_screen(
            person=self, below=self._below, on_frame=self._on_frame, completer=completer, history=history
        )
        self._failure: BaseException | None = None
        self._following: asyncio.Task[None] | None = None
        self.open(options)

    # --- the chat

    def open(self, options: ChatOptions) -> None:
        """Make a chat the current one; the one before it goes on without this terminal."""
        self.chat = OpenChat(
            self.client,
            options,
            files=self.files,
            on_pieces=self._on_pieces,
            on_fact=self._on_fact,
            on_refused=self._on_refused,
        )
        self.open_calls = OpenCalls(self.chat)
        self._usage = UsageCount(self.clock)
        self._editing = None
        if self._following is not None:
            self._following.cancel()
            self._following = asyncio.create_task(self._follow(self.chat))

    async def run(self) -> None:
        """Raises an error after which the chat cannot continue (`NotFound`, `Unauthenticated`)."""
        if self.welcome:
            self.note(self.welcome)
        self._following = asyncio.create_task(self._follow(self.chat))
        drawing = asyncio.create_task(self.screen.run())
        leaving = asyncio.create_task(self._leaving.wait())
        living = asyncio.create_task(self._liveness.run())
        try:
            await asyncio.wait({drawing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.screen.stop()
            others = {leaving, living, self._following, *self._tasks}
            for task in others:
                task.cancel()
            await asyncio.wait({drawing, *others}, timeout=TWICE_S)
            drawing.cancel()
        if drawing.done() and not drawing.cancelled() and (error := drawing.exception()) is not None:
            raise error
        if self._failure is not None:
            raise self._failure

    async def _follow(self, chat: OpenChat) -> None:
        try:
            reason = await chat.run()
        except AntiphonError as error:
            self._failure = error
        else:
            if reason == "revoked":
                self.error("The access to this chat was revoked. Sign in again with another token.")
        if chat is self.chat:
            self._leaving.set()

    def _on_pieces(self, pieces: list[Piece]) -> None:
        """The final text that an event adds."""
        self.screen.print(pieces)

    def _on_fact(self, event: FactEvent | Resync) -> None:
        is_busy = self.chat.transcript.is_busy
        self._usage.on_fact(event, is_busy=is_busy)
        if line := self.open_calls.on_fact(event):
            self.note(line)
        if isinstance(event, Resync) or event.type == "action_required":
            for call in self.open_calls.asked:
                self.screen.print(preview(call))
        if not is_busy:
            self.when_busy = "queue"
        if self._editing is not None and self._editing.call is not None and not self._is_open(self._editing.call):
            self._editing = None
            self.error("The call was answered before the arguments were sent. They are still on the line.")
        if isinstance(event, FactEvent) and event.type in ("turn_ended", "action_required") and self.rings:
            self.screen.ring()
        if self._usage.cost_micros is not None and not self.currency:
            self.currency = " "
            self.act(self._actions.read_currency())

    def _is_open(self, call: dict[str, Any]) -> bool:
        calls = self.chat.transcript.view.open_calls
        return any(other["tool_call_id"] == call["tool_call_id"] for other in calls)

    def _on_refused(self, item: Outgoing, error: AntiphonError) -> None:
        self.error(f"Not sent: {error}")
        if not self.screen.text:
            self.screen.set_text(item.text)
            if item.edits is not None:
                self._editing = Editing(message_id=item.edits)
        else:
            self.note("(↑ brings the text back)")

    # --- the person

    def on_line(self, text: str) -> bool:
        if self._editing is not None:
            return self._on_edited(text, self._editing)
        typed = read_line(text)
        if typed.name:
            return self._actions.run(typed)
        asked = self.open_calls.asked
        if asked and not text.startswith("//") and (decision := asking.decide(asked[0], text)) is not None:
            if self._is_replaced(asked[0]):
                self.error("Another program answered that question. Read the next one, and press Enter again.")
                return False
            return self.decide(asked[0], decision)
        return self.send(typed.argument)

    def _is_replaced(self, call: dict[str, Any]) -> bool:
        """Whether a question that another client answered was on the screen until a moment ago."""
        self._note_question(call["tool_call_id"])
        return self.clock() - self._replaced_at < REPLACED_S

    def _note_question(self, call_id: str) -> None:
        """What is asked now, before it is drawn."""
        if self._asked[0][0] not in ("", call_id, self._decided):
            self._replaced_at = self.clock()

    def decide(self, call: dict[str, Any], decision: asking.Reply) -> bool:
        """Act on a decision. Returns whether it is accepted."""
        match decision:
            case asking.Problem(message):
                self.error(message)
                return False
            case asking.EditArguments(text):
                self.edit(text, Editing(call=call))
            case _:
                self._decided = call["tool_call_id"]
                self.act(self._send_decision(call, decision))
        return True

    async def _send_decision(
        self, call: dict[str, Any], decision: asking.Allow | asking.Deny | asking.Answer
    ) -> None:
        if sentence := await self.open_calls.send(call, decision):
            self.note(f"({sentence})")

    def edit(self, text: str, editing: Editing) -> None:
        """Put a text on the input line that is not a new message."""
        self._editing = editing
        self.screen.set_text(text)

    def _on_edited(self, text: str, editing: Editing) -> bool:
        if editing.call is not None:
            decision = asking.edited_arguments(text)
            is_accepted = self.decide(editing.call, decision)
        else:
            is_accepted = self.send(text, edits=editing.message_id)
        if is_accepted:
            self._editing = None
        return is_accepted

    def send(self, text: str, *, when_busy: str = "", edits: int | None = None) -> bool:
        """Send a message. Returns False if it stays on the line: a file that it names does not exist, say."""
        try:
            mentions = read_mentions(text, Path())
        except Invalid as error:
            self.error(str(error))
            return False
        mode = when_busy or (self.when_busy if self.chat.transcript.is_busy else "queue")
        item = Outgoing(mentions.text, mentions.paths, when_busy=cast(WhenBusy, mode), edits=edits)
        if not self.chat.outgoing.put(item):
            self.error("Too many messages are not sent yet. Send this one later.")
            return False
        self.when_busy = "queue"
        return True

    def on_stop(self) -> None:
        """Esc: leave an edit; stop the answer; within two seconds again, also remove what waits."""
        if self._editing is not None:
            self._editing = None
            self.screen.set_text("")
            return
        now = self.clock()
        is_twice, self._stopped_at = now - self._stopped_at < TWICE_S, now
        if self.chat.turn_id is not None or (is_twice and self.chat.outgoing.texts):
            self.act(self._actions.stop(everything=is_twice))

    def on_leave(self) -> None:
        """Ctrl+D on an empty line: leave; while messages are not sent, at the second time."""
        unsent = len(self.chat.outgoing.texts)
        now = self.clock()
        is_twice, self._left_at = now - self._left_at < TWICE_S, now
        if unsent and not is_twice:
            self._show_hint(f"{unsent} not sent yet: once more to leave without sending")
            return
        self._leaving.set()

    def on_clear(self, *, was_empty: bool) -> None:
        self._editing = None
        if not was_empty:
            return
        now = self.clock()
        if self._hint and now < self._hint_until:
            self._leaving.set()
            return
        self._show_hint("Ctrl+C again leaves")

    def on_cycle(self) -> None:
        modes = ("queue", "steer", "interrupt")
        if self.chat.transcript.is_busy:
            self.when_busy = modes[(modes.index(self.when_busy) + 1) % len(modes)]

    def on_thoughts(self) -> None:
        self._actions.run(read_line("/thoughts"))

    def on_result(self) -> None:
        self._actions.run(read_line("/result"))

    # --- output

    def note(self, text: str) -> None:
        self.screen.print([Piece(Kind.NOTE, text)])

    def error(self, text: str) -> None:
        self.screen.print([Piece(Kind.ERROR, clean_line(text))])

    def act(self, action: Coroutine[Any, Any, None]) -> None:
        """Run a request beside the conversation; its error is printed."""
        if len(self._tasks) >= ACTIONS_MAX:
            action.close()
            self.error("Too many requests are under way. Try again in a moment.")
            return
        task = asyncio.create_task(self._acting(action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _acting(self, action: Coroutine[Any, Any, None]) -> None:
        try:
            await action
        except AntiphonError as error:
            self.error(str(error))

    def leave(self) -> None:
        self._leaving.set()

    def _show_hint(self, text: str) -> None:
        self._hint, self._hint_until = text, self.clock() + TWICE_S

    def _on_frame(self) -> None:
        self.screen.print(self.chat.advance())

    def _below(self) -> Below:
        chat, transcript = self.chat, self.chat.transcript
        unsent = chat.outgoing.texts
        waiting = [_waiting(item) for item in transcript.view.queued_messages]
        return Below(
            tail=transcript.tail,
            activity=self._activity(),
            question=self._question(),
            waiting=(*waiting, *(f"not sent yet: {clean_line(text)}" for text in unsent)),
            prompt=self._prompt(),
            status=self._status(len(waiting), len(unsent)),
        )

    def _prompt(self) -> str:
        if self._editing is None:
            return "› "
        return "arguments › " if self._editing.call is not None else "edit › "

    def _question(self) -> tuple[str, ...]:
        asked = self.open_calls.asked
        if not asked:
            self._note_question("")
            self._asked = ("", 0), ()
            return ()
        if self._editing is not None and self._editing.call is not None:
            return ("Edit the arguments.", "Enter allows the call with them · Esc does not")
        key = (asked[0]["tool_call_id"], len(asked))
        if self._asked[0] != key:  # not in every frame: arguments may be long
            self._note_question(key[0])
            self._asked = key, tuple(asking.question_lines(asked[0], len(asked) - 1))
        return self._asked[1]

    def _activity(self) -> str:
        transcript = self.chat.transcript
        if not transcript.is_busy:
            return ""
        if transcript.view.status == "interrupting":
            return "stopping"
        if transcript.view.status == "requires_action":
            return "" if self.open_calls.asked else "waiting for another program"
        return working_words(transcript)

    def _status(self, waiting: int, unsent: int) -> Status:
        usage = self._usage
        return Status(
            model=self.chat.transcript.model or self.chat.options.model,
            tokens=usage.tokens,
            cost_micros=usage.cost_micros,
            currency=self.currency.strip(),
            seconds=None if usage.seconds is None else float(int(usage.seconds)),
            waiting=waiting,
            unsent=unsent,
            lost=self._liveness.lost,
            when_busy=self.when_busy,
            hint=self._hint if self.clock() < self._hint_until else "",
        )


def _waiting(item: dict[str, Any]) -> str:
    """A queued message with what it does."""
    text = clean_line(content_text(item["content"]))
    if item.get("when_busy") == "steer":
        return f"added to this answer: {text}"
    return f"{'next' if item.get('promoted') else 'waiting'}: {text}"
