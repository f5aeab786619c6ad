"""What a call of MCP returns is a function of the chat's facts and positions, however its events are delivered."""

from __future__ import annotations

from random import Random

import pytest

from antiphon.core import commands as c
from antiphon.core.chat import advance
from antiphon.core.events import CaughtUp, Event, FactEvent
from antiphon.core.facts import Entry
from antiphon.core.model import Chat, WhenBusy
from antiphon.core.parts import File, Text, ToolCall
from antiphon.wire.codec import decode, encode, encode_content
from antiphon.wire.mcp_server.answer import AnswerFollower
from antiphon.wire.mcp_server.content import RESULT_BYTES_MAX, Budget, attachments_of, fitting_messages
from antiphon.wire.mcp_server.tools import AnswerResult, AnswerStatus, MessageResult
from antiphon.wire.stream import decode_event, fact_frame

from .protocols import CHAT_ID, T0, Recording, content_of, cut, recordings, stored, whole


def followed(recording: Recording, events: list[Event]) -> AnswerResult:
    """The result after all events."""
    follower = AnswerFollower(recording.turn_id, turn_id=recording.turn_id)
    for event in events:
        follower.apply(event)
    assert follower.is_settled
    return follower.result(CHAT_ID, ())


@pytest.mark.parametrize("retries", [False, True])
def test_any_cut_of_the_deltas_gives_the_same_result(retries: bool) -> None:
    for number, recording in enumerate(recordings(retries=retries)):
        reference = followed(recording, whole(recording, after=recording.turn_id - 1))
        for deliver in (stored, lambda one, after: cut(one, Random(number), after=after)):  # noqa: B023 - used at once
            assert followed(recording, deliver(recording, after=recording.turn_id - 1)) == reference  # type: ignore[operator]


def test_the_answer_is_the_last_text_of_the_assistant() -> None:
    for recording in recordings(retries=True):
        result = followed(recording, stored(recording, after=recording.turn_id - 1))
        texts = [part.text for part in content_of(recording) if isinstance(part, Text) and part.text]
        assert result.answer.rpartition("\n")[2] == (texts[-1].rpartition("\n")[2] if texts else "")
        assert result.status in ("answered", "interrupted", "failed")
        assert bool(result.error) == (result.status == "failed")


def test_a_client_that_comes_at_any_fact_gets_the_status_of_then() -> None:
    """Each prefix of the log, read from the store, gives what a client that watches sees after the same fact."""
    for recording in recordings(10, retries=True):
        events = [event for event in stored(recording, after=1) if isinstance(event, FactEvent)]
        live = AnswerFollower(recording.turn_id, turn_id=recording.turn_id)
        live.apply(CaughtUp())
        for number, event in enumerate(events, 1):
            is_settled = live.apply(event)
            later = AnswerFollower(recording.turn_id, turn_id=recording.turn_id)
            assert not any(later.apply(earlier) for earlier in events[:number])
            assert later.apply(CaughtUp()) == is_settled
            assert later.result(CHAT_ID, ()) == live.result(CHAT_ID, ())
            waits = event.status == "requires_action"
            assert (live.status is AnswerStatus.REQUIRES_ACTION) == waits


# --- messages that wait


class Log:
    """A chat by commands, and the events that follow."""

    def __init__(self) -> None:
        self.chat: Chat | None = None
        self.entries: list[Entry] = []
        self.do(c.CreateChat(owner_id="o", content=encode_content([Text("one")])))

    def do(self, command: c.Command) -> Entry:
        self.chat, entries = advance(self.chat, command, at=T0)
        self.entries += entries
        return entries[0]

    def answer(self, text: str) -> None:
        assert self.chat is not None
        if not self.chat.attempt:
            self.do(c.StartAttempt(instance_id="i"))
        content = encode_content([Text(text)])
        held = {"attempt": self.chat.attempt, "draft": self.chat.draft}
        self.do(c.CommitMessage(**held, content=content, upto=len(text), is_last=True))  # type: ignore[arg-type]

    def follow(self, message_id: int) -> AnswerFollower:
        follower = AnswerFollower(message_id)
        for entry in self.entries[message_id - 1 :]:
            follower.apply(decode_event(fact_frame(CHAT_ID, entry, position=0).data))
        follower.apply(CaughtUp())
        return follower


@pytest.mark.parametrize("when_busy", [WhenBusy.QUEUE, WhenBusy.STEER])
def test_a_message_that_waits_is_followed_into_its_turn(when_busy: WhenBusy) -> None:
    log = Log()
    log.do(c.StartAttempt(instance_id="i"))
    queued = log.do(c.SendMessage(content=encode_content([Text("two")]), when_busy=when_busy)).seq
    waiting = log.follow(queued)
    assert (waiting.status, waiting.is_settled, waiting.activity) == ("queued", False, "waiting in the queue")
    log.answer("first")
    assert log.follow(queued).status == "running"
    log.answer("second")
    done = log.follow(queued)
    assert (done.status, done.result(CHAT_ID, ()).answer) == ("answered", "second")
    log.do(c.SendMessage(content=encode_content([Text("three")])))
    assert log.follow(queued).result(CHAT_ID, ()) == done.result(CHAT_ID, ())


def test_a_message_that_is_deleted_from_the_queue_is_settled() -> None:
    log = Log()
    queued = log.do(c.SendMessage(content=encode_content([Text("two")]))).seq
    log.do(c.DeleteQueued(queued_id=queued))
    assert (log.follow(queued).status, log.follow(queued).is_settled) == ("deleted", True)


# --- sizes


def test_a_long_answer_is_cut_to_what_a_client_accepts() -> None:
    for text in ("x" * 10**6, "\u0001" * 10**6, "😀" * 10**5, "a" + "\u0001" * 10**5, "\\" * 10**6):
        budget = Budget()
        shown = budget.text(text)
        assert text.startswith(shown)
        assert shown
        assert budget.is_cut
        assert len(encode(shown)) <= RESULT_BYTES_MAX
        assert len(encode(encode(shown).decode())) + len(encode(shown)) < 1024 * 1024
    budget = Budget()
    assert (budget.text("x"), budget.is_cut) == ("x", False)


def test_values_that_do_not_fit_say_so() -> None:
    parts = [File(media_type="text/plain", data="x" * 1000, name="n"), ToolCall("c", "t")]
    (shown,) = attachments_of(parts, Budget())
    assert shown == {"type": "file", "media_type": "text/plain", "name": "n", "data": {"omitted_bytes": 1000}}
    budget = Budget(10)
    assert budget.value({"type": "data", "data": "x" * 100}) == {"type": "data", "omitted_bytes": 125}
    assert budget.is_cut


def test_a_page_has_at_least_one_message() -> None:
    messages = [MessageResult(message_id=n, role="user", created_at="", text="x" * 100) for n in range(1, 10)]
    assert len(fitting_messages(messages, 1)) == 1
    assert len(fitting_messages(messages, 400)) == 2
    assert fitting_messages(messages) == messages
    assert decode(encode(messages[0]), MessageResult) == messages[0]
