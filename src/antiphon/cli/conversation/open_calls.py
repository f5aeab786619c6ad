"""The calls of a chat that wait for a person, and what was decided here about them."""

from __future__ import annotations

from typing import Any

from antiphon.cli.clean import clean_line
from antiphon.cli.conversation.asking import Allow, Answer, Deny, is_asked
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.tool_run import call_words
from antiphon.core.events import FactEvent, Resync
from antiphon.errors import AntiphonError, NotFound
from antiphon.wire.typed_answers import question_of

WORDS = {"approved": "allowed", "denied": "denied", "result": "answered", "expired": "not answered in time"}


class OpenCalls:
    """The first answer wins, from whatever client. `on_fact` returns a line that says which one it was."""

    def __init__(self, chat: OpenChat) -> None:
        self._chat = chat
        self._calls: dict[str, dict[str, Any]] = {}
        self._sent: dict[str, str] = {}
        """The decisions of this terminal: the outcome by the call's id."""

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The calls that a person can answer here and that were not answered here yet."""
        calls = self._chat.transcript.view.open_calls
        return [call for call in calls if is_asked(call) and call["tool_call_id"] not in self._sent]

    async def send(self, call: dict[str, Any], decision: Allow | Deny | Answer) -> str:
        """Send a decision. Returns a sentence if another client was first, otherwise nothing. Raises the error of a
        request that failed: the call may be answered again."""
        client, chat_id, call_id = self._chat.client, self._chat.chat_id, call["tool_call_id"]
        assert chat_id is not None
        self._sent[call_id] = _outcome(decision)
        try:
            match decision:
                case Allow(args, always):
                    await client.approve(chat_id, call_id, args=args, always=always)
                case Deny(reason):
                    await client.deny(chat_id, call_id, reason=reason)
                case Answer(value):
                    await client.answer(chat_id, call_id, value)
        except NotFound:
            self._sent.pop(call_id, None)
            return "This was answered already; the first answer counts."
        except AntiphonError:
            self._sent.pop(call_id, None)
            raise
        return ""

    def on_fact(self, event: FactEvent | Resync) -> str:
        """A sentence about a call that was answered; empty for other facts."""
        if isinstance(event, Resync) or event.type == "action_required":
            self._calls = {call["tool_call_id"]: call for call in self._chat.transcript.view.open_calls}
            return ""
        if event.type != "action_resolved":
            return ""
        data = event.data
        call = self._calls.pop(data["tool_call_id"], None)
        is_ours = self._sent.pop(data["tool_call_id"], "") == data["outcome"]
        if call is None or (is_ours and question_of(call)):
            return ""  # the line of a question that was answered here says it
        outcome = WORDS.get(data["outcome"], clean_line(str(data["outcome"])))
        where = "" if is_ours or data["outcome"] == "expired" else self._where(data.get("by"))
        what = clean_line(question_of(call)) or call_words(call | _other_args(data), named=True)
        always = ", always in this chat" if data.get("always") else ""
        return f"({outcome}{where}{always}: {what})"

    def _where(self, by: object) -> str:
        is_same = not by or by == self._chat.owner_id
        return " in another window" if is_same else f" by {clean_line(str(by))}"


def _outcome(decision: Allow | Deny | Answer) -> str:
    match decision:
        case Allow():
            return "approved"
        case Deny():
            return "denied"
    return "result"


def _other_args(data: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a person has put in place of the model's."""
    return {"args": data["args"]} if data.get("args") is not None else {}
