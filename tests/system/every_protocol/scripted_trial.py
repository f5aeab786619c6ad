"""A trial whose course is written down: one chat, a model that waits where the course has something to do."""

from __future__ import annotations

import time
from typing import Any

from antiphon.testing.evidence import Interrupted, Sent, Watched
from antiphon.testing.model_answers import FOREVER, Answer, FakeCall, Fault
from antiphon.testing.model_server import SeenRequest
from system.trial import Trial

TOKENS = 90
STOPS_AFTER = 60
"""The first answer to a message stops after this number of tokens, so that what the course does to it happens in its
middle, however slow the machine is."""
STOP_S = 120.0


class ScriptedTrial(Trial):
    """The very first answer begins when `release` is called. A message with the word `pay` calls that tool first."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, chats=0, **how)
        self._begun: set[tuple[str, bool]] = set()

    def release(self) -> None:
        """Let the first answer begin."""
        self.model.release()

    def _answer(self, request: SeenRequest) -> Answer | Fault:
        messages = request.body["messages"]
        turn = max(place for place, message in enumerate(messages) if message["role"] == "user")
        text, has_paid = str(messages[turn]["content"]), any(m["role"] == "tool" for m in messages[turn:])
        if "pay" in text.split() and not has_paid:
            return Answer(calls=(FakeCall("pay", {"text": "the bill"}),))
        rate, is_repeat = self._tokens_per_s, (text, has_paid) in self._begun
        if is_repeat:
            return Answer(token_count=TOKENS, tokens_per_s=rate)
        stall_headers_s = None if self._begun else FOREVER
        self._begun.add((text, has_paid))
        return Answer(
            token_count=TOKENS,
            tokens_per_s=rate,
            stall_headers_s=stall_headers_s,
            stall_after=STOPS_AFTER,
            stall_s=STOP_S,
        )

    def begin_watching(self, chat_id: str) -> None:
        """Watch the chat that a client has begun."""
        self.chat_ids = [chat_id]
        self.start_watchers()

    # --- the records of other clients

    def record_sent(self, name: str, text: str, message_id: int) -> None:
        """A client's message was accepted."""
        sent = Sent(
            chat_id=self.chat_ids[0],
            client_message_id=name,
            text=text,
            status=200,
            answer={"message": {"id": message_id}},
        )
        self.sent.append(sent)

    def record_stop(self, turn_id: int) -> None:
        """A client's stop was acknowledged."""
        stop = Interrupted(
            chat_id=self.chat_ids[0], turn_id=turn_id, was_interrupted=True, seq=0, at=time.monotonic()
        )
        self.interrupted.append(stop)

    def record_watcher(self) -> Watched:
        """Where another watcher puts its events."""
        watched = Watched(chat_id=self.chat_ids[0], events=[], breaks=[])
        self.watched.append(watched)
        return watched

    async def api_messages(self) -> list[dict[str, Any]]:
        page = await self._ask_until_answered(
            self.chat_ids[0], "GET", f"/chats/{self.chat_ids[0]}/messages?limit=1000"
        )
        return list(page["messages"])
