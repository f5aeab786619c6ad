"""The golden histories as commands: together they make every kind of fact, with every field set at least once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance
from antiphon.core.model import Chat, ErrorInfo, Needs, WhenBusy
from antiphon.core.parts import Role, Usage
from antiphon.errors import Refused

T0 = 1_760_000_000_000_000
SECOND = 1_000_000
USAGE = Usage(
    input_tokens=11,
    output_tokens=7,
    total_tokens=18,
    reasoning_tokens=3,
    cache_creation_tokens=2,
    cache_read_tokens=1,
    context_limit=200_000,
)


def words(text: str) -> bytes:
    return msgspec.json.encode([{"type": "text", "text": text}])


class Story:
    """A chat told by commands, one second after another."""

    def __init__(self, create: c.CreateChat) -> None:
        self.at = T0
        self.chat: Any = None
        self.entries: list[f.Entry] = []
        self.do(create)

    def do(self, command: c.Command, *, after_s: int = 1) -> None:
        self.at += after_s * SECOND
        chat: Chat | None = self.chat
        self.chat, entries = advance(chat, command, at=self.at)
        self.entries += entries

    def refuse(self, command: c.Command) -> None:
        """Asked, and nothing came of it: so it leaves no trace in the log."""
        try:
            self.do(command)
        except Refused:
            return
        raise AssertionError("this was to be refused")

    @property
    def fence(self) -> dict[str, int]:
        return {"attempt": self.chat.attempt, "draft": self.chat.draft}

    def send(self, text: str, when_busy: WhenBusy = WhenBusy.QUEUE, **more: str) -> None:
        self.do(c.SendMessage(content=words(text), when_busy=when_busy, **more))

    def start(self, instance_id: str = "instance-1") -> None:
        self.do(c.StartAttempt(instance_id=instance_id))

    def commit(self, text: str, *calls: f.CallOpened, is_last: bool = False, outcome: str = "") -> None:
        wrote = {"content": words(text), "upto": len(text), "usage": USAGE, "model": "rehearsal", "outcome": outcome}
        self.do(c.CommitMessage(**self.fence, **wrote, calls=calls, is_last=is_last))

    def result(self, tool_call_id: str) -> None:
        self.do(c.CommitToolResult(attempt=self.chat.attempt, tool_call_id=tool_call_id, content=words("42")))

    def require(self, *calls: f.ActionNeeded) -> None:
        self.do(c.RequireAction(**self.fence, calls=calls, deadline=self.at + 3600 * SECOND))


SERVER = f.CallOpened(tool_call_id="call-server", tool_name="run")
LOOK = f.CallOpened(tool_call_id="call-look", tool_name="look", is_idempotent=True)
PAY = f.CallOpened(tool_call_id="call-pay", tool_name="pay", needs=Needs.APPROVAL)
ASK = f.CallOpened(tool_call_id="call-ask", tool_name="ask", needs=Needs.RESULT)
PAY_NEEDED = f.ActionNeeded(tool_call_id="call-pay", tool_name="pay", args={"sum": 3}, needs=Needs.APPROVAL)
ASK_NEEDED = f.ActionNeeded(tool_call_id="call-ask", tool_name="ask", args={"q": "é😀"}, needs=Needs.RESULT)
ERROR = ErrorInfo(
    message="The model is overloaded.", kind="overloaded", provider="p", retryable=True, status_code=529
)


def everyday() -> Story:
    """Turns that are answered, and all that is said about a chat."""
    story = Story(
        c.CreateChat(
            owner_id="owner-1",
            content=words("Hello — 語 😀"),
            title="First",
            model="rehearsal",
            system="Be brief.",
            labels={"team": "blue"},
            tools=[{"name": "look", "parameters": {"type": "object"}}],
            client_message_id="key-1",
        )
    )
    story.start()
    story.commit("Hi.", is_last=True, outcome="length")
    story.refuse(c.GenerateTitle(title="thought up"))
    story.do(c.Rename(title="Second"))
    story.do(c.SetLabels(labels={"team": "red", "é": "😀"}))
    story.do(c.SetLabels(labels={}))
    story.do(c.SetPin(pin_order=2))
    story.do(c.SetModel(model="openai:gpt"))
    story.do(c.SetSystem(system="Be long."))
    story.do(c.SetDiffStatus(diff_status={"files": 2, "url": None}))
    story.do(c.Archive())
    story.do(c.Unarchive())
    story.do(c.Archive())
    story.send("Are you there?", client_message_id="key-2", model="anthropic:claude", by="owner-1")
    story.start("instance-2")
    story.commit("Yes.", is_last=True)
    return story


def queue() -> Story:
    """What waits: queued, steering, promoted, edited, moved, deleted, interrupted."""
    story = Story(c.CreateChat(owner_id="owner-1", content=words("one"), title="one", is_title_made=True))
    story.do(c.GenerateTitle(title="thought up"))
    story.start()
    story.send("two", client_message_id="key-2", model="m", by="owner-1")
    story.send("three")
    story.send("four", WhenBusy.STEER)
    story.send("five")
    two, three, five = (item.id for item in story.chat.queue)
    story.do(c.EditQueued(queued_id=three, content=words("three, better")))
    story.do(c.MoveQueued(queued_id=five, before=two))
    story.do(c.MoveQueued(queued_id=five))
    story.do(c.DeleteQueued(queued_id=five))
    story.commit("so far", is_last=True)
    story.do(c.PromoteQueued(queued_id=three, by="owner-1"))
    story.send("six", WhenBusy.INTERRUPT)
    dropped = (f.CallDropped(tool_call_id="call-x", tool_name="run"),)
    partial = {"content": words("par"), "upto": 3, "usage": USAGE, "model": "m", "dropped": dropped}
    story.do(c.FinishInterrupt(**story.fence, **partial))
    story.start()
    story.do(c.Interrupt(turn_id=story.chat.turn_id, by="owner-1"))
    story.do(c.FinishInterrupt(**story.fence, usage=USAGE))
    story.send("seven", WhenBusy.STEER)
    story.start()
    story.do(c.Interrupt(turn_id=story.chat.turn_id, clear_queue=True))
    story.do(c.ExpireAttempt(attempt=story.chat.attempt, reason="interrupt"), after_s=2)
    return story


def tools() -> Story:
    """Calls of all kinds: run, released, unknown, approved, denied, brought by a client, expired, cancelled."""
    story = Story(c.CreateChat(owner_id="owner-1", content=words("use your tools")))
    story.start()
    story.commit("server and look", SERVER, LOOK)
    story.do(c.ReleaseAttempt(**story.fence, calls_not_begun=("call-look",), usage=USAGE))
    story.start("instance-2")
    story.result("call-look")
    story.commit("pay and ask", PAY, ASK)
    story.require(PAY_NEEDED, ASK_NEEDED)
    story.do(c.Approve(tool_call_id="call-pay", by="owner-1"))
    story.do(c.SubmitToolResults(tool_call_id="call-ask", content=words("mine"), by="owner-1"))
    story.start()
    story.result("call-pay")
    story.commit("pay again", PAY)
    story.require(PAY_NEEDED)
    story.do(c.Deny(tool_call_id="call-pay", reason="too dear", by="owner-1"))
    story.start()
    story.commit("ask again", ASK)
    story.require(ASK_NEEDED)
    story.do(c.ExpireAction(), after_s=3601)
    story.start()
    story.commit("at last", PAY, ASK)
    story.require(PAY_NEEDED, ASK_NEEDED)
    story.do(c.Interrupt(turn_id=story.chat.turn_id))
    return story


def trouble() -> Story:
    """Retries short and long, lost workers, a failed turn run again, edits that replace what was."""
    story = Story(c.CreateChat(owner_id="owner-1", content=words("try")))
    story.start()
    story.do(c.FailAttempt(**story.fence, error=ERROR, delay_ms=1000, usage=USAGE))
    story.do(c.FailAttempt(**story.fence, error=ERROR, delay_ms=60_000))
    story.refuse(c.StartAttempt(instance_id="instance-1"))
    story.at += 60 * SECOND
    story.start("instance-2")
    story.do(c.ExpireAttempt(attempt=story.chat.attempt, reason="lease"))
    story.start()
    kept = {"draft": story.chat.draft, "content": words("flushed"), "upto": 7, "keep": True}
    story.do(c.ExpireAttempt(attempt=story.chat.attempt, reason="dead", **kept))
    story.start()
    story.send("later")
    story.do(c.FailAttempt(**story.fence, error=ERROR, usage=USAGE))
    story.do(c.Retry())
    story.start()
    story.commit("half", is_last=False)
    story.do(c.EditMessage(message_id=2, content=words("try otherwise"), target=Role.USER, by="owner-1"))
    story.start()
    story.do(c.Interrupt(turn_id=story.chat.turn_id))
    flushed = {"draft": story.chat.draft, "content": words("flu"), "upto": 3}
    story.do(c.ExpireAttempt(attempt=story.chat.attempt, reason="lease", **flushed))
    story.start()
    story.do(c.FailAttempt(**story.fence, error=ErrorInfo(message="no")))
    return story


def deleted() -> Story:
    """A chat that is gone: its tombstone keeps its owner and its last seq."""
    story = Story(c.CreateChat(owner_id="owner-1", content=words("forget me"), title="secret", labels={"a": "b"}))
    story.start()
    story.commit("call", SERVER)
    story.send("never")
    story.do(c.Delete())
    return story


HISTORIES: dict[str, Callable[[], Story]] = {
    "everyday": everyday,
    "queue": queue,
    "tools": tools,
    "trouble": trouble,
    "deleted": deleted,
}
