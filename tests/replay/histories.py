"""The golden histories as commands: together they make every kind of fact, with every field set at least once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance
from antiphon.core.model import Chat, ErrorInfo, ForkedFrom, Needs, Parent, WhenBusy
from antiphon.core.model_usage import ModelUsage, added, total_of
from antiphon.core.parts import Role, Usage
from antiphon.errors import Refused

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
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


class Scenario:
    """A chat made by commands at intervals of one second."""

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

    def commit(self, text: str, *calls: f.CallOpened, is_last: bool = False, outcome: str = "", **more: Any) -> None:
        wrote = {"content": words(text), "upto": len(text), "usage": USAGE, "model": "rehearsal", "outcome": outcome}
        wrote |= more
        self.do(c.CommitMessage(**self.fence, **wrote, calls=calls, is_last=is_last))

    def result(self, tool_call_id: str) -> None:
        self.do(c.CommitToolResult(attempt=self.chat.attempt, tool_call_id=tool_call_id, content=words("42")))

    def require(self, *calls: f.ActionNeeded) -> None:
        self.do(c.RequireAction(**self.fence, calls=calls, deadline=self.at + 3600 * SECOND))


SERVER = f.CallOpened(tool_call_id="call-server", tool_name="run")
FIND = f.CallOpened(tool_call_id="call-find", tool_name="find", is_idempotent=True)
CHILD = f.CallOpened(tool_call_id="call-child", tool_name="spawn", needs=Needs.CHILD, is_idempotent=True)
PAY = f.CallOpened(tool_call_id="call-pay", tool_name="pay", needs=Needs.APPROVAL)
ASK = f.CallOpened(tool_call_id="call-ask", tool_name="ask", needs=Needs.RESULT)
PAY_NEEDED = f.ActionNeeded(tool_call_id="call-pay", tool_name="pay", args={"sum": 3}, needs=Needs.APPROVAL)
ASK_NEEDED = f.ActionNeeded(tool_call_id="call-ask", tool_name="ask", args={"q": "é😀"}, needs=Needs.RESULT)
ERROR = ErrorInfo(
    message="The model is overloaded.", kind="overloaded", provider="p", retryable=True, status_code=529
)


def everyday() -> Scenario:
    """Turns that are answered, and all that is said about a chat."""
    scenario = Scenario(
        c.CreateChat(
            owner_id="owner-1",
            content=words("Hello — 語 😀"),
            title="First",
            model="rehearsal",
            system="Be brief.",
            labels={"team": "blue"},
            tools=[{"name": "find", "parameters": {"type": "object"}}],
            mcp_server_ids=(),
            client_message_id="key-1",
            trace=TRACE,
            via="http",
        )
    )
    scenario.start()
    scenario.commit("Hi.", is_last=True, outcome="length")
    scenario.refuse(c.GenerateTitle(title="thought up"))
    scenario.do(c.Rename(title="Second"))
    scenario.do(c.SetLabels(labels={"team": "red", "é": "😀"}))
    scenario.do(c.SetLabels(labels={}))
    scenario.do(c.SetPin(pin_order=2))
    scenario.do(c.SetModel(model="openai:gpt"))
    scenario.do(c.SetSystem(system="Be long."))
    scenario.do(c.SetTools(tools=[{"name": "pick", "description": "Pick.", "parameters": {"type": "object"}}]))
    scenario.do(c.SetMcpServers(mcp_server_ids=("0badc0de-0000-4000-9000-000000000000",)))
    scenario.do(c.SetDiffStatus(diff_status={"files": 2, "url": None}))
    scenario.do(c.Archive())
    scenario.do(c.Unarchive())
    scenario.do(c.Archive())
    scenario.send("Are you there?", client_message_id="key-2", model="anthropic:claude", by="owner-1")
    scenario.start("instance-2")
    scenario.commit("Yes.", is_last=True)
    return scenario


def family() -> Scenario:
    """A child chat that starts a child chat itself."""
    parent = Parent(chat_id="above", tool_call_id="call-spawn", root_chat_id="top", depth=2)
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("one"), parent=parent))
    scenario.start()
    scenario.commit("Let me ask.", CHILD)
    scenario.do(c.ExpireAttempt(attempt=scenario.chat.attempt, reason="dead"))
    scenario.start("instance-2")
    scenario.result("call-child")
    scenario.commit("Done.", is_last=True)
    return scenario


def queue() -> Scenario:
    """What waits: queued, steering, promoted, edited, moved, deleted, interrupted."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("one"), title="one", is_title_made=True))
    scenario.do(c.GenerateTitle(title="thought up"))
    scenario.start()
    scenario.send("two", client_message_id="key-2", model="m", by="owner-1", trace=TRACE, via="zmq")
    scenario.send("three")
    scenario.send("four", WhenBusy.STEER)
    scenario.send("five")
    two, three, five = (item.id for item in scenario.chat.queue)
    scenario.do(c.EditQueued(queued_id=three, content=words("three, better")))
    scenario.do(c.MoveQueued(queued_id=five, before=two))
    scenario.do(c.MoveQueued(queued_id=five))
    scenario.do(c.DeleteQueued(queued_id=five))
    scenario.commit("so far", is_last=True)
    scenario.do(c.PromoteQueued(queued_id=three, by="owner-1"))
    scenario.send("six", WhenBusy.INTERRUPT)
    dropped = (f.CallDropped(tool_call_id="call-x", tool_name="run"),)
    partial = {"content": words("par"), "upto": 3, "usage": USAGE, "model": "m", "dropped": dropped}
    scenario.do(c.FinishInterrupt(**scenario.fence, **partial))
    scenario.start()
    scenario.do(c.Interrupt(turn_id=scenario.chat.turn_id, by="owner-1"))
    scenario.do(c.FinishInterrupt(**scenario.fence, usage=USAGE))
    scenario.send("seven", WhenBusy.STEER)
    scenario.start()
    scenario.do(c.Interrupt(turn_id=scenario.chat.turn_id, clear_queue=True))
    scenario.do(c.ExpireAttempt(attempt=scenario.chat.attempt, reason="interrupt"), after_s=2)
    return scenario


def tools() -> Scenario:
    """Calls of all kinds: run, released, unknown, approved, denied, brought by a client, expired, cancelled."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("use your tools")))
    scenario.start()
    scenario.commit("server and find", SERVER, FIND)
    scenario.do(c.ReleaseAttempt(**scenario.fence, calls_not_begun=("call-find",), usage=USAGE))
    scenario.start("instance-2")
    scenario.result("call-find")
    scenario.commit("pay and ask", PAY, ASK)
    scenario.require(PAY_NEEDED, ASK_NEEDED)
    scenario.do(c.Approve(tool_call_id="call-pay", by="owner-1"))
    scenario.do(c.SubmitToolResults(tool_call_id="call-ask", content=words("mine"), by="owner-1"))
    scenario.start()
    scenario.result("call-pay")
    scenario.commit("pay again", PAY)
    scenario.require(PAY_NEEDED)
    scenario.do(c.Deny(tool_call_id="call-pay", reason="too dear", by="owner-1"))
    scenario.start()
    scenario.commit("ask again", ASK)
    scenario.require(ASK_NEEDED)
    scenario.do(c.ExpireAction(), after_s=3601)
    scenario.start()
    scenario.commit("once more", PAY)
    scenario.require(PAY_NEEDED)
    scenario.do(c.Approve(tool_call_id="call-pay", by="owner-1", args={"amount": 5}, always=True))
    scenario.start()
    scenario.result("call-pay")
    scenario.commit("at last", PAY, ASK)
    scenario.require(PAY_NEEDED, ASK_NEEDED)
    scenario.do(c.Interrupt(turn_id=scenario.chat.turn_id))
    return scenario


def trouble() -> Scenario:
    """Retries short and long, lost workers, a failed turn run again, edits that replace what was."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("try")))
    scenario.start()
    scenario.do(c.FailAttempt(**scenario.fence, error=ERROR, delay_ms=1000, usage=USAGE))
    scenario.do(c.FailAttempt(**scenario.fence, error=ERROR, delay_ms=60_000))
    scenario.refuse(c.StartAttempt(instance_id="instance-1"))
    scenario.at += 60 * SECOND
    scenario.start("instance-2")
    scenario.do(c.ExpireAttempt(attempt=scenario.chat.attempt, reason="lease"))
    scenario.start()
    kept = {"draft": scenario.chat.draft, "content": words("flushed"), "upto": 7, "keep": True}
    scenario.do(c.ExpireAttempt(attempt=scenario.chat.attempt, reason="dead", **kept))
    scenario.start()
    scenario.send("later")
    scenario.do(c.FailAttempt(**scenario.fence, error=ERROR, usage=USAGE))
    scenario.do(c.Retry())
    scenario.start()
    scenario.commit("half", is_last=False)
    scenario.do(c.EditMessage(message_id=2, content=words("try otherwise"), target=Role.USER, by="owner-1"))
    scenario.start()
    scenario.do(c.Interrupt(turn_id=scenario.chat.turn_id))
    flushed = {"draft": scenario.chat.draft, "content": words("flu"), "upto": 3}
    scenario.do(c.ExpireAttempt(attempt=scenario.chat.attempt, reason="lease", **flushed))
    scenario.start()
    scenario.do(c.FailAttempt(**scenario.fence, error=ErrorInfo(message="no")))
    return scenario


def state() -> Scenario:
    """An agent that stores its state with its messages; an edit brings an earlier one back."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("one"), title="one"))
    scenario.start()
    scenario.commit("first", is_last=True, state=b'{"n":1}')
    first = scenario.chat.state_seq
    scenario.send("two")
    second = scenario.chat.turn_id
    scenario.start()
    scenario.commit("call", SERVER, state=b'{"n":2}')
    scenario.result("call-server")
    scenario.commit("second", is_last=True, state=b'{"n":3}')
    scenario.do(c.EditMessage(message_id=second, content=words("two, better"), target=Role.USER, state_seq=first))
    scenario.start()
    scenario.commit("third", is_last=True, state=b'{"n":4}')
    return scenario


def used(*by: ModelUsage) -> dict[str, Any]:
    """The fields of a command with this usage."""
    return {"usage": total_of(by), "used": added(by)}


PRICED = ModelUsage(
    model="openai:gpt", calls=2, usage=Usage(input_tokens=11, output_tokens=7, cost_micros=12, priced_tokens=18)
)
UNPRICED = ModelUsage(model="rehearsal", calls=1, usage=USAGE)


def usage() -> Scenario:
    """What turns use, by model and with its cost: of a retry, a message, a hand-over, an interrupt, and a title."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("one"), title="one", is_title_made=True))
    scenario.start()
    scenario.do(c.FailAttempt(**scenario.fence, error=ERROR, delay_ms=1000, **used(PRICED)))
    scenario.commit("call", SERVER, **used(UNPRICED, PRICED))
    scenario.do(c.ReleaseAttempt(**scenario.fence, calls_not_begun=("call-server",), **used(PRICED)))
    scenario.start("instance-2")
    scenario.result("call-server")
    scenario.commit("done", is_last=True, **used(PRICED))
    scenario.do(c.GenerateTitle(title="thought up", used=(PRICED,)))
    scenario.send("two")
    scenario.start()
    scenario.do(c.Interrupt(turn_id=scenario.chat.turn_id))
    scenario.do(c.FinishInterrupt(**scenario.fence, **used(PRICED)))
    return scenario


def deleted_midway() -> Scenario:
    """A chat that is deleted while its turn runs: the tombstone has what the turn has used."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("forget me")))
    scenario.start()
    scenario.commit("call", SERVER, **used(PRICED))
    scenario.do(c.Delete())
    return scenario


def continued() -> Scenario:
    """Attempts that end in the middle of an answer, whose beginning the next one gets."""
    scenario = Scenario(c.CreateChat(owner_id="owner-1", content=words("all of it"), title="all"))
    for attempt in range(2):
        scenario.start()
        lost = {"attempt": scenario.chat.attempt, "draft": scenario.chat.draft, "reason": "dead"}
        scenario.do(c.ExpireAttempt(**lost, beginning=words("it is so" + " and so" * attempt)))
    scenario.start()
    scenario.do(c.ReleaseAttempt(**scenario.fence, beginning=words("it is so and so and so")))
    scenario.start()
    scenario.commit("it is so and so and so: all", is_last=True)
    scenario.send("again")
    scenario.start()
    lost = {"attempt": scenario.chat.attempt, "draft": scenario.chat.draft, "reason": "lease"}
    scenario.do(c.ExpireAttempt(**lost, beginning=words("it")))
    return scenario


def deleted() -> Scenario:
    """A chat that is gone: its tombstone keeps its owner and its last seq."""
    scenario = Scenario(
        c.CreateChat(owner_id="owner-1", content=words("forget me"), title="secret", labels={"a": "b"})
    )
    scenario.start()
    scenario.commit("call", SERVER)
    scenario.send("never")
    scenario.do(c.Delete())
    return scenario


def forked() -> Scenario:
    """A fork with everything that it may take over."""
    past = (
        c.PastMessage(role=Role.USER, content=words("add"), model="openai:x"),
        c.PastMessage(
            role=Role.ASSISTANT,
            content=words("one moment"),
            calls=(f.CallOpened(tool_call_id="c1", tool_name="add"),),
            model="openai:y",
        ),
        c.PastMessage(role=Role.TOOL, content=words("3"), resolves="c1"),
        c.PastMessage(role=Role.ASSISTANT, content=words("It is th"), interrupted=True, outcome="length"),
    )
    create = c.CreateChat(
        owner_id="owner-1",
        title="A fork",
        forked_from=ForkedFrom(chat_id="source", message_id=9),
        history=past,
        state=b'{"step":2}',
        trace=TRACE,
        via="http",
    )
    scenario = Scenario(create)
    scenario.do(c.SendMessage(content=words("and now?"), by="owner-1"))
    return scenario


HISTORIES: dict[str, Callable[[], Scenario]] = {
    "everyday": everyday,
    "queue": queue,
    "family": family,
    "tools": tools,
    "trouble": trouble,
    "state": state,
    "continued": continued,
    "deleted": deleted,
    "usage": usage,
    "deleted_midway": deleted_midway,
    "forked": forked,
}
