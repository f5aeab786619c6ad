"""The prompts of an editor that are not answered yet: which turn each one has, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from antiphon.core.events import Event, FactEvent
from antiphon.core.parts import Usage
from antiphon.core.values import Value
from antiphon.wire.codec import convert

QUEUED_BEHIND_A_FAILURE = (
    "The turn before this message has failed. The message waits in the queue of the chat until it goes on."
)
_STOP_REASONS = {"length": "max_tokens", "refusal": "refusal", "content_filter": "refusal"}


class Ending(Value, gc=True):
    """How a prompt ended: with a stop reason, or with an error."""

    stop_reason: str = ""
    error: str = ""
    code: int = 0
    """The JSON-RPC code of the error; 0: an internal error."""
    details: dict[str, Any] = {}
    usage: dict[str, int] | None = None

    def result(self) -> dict[str, Any]:
        """The result of `session/prompt`. `usage` is an unstable field of the protocol."""
        shown: dict[str, Any] = {"stopReason": self.stop_reason}
        return shown | ({"usage": self.usage} if self.usage else {})


CANCELLED = Ending(stop_reason="cancelled")


class Waiting:
    """A prompt that waits for its end. `turn_id` and `queued_id` are set when they are known."""

    def __init__(self) -> None:
        self.turn_id: int | None = None
        self.queued_id: int | None = None

    def sent(self, answer: Mapping[str, Any]) -> None:
        """The server has accepted the message."""
        if "queued_message" in answer:
            self.queued_id = answer["queued_message"]["id"]
        elif "message" in answer:
            self.turn_id = answer["message"]["turn_id"]


Ended = list[tuple[str, Ending]]


class Prompts:
    """The waiting prompts by their client message ids. Each method returns those that have ended with it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._outcome = ""
        """How the last message of the turn ended."""

    def add(self, name: str) -> Waiting:
        return self._waiting.setdefault(name, Waiting())

    def forget(self, name: str) -> None:
        self._waiting.pop(name, None)

    def items(self) -> list[tuple[str, Waiting]]:
        return list(self._waiting.items())

    def apply(self, event: Event) -> Ended:
        """The prompts that an event ends."""
        if not isinstance(event, FactEvent):
            return []
        data = event.data
        match event.type:
            case "message_appended":
                self._message(data["message"], event.data.get("outcome", ""))
            case "message_queued":
                queued = data["queued_message"]
                if waiting := self._waiting.get(queued.get("client_message_id", "")):
                    waiting.queued_id = queued["id"]
            case "queued_message_deleted":
                return self._end(lambda one: one.queued_id == data["queued_id"] and one.turn_id is None, CANCELLED)
            case "turn_ended":
                return self._turn_ended(data)
            case "chat_deleted":
                return self._end(lambda one: True, Ending(error="The chat was deleted."))
        return []

    def resync(self, chat: Mapping[str, Any], messages: Iterable[dict[str, Any]], queue: Iterable[Any]) -> Ended:
        """The prompts that ended while events were missed. `messages` are those since the last event."""
        for message in messages:
            self._message(message, message.get("outcome", ""))
        queued = {item["id"] for item in queue}
        ended = self._end(
            lambda one: one.turn_id is None and one.queued_id is not None and one.queued_id not in queued, CANCELLED
        )
        now = chat.get("turn_id")
        failed = chat["status"] == "error"
        last = Ending(error=chat.get("last_error") or "The turn has failed.") if failed else self._answered()
        return ended + self._end(lambda one: one.turn_id is not None and one.turn_id != now, last)

    def end_turn(self, turn_id: int | None) -> Ended:
        """The turn waits for a text that the next prompt brings."""
        return self._end(lambda one: one.turn_id == turn_id, Ending(stop_reason="end_turn"))

    def _message(self, message: Mapping[str, Any], outcome: str) -> None:
        if message["role"] == "user":
            self._outcome = ""
            if waiting := self._waiting.get(message.get("client_message_id", "")):
                waiting.turn_id = message["turn_id"]
        elif message["role"] == "assistant":
            self._outcome = "interrupted" if message.get("interrupted") else outcome

    def _answered(self, usage: dict[str, int] | None = None) -> Ending:
        if self._outcome == "interrupted":
            return Ending(stop_reason="cancelled", usage=usage)
        return Ending(stop_reason=_STOP_REASONS.get(self._outcome, "end_turn"), usage=usage)

    def _turn_ended(self, data: dict[str, Any]) -> Ended:
        usage = _usage(convert(data.get("usage") or {}, Usage))
        outcome, error = data["outcome"], data.get("error") or {}
        if outcome == "failed":
            details = {name: error[name] for name in ("kind", "provider", "status_code") if error.get(name)}
            ending = Ending(error=error.get("message") or "The turn has failed.", details=details)
            behind = Ending(error=QUEUED_BEHIND_A_FAILURE)
            turn = self._end(lambda one: one.turn_id == data["turn_id"], ending)
            return turn + self._end(lambda one: one.turn_id is None and one.queued_id is not None, behind)
        stopped = Ending(stop_reason="cancelled", usage=usage)
        ending = self._answered(usage) if outcome == "answered" else stopped
        return self._end(lambda one: one.turn_id == data["turn_id"], ending)

    def _end(self, is_it: Callable[[Waiting], bool], ending: Ending) -> Ended:
        ended = [name for name, one in self._waiting.items() if is_it(one)]
        for name in ended:
            del self._waiting[name]
        return [(name, ending) for name in ended]


def _usage(usage: Usage) -> dict[str, int] | None:
    """The tokens of a turn, as the protocol's `Usage`; None: unknown."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    given = {
        "thoughtTokens": usage.reasoning_tokens,
        "cachedReadTokens": usage.cache_read_tokens,
        "cachedWriteTokens": usage.cache_creation_tokens,
    }
    shown = {
        "totalTokens": usage.tokens,
        "inputTokens": usage.input_tokens or 0,
        "outputTokens": usage.output_tokens or 0,
    }
    return shown | {name: value for name, value in given.items() if value is not None}
