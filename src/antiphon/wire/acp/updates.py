"""A chat as the session updates of an editor: messages, tool calls, the title.

The updates depend on the log and on positions only: however the deltas are cut, an editor gets the same text, calls
and ids. `messageId` names the turn and the fact after which the message was written.

The protocol has no way to take text back. An answer may be begun again: its worker was lost, or the model call is
repeated. As long as the new text agrees with the old one, the answer goes on. Where it differs, a chunk says so; its
`_meta` names the message whose text does not count, and the whole new text follows. The rest of the chat is what an
editor gets that loads it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.model import Needs
from antiphon.core.parts import Part, Reasoning, Text, ToolCall, Usage
from antiphon.errors import one_line
from antiphon.wire.acp import calls
from antiphon.wire.acp.begun_again import WHOLE, BegunAgain, Piece, Shown
from antiphon.wire.acp.blocks import Block, blocks_of, pieces_of, text_block
from antiphon.wire.codec import convert, decode, encode
from antiphon.wire.turn_output import (
    CallBegun,
    CallDone,
    CallMade,
    CallProgress,
    MessageDone,
    Output,
    PartBegun,
    PartText,
    Retrying,
    TurnOutput,
    WholePart,
)

Update = dict[str, Any]

PROGRESS_MAX = 8_192
"""Maximum length of the shown output of a running tool, in characters: its end."""
WITHDRAWN = "antiphon/withdrawn"
"""The key in `_meta` of the chunk that says that an answer is begun again. Its value is the `messageId` of the text
that does not count."""
BEGUN_AGAIN = "\n\n*(The answer was cut off here. It begins again.)*\n\n"
NOT_KEPT = "\n\n*(The answer was cut off here, and this text is not part of the chat.)*\n\n"
CUT_BACK = "\n\n*(The answer was cut off here, and its end was lost. This is part of the chat:)*\n\n"
CHANGED = (
    "\n\n*(Another client has changed the conversation: an earlier message was replaced or is answered again.)*\n\n"
)

_ABANDONS = frozenset({"attempt_released", "attempt_lost", "retry_scheduled", "history_truncated", "turn_ended"})
"""Facts after which the text of an open draft is not part of the answer."""


class ChatUpdates:
    """Translates the events of a chat, in order. `is_own` says of a client's message id whether the message was sent
    by this editor, which shows it already."""

    def __init__(self, *, is_own: Callable[[str], bool] = lambda name: False) -> None:
        self._is_own = is_own
        self._turn_id = 0
        self._output: TurnOutput | None = None
        self._after = 0
        """The message after which the open one is written."""
        self._kind = "agent_message_chunk"
        self._shown = Shown()
        """What was put out and is not committed."""
        self._again: BegunAgain | None = None
        """The open draft is compared with what was shown of an abandoned one."""
        self._mark = ""
        """The end of the id of a message that was shown before with another text."""
        self._abandoned_at = (0, "")
        """What the two are of the text that is shown instead."""
        self._writing: set[str] = set()
        """The calls that the model writes."""
        self._made: dict[str, Update] = {}
        """The calls without a result."""
        self._progress: dict[str, str] = {}

    def apply(self, event: Event) -> list[Update]:
        """The updates of an event."""
        if isinstance(event, Delta):
            return list(self._rendered(event))
        return list(self._fact(event)) if isinstance(event, FactEvent) else []

    def message(self, message: dict[str, Any], open_calls: Iterable[dict[str, Any]] = ()) -> list[Update]:
        """The updates of a message of the history. `open_calls` are those of the chat."""
        waiting = [{"tool_call_id": call["tool_call_id"], "needs": call["needs"]} for call in open_calls]
        seq = message["id"]
        data = {"message": message, "calls": waiting}
        return self.apply(
            FactEvent(type="message_appended", seq=seq, at=message["created_at"], status="", draft=seq, data=data)
        )

    def open_draft(self, turn_id: int, seq: int, name: int, deltas: Iterable[Delta]) -> list[Update]:
        """The updates of the message that is being written: the draft `name` after the fact `seq`."""
        updates: list[Update] = []
        if self._output is None or self._turn_id != turn_id:
            updates += self._begin(turn_id, turn_id)
            self._after = self._after or turn_id
        opened = FactEvent(type="attempt_started", seq=seq, at="", status="", draft=name)
        events: list[Event] = [opened, *deltas]
        return updates + [update for event in events for update in self.apply(event)]

    def abandon(self, seq: int) -> list[Update]:
        """Events were missed up to the fact `seq`: the messages follow instead."""
        updates = list(self._abandon(seq))
        if self._output is not None:
            self._output = TurnOutput(self._turn_id, self._turn_id)
        return updates

    def calls_without_result(self) -> list[Update]:
        """The calls that run or wait, for an editor that resumes in the middle of a turn."""
        return list(self._made.values())

    # --- facts

    def _fact(self, event: FactEvent) -> Iterator[Update]:
        data = event.data
        if event.type == "message_appended":
            yield from self._message(event, data["message"])
            return
        if event.type == "turn_restarted":
            yield from self._begin(data["turn_id"], event.seq)
            self._after, self._mark = event.seq, ""
        yield from self._rendered(event)
        if event.type in _ABANDONS:
            yield from self._abandon(event.seq)
        if event.type == "turn_ended":
            yield from self._withdraw(NOT_KEPT)
        if event.type == "history_truncated" and data["from_message_id"] <= self._after:
            yield self._chunk("agent_message_chunk", text_block(CHANGED))
        elif event.type == "title_changed":
            yield {"sessionUpdate": "session_info_update", "title": data["title"], "updatedAt": event.at}
        elif event.type == "action_resolved" and data["outcome"] == "approved":
            yield calls.running(data["tool_call_id"])

    def _message(self, event: FactEvent, message: dict[str, Any]) -> Iterator[Update]:
        if "content" not in message:
            return  # hidden by a truncation
        if message["turn_id"] != self._turn_id:
            yield from self._begin(message["turn_id"], message["turn_id"])
        elif self._output is not None and self._output.take_back(event) is not None:
            self._take_back()
        yield from self._rendered(event)
        self._after, self._mark = event.seq, ""
        if message["role"] == "user" and not self._is_own(message.get("client_message_id", "")):
            for block in blocks_of(convert(message["content"], tuple[Part, ...])):
                yield {"sessionUpdate": "user_message_chunk", "messageId": str(event.seq), "content": block}

    def _begin(self, turn_id: int, after: int) -> list[Update]:
        updates = list(self._withdraw(NOT_KEPT))
        self._turn_id, self._output = turn_id, TurnOutput(turn_id, after)
        self._shown = Shown()
        self._writing.clear()
        self._made.clear()
        self._progress.clear()
        return updates

    def _abandon(self, seq: int) -> Iterator[Update]:
        """The open draft is written again."""
        yield from self._drop_calls()
        if self._again is not None:
            self._again = BegunAgain(self._again.shown)
        elif self._shown:
            self._again = BegunAgain(self._shown)
        self._shown, self._abandoned_at = Shown(), (seq, "")

    def _take_back(self) -> None:
        """The committed message has less than was shown. It is put out again: compare it."""
        if self._again is None:
            self._again, self._abandoned_at = BegunAgain(self._shown), (self._after, "-stored")
        else:
            self._again = BegunAgain(self._again.shown)
        self._shown = Shown()

    def _withdraw(self, words: str) -> Iterator[Update]:
        """What was shown of an abandoned draft does not count. What follows has another id."""
        again, self._again = self._again, None
        if again is None:
            return
        name = self._message_id
        self._after, self._mark = self._abandoned_at
        yield self._chunk("agent_message_chunk", text_block(words)) | {"_meta": {WITHDRAWN: name}}
        for piece in again.matched.pieces:
            yield from self._put(piece)

    def _put(self, piece: Piece) -> Iterator[Update]:
        """Text of the open draft, or a block."""
        text = piece.text
        if self._again is not None:
            left = self._again.accept(piece)
            if left is None:
                yield from self._withdraw(BEGUN_AGAIN)
            else:
                text = left
                if self._again.is_done:
                    self._shown, self._again = self._again.matched, None
                    piece = Piece(piece.kind, "")
        if self._again is None:
            self._shown.add(piece)
        if piece.kind == WHOLE and text:
            yield self._chunk("agent_message_chunk", decode(text.encode(), dict[str, Any]))
        elif piece.kind != WHOLE:
            for one in pieces_of(text):
                yield self._chunk(piece.kind, text_block(one))

    def _committed(self) -> Iterator[Update]:
        """The message is committed: it has no more text."""
        yield from self._withdraw(CUT_BACK if self._abandoned_at[1] else BEGUN_AGAIN)
        self._shown = Shown()

    def _drop_calls(self) -> Iterator[Update]:
        for call_id in sorted(self._writing):
            yield calls.unfinished(call_id)
        self._writing.clear()

    # --- the output of a turn

    def _rendered(self, event: Event) -> Iterator[Update]:
        if self._output is not None:
            for output in self._output.apply(event):
                yield from self._render(output)

    def _render(self, output: Output) -> Iterator[Update]:
        match output:
            case PartText(text=text):
                yield from self._put(Piece(self._kind, text))
            case PartBegun(kind=kind):
                self._kind = "agent_message_chunk" if kind is Text else "agent_thought_chunk"
                assert kind in (Text, Reasoning)
            case WholePart(part=part):
                for block in blocks_of([part]):
                    yield from self._put(Piece(WHOLE, encode(block).decode()))
            case CallBegun(tool_call_id=call_id, tool_name=name):
                self._writing.add(call_id)
                yield calls.begun(call_id, name)
            case CallMade(call=call, needs=needs):
                yield from self._committed()
                yield self._made_call(call, needs)
            case CallDone(result=result):
                self._made.pop(result.tool_call_id, None)
                self._progress.pop(result.tool_call_id, None)
                yield calls.done(result)
            case CallProgress(tool_call_id=call_id, text=text):
                shown = self._progress[call_id] = (self._progress.get(call_id, "") + text)[-PROGRESS_MAX:]
                yield calls.running(call_id, shown)
            case MessageDone(usage=usage):
                yield from self._committed()
                yield from self._drop_calls()
                yield from _context(usage)
            case Retrying(data=data):
                yield notice("The model call failed and is repeated.", str(data.get("error") or ""))

    def _made_call(self, call: ToolCall, needs: Needs) -> Update:
        is_begun = call.tool_call_id in self._writing
        self._writing.discard(call.tool_call_id)
        self._made[call.tool_call_id] = calls.made(call, needs, is_begun=False)
        return calls.made(call, needs, is_begun=is_begun)

    @property
    def _message_id(self) -> str:
        return f"{self._turn_id}-{self._after}{self._mark}"

    def _chunk(self, kind: str, block: Block) -> Update:
        return {"sessionUpdate": kind, "messageId": self._message_id, "content": block}


def notice(title: str, description: str = "", *, severity: str = "warning") -> Update:
    """A report beside the conversation, for an editor that can show it."""
    shown: Update = {"sessionUpdate": "notice", "severity": severity, "title": title}
    return shown | ({"description": one_line(description, 1_000)} if description else {})


def _context(usage: Usage) -> Iterator[Update]:
    """How full the model's context is, where its size is known."""
    if usage.context_limit:
        yield {"sessionUpdate": "usage_update", "used": usage.tokens, "size": usage.context_limit}
