"""The commands on the answer that is being written, what it asks, and what waits for its end."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from typing import Any

from antiphon.cli.content_text import content_text
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.action_group import ActionGroup, Editing, fit_line
from antiphon.cli.conversation.typed_number import typed_number
from antiphon.errors import AlreadyDelivered


class AnswerActions(ActionGroup):
    """`/retry /edit /add /interrupt /stop /approve /deny /queue`."""

    def _retry(self, _: str) -> bool | None:
        chat_id = self._chat_id()
        if chat_id is None:
            return False
        self._talk.act(self._request(self._talk.client.retry(chat_id)))
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
        if self._talk.chat.turn_id is None and not (argument and self._talk.chat.outgoing.texts):
            return self._refuse("No answer is being written.", keeps=False)
        self._talk.act(self.stop(everything=argument == "all"))
        return None

    async def stop(self, *, everything: bool) -> None:
        """Interrupt the turn. With `everything` the messages that wait are removed first, so that none of them begins
        a turn; one that has begun meanwhile is interrupted, too."""
        chat, turn_id, client = self._talk.chat, self._talk.chat.turn_id, self._talk.client
        if everything and (unsent := chat.outgoing.clear()):
            self._talk.note(f"({unsent} not sent yet, and withdrawn; ↑ brings the texts back)")
        if chat.chat_id is None:
            return
        removed = 0
        if everything:
            for item in list(chat.transcript.view.queued_messages):
                with contextlib.suppress(AlreadyDelivered):
                    await client.delete_queued(chat.chat_id, item["id"])
                    removed += 1
            turn_id = (await client.chat(chat.chat_id))["turn_id"]
        if turn_id is not None:
            await client.interrupt(chat.chat_id, turn_id, clear_queue=everything)
        if removed:
            self._talk.note(f"(stopped, and removed {removed} waiting; ↑ brings the texts back)")

    def _approve(self, argument: str) -> bool | None:
        if argument not in ("", "always"):
            return self._refuse("/approve takes nothing, or `always`.")
        return self._decide(asking.Allow(always=argument == "always"))

    def _deny(self, reason: str) -> bool | None:
        return self._decide(asking.Deny(reason=reason))

    def _decide(self, decision: asking.Reply) -> bool | None:
        calls = [call for call in self._talk.open_calls.asked if call["needs"] == "approval"]
        if not calls:
            return self._refuse("No tool call is waiting for you.", keeps=False)
        return self._talk.decide(calls[0], decision)

    # --- the queue

    def _queue(self, argument: str) -> bool | None:
        items = self._talk.chat.transcript.view.queued_messages
        if not argument:
            width = self._talk.screen.width
            lines = [
                fit_line(f"{number:>3}  ", content_text(item["content"]), width)
                for number, item in enumerate(items, start=1)
            ]
            self._talk.note("\n".join(lines) or "No message is waiting.")
            return None
        action, number, text = [*argument.split(maxsplit=2), "", ""][:3]
        place = typed_number(number, len(items))
        if action not in ("edit", "delete", "next") or not place or (action == "edit") != bool(text):
            return self._refuse("Use /queue delete N, /queue next N, or /queue edit N TEXT; N as listed by /queue.")
        chat_id = self._chat_id()
        assert chat_id is not None, "a chat with a queue has an id"
        queued_id, client = items[place - 1]["id"], self._talk.client
        match action:
            case "edit":
                change: Coroutine[Any, Any, Any] = client.edit_queued(chat_id, queued_id, text)
            case "delete":
                change = client.delete_queued(chat_id, queued_id)
            case _:
                change = client.promote_queued(chat_id, queued_id)
        self._talk.act(self._request(change))
        return None
