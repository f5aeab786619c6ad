"""What a turn puts out, for the translations of other protocols: parts, tool calls and their results, the end.

Every event has a `Place` that depends only on the chat's log and on positions in its drafts. So the events are the
same however deltas are merged and cut, and whether a client watches live, reads a stored chat or resumes. Protocols
that number their frames derive the numbers from the places.

How it works: a draft consists of *visible* parts (text, reasoning, and parts that are one delta, such as a source)
and of tool calls. Visible parts are streamed as their deltas arrive. Tool calls are put out when their message is
committed, because only then are their arguments complete and is it known who runs them. The same events can be made
from the deltas of a draft and from the committed message; a client that was behind gets the rest from the message.

The parts of a draft are numbered by their order among the visible ones, and the places inside a draft are counted
from the lengths of these parts. Tool calls, and deltas without a part (the start of a model call, the progress of a
tool), take no places, because a committed message does not say how long they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.model import Needs
from antiphon.core.parts import (
    CallStarted,
    DeltaPart,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
    ToolResult,
    Usage,
)
from antiphon.wire.codec import convert

FRAMES_MAX = 8
"""Maximum number of a protocol's frames for one event, except for the frames of text: as many places are reserved."""
FACT_PLACES = 1 << 20
"""Places of a fact's own events; those of the draft that it opens follow."""

_ABANDONS = frozenset({"attempt_released", "attempt_lost", "retry_scheduled", "history_truncated", "turn_restarted"})
"""Facts after which the open draft is written again."""


class Place(NamedTuple):
    """Where an event is: at a fact or in the draft that it names, and how many steps in it. Places only grow."""

    seq: int
    step: int


class PartKey(NamedTuple):
    """Which part of the output: the draft, and the number among the visible parts of the draft."""

    draft: int
    number: int


class PartBegun(NamedTuple):
    """A text or reasoning begins."""

    place: Place
    key: PartKey
    kind: type[Text] | type[Reasoning]


class PartText(NamedTuple):
    """A piece of a part. Each code point has a place; `place` is that of the first one."""

    place: Place
    key: PartKey
    text: str


class PartDone(NamedTuple):
    """A part is complete. `is_abandoned`: its draft is written again, and the text is not part of the answer."""

    place: Place
    key: PartKey
    text: str
    is_abandoned: bool = False


class WholePart(NamedTuple):
    """A part that comes at once: a source, a file, a value, or one of an unknown kind."""

    place: Place
    key: PartKey
    part: Part


class CallBegun(NamedTuple):
    """The model begins to write a tool call: transient. When the message is committed, `CallMade` follows."""

    tool_call_id: str
    tool_name: str


class CallArgs(NamedTuple):
    """A piece of the JSON text of the arguments of a call that is being written: transient."""

    tool_call_id: str
    text: str


class CallMade(NamedTuple):
    """A tool call is committed. `needs` says who runs it."""

    place: Place
    call: ToolCall
    needs: Needs


class CallDone(NamedTuple):
    """The result of a tool call. `needs` says who ran it; `args` are its arguments, where a client was asked."""

    place: Place
    result: ToolResult
    needs: Needs
    args: Any


class CallProgress(NamedTuple):
    """Output of a running tool. It is transient: a client that resumes does not get it again."""

    tool_call_id: str
    text: str


class MessageDone(NamedTuple):
    """A message of the assistant is committed, and `draft` is closed; its parts and calls came before."""

    place: Place
    draft: int
    message: dict[str, Any]
    usage: Usage


class ActionNeeded(NamedTuple):
    """The turn waits for clients: for results of their tools, approvals or answers. `calls` are as in the fact."""

    place: Place
    calls: list[dict[str, Any]]


class Retrying(NamedTuple):
    """A model call failed and is repeated."""

    place: Place
    data: dict[str, Any]


class Restarted(NamedTuple):
    """What was put out from this message on is no longer part of the answer."""

    place: Place
    from_message_id: int


class TurnEnd(NamedTuple):
    """The turn has ended. `outcome` is answered, interrupted, failed or replaced."""

    place: Place
    outcome: str
    error: dict[str, Any] | None
    usage: Usage


Output = (
    PartBegun
    | PartText
    | PartDone
    | WholePart
    | CallBegun
    | CallArgs
    | CallMade
    | CallDone
    | CallProgress
    | MessageDone
    | ActionNeeded
    | Retrying
    | Restarted
    | TurnEnd
)


class _OpenPart(NamedTuple):
    key: PartKey
    kind: type[Text] | type[Reasoning]
    part_index: int | None


class TurnOutput:
    """Translates the events of a chat, in order, into the output of one turn.

    `after` is the fact after which the output begins: the message that starts the turn, or a later fact of it.
    Facts up to it are skipped, so a watcher may begin earlier. `is_complete` is set by the `TurnEnd` of this turn and
    when a later turn begins; a retried turn goes on.
    """

    def __init__(self, turn_id: int, after: int, *, restarted_at: int = 0) -> None:
        """`restarted_at`: the fact that restarted the turn last; what came before it is no longer part of the
        answer."""
        self.turn_id = turn_id
        self.after = max(after, restarted_at)
        self.is_complete = False
        self.is_past = False
        """Whether a later turn has begun."""
        self._draft = self.after
        self._position = 0  # of the deltas of the open draft
        self._step = FACT_PLACES
        self._number = 0
        self._open: _OpenPart | None = None
        self._texts: list[str] = []  # of the open part so far
        self._needs: dict[str, Needs] = {}
        self._args: dict[str, Any] = {}
        self._writing: dict[int | None, str] = {}
        """The tool calls of the open draft by their part_index."""
        self._held = 0  # the number of complete visible parts of the open draft

    def apply(self, event: Event) -> list[Output]:
        """The output of one event of the stream. Events without output give an empty list."""
        if isinstance(event, Delta):
            if event.draft != self._draft or self.is_complete:
                return []
            self._position = event.to
            part, opened = event.part, self._open
            if opened is not None and type(part) is opened.kind and event.part_index == opened.part_index:
                return [self._text(part.text)]  # the common case
            return list(self._delta(part, event.part_index))
        if not isinstance(event, FactEvent):
            return []
        if event.type in ("action_required", "message_appended"):
            self._note_needs(event.data.get("calls", ()))
        return list(self._fact(event)) if event.seq > self.after else []

    def take_back(self, event: Event) -> list[Output] | None:
        """Called before `apply`, for protocols that can take text back. A message whose worker was lost may have less
        than was streamed: then `apply` puts out all of it, under the same keys. Returns the end of the open part."""
        if not isinstance(event, FactEvent) or (closes := event.data.get("closes")) is None:
            return None
        if closes["draft"] != self._draft or closes["upto"] >= self._position:
            return None
        ended = list(self._close(event.seq, is_abandoned=True))
        self._open_draft(self._draft)
        return ended

    def _note_needs(self, calls: Iterable[dict[str, Any]]) -> None:
        """Who runs each call. The fact before the output may be an `action_required` whose calls it answers."""
        for call in calls:
            self._needs[call["tool_call_id"]] = Needs(call["needs"])
            if "args" in call:
                self._args[call["tool_call_id"]] = call["args"]

    # --- deltas

    def _delta(self, part: DeltaPart, part_index: int | None) -> Iterator[Output]:
        if isinstance(part, CallStarted | ToolCallOpened | ToolCallArgs | ToolProgress):
            yield from self._transient(part, part_index)
            return
        if isinstance(part, Text | Reasoning):
            if part.text:
                yield from self._prose(part, part_index)
            return
        yield from self._whole(part)

    def _transient(self, part: DeltaPart, part_index: int | None) -> Iterator[Output]:
        if isinstance(part, ToolProgress):
            yield CallProgress(part.tool_call_id, part.text)
        elif isinstance(part, ToolCallOpened):
            self._writing[part_index] = part.tool_call_id
            yield CallBegun(part.tool_call_id, part.tool_name)
        elif isinstance(part, ToolCallArgs) and part_index in self._writing:
            yield CallArgs(self._writing[part_index], part.args_delta)

    def _prose(self, part: Text | Reasoning, part_index: int | None) -> Iterator[Output]:
        opened = self._open
        if opened is None or opened.part_index != part_index or opened.kind is not type(part):
            yield from self._close()
            yield from self._begin(type(part), part_index)
        yield self._text(part.text)

    def _begin(self, kind: type[Text] | type[Reasoning], part_index: int | None) -> Iterator[Output]:
        key = PartKey(self._draft, self._number)
        yield PartBegun(self._take(FRAMES_MAX), key, kind)
        self._number += 1
        self._open = _OpenPart(key, kind, part_index)
        self._texts = []

    def _text(self, text: str) -> Output:
        assert self._open is not None
        self._texts.append(text)
        return PartText(self._take(len(text)), self._open.key, text)

    def _whole(self, part: Part) -> Iterator[Output]:
        yield from self._close()
        self._held += 1
        yield WholePart(self._take(FRAMES_MAX), PartKey(self._draft, self._number), part)
        self._number += 1

    def _close(self, seq: int = 0, *, is_abandoned: bool = False) -> Iterator[Output]:
        """The open part is complete: at a fact, whose place is reserved also without one, or before the next part."""
        if self._open is not None:
            place = _at(seq, 0) if seq else self._take(FRAMES_MAX)
            done = PartDone(place, self._open.key, "".join(self._texts), is_abandoned)
            self._held += 1
            self._open, self._texts = None, []
            yield done

    def _take(self, count: int) -> Place:
        """The next place of the draft, of which `count` are used."""
        place = Place(self._draft, self._step)
        self._step += count
        return place

    # --- facts

    def _fact(self, event: FactEvent) -> Iterator[Output]:
        data = event.data
        if event.type == "message_appended":
            yield from self._message(event, data["message"])
        elif event.type == "turn_ended":
            if data["turn_id"] == self.turn_id:
                yield from self._close(event.seq, is_abandoned=True)
                self.is_complete = True
                usage = convert(data.get("usage") or {}, Usage)
                yield TurnEnd(_at(event.seq, 1), data["outcome"], data.get("error"), usage)
        elif event.type in _ABANDONS:
            yield from self._close(event.seq, is_abandoned=True)
            yield from self._restart(event)
        elif event.type == "action_required":
            yield ActionNeeded(_at(event.seq, 1), data["calls"])
        if event.draft != self._draft:
            self._open_draft(event.draft)

    def _restart(self, event: FactEvent) -> Iterator[Output]:
        if event.type == "history_truncated":
            yield Restarted(_at(event.seq, 1), event.data["from_message_id"])
        elif event.type == "turn_restarted" and event.data["turn_id"] == self.turn_id:
            self.is_complete = False
        elif event.type == "retry_scheduled":
            yield Retrying(_at(event.seq, 1), event.data)

    def _open_draft(self, name: int) -> None:
        self._draft, self._position, self._step, self._number = name, 0, FACT_PLACES, 0
        self._open, self._texts, self._held = None, [], 0
        self._writing.clear()

    def _message(self, event: FactEvent, message: dict[str, Any]) -> Iterator[Output]:
        role = message["role"]
        if role == "user":
            self.is_past = self.is_past or message["turn_id"] > self.turn_id
            self.is_complete = self.is_complete or self.is_past
            return
        if message["turn_id"] != self.turn_id or "content" not in message:
            return  # of another turn, or hidden by a truncation
        content = convert(message["content"], tuple[Part, ...])
        if role == "tool":
            for number, part in enumerate(content):
                if isinstance(part, ToolResult):
                    needs = self._needs.get(part.tool_call_id, Needs.SERVER)
                    args = self._args.pop(part.tool_call_id, None)
                    yield CallDone(_at(event.seq, 1 + number), part, needs, args)
            return
        yield from self._rest_of_draft(content)
        yield from self._close(event.seq)
        calls = [part for part in content if isinstance(part, ToolCall)]
        for number, call in enumerate(calls):
            yield CallMade(_at(event.seq, 1 + number), call, self._needs.get(call.tool_call_id, Needs.SERVER))
        usage = convert(message.get("usage") or {}, Usage)
        yield MessageDone(_at(event.seq, 1 + len(calls)), self._draft, message, usage)

    def _rest_of_draft(self, content: Iterable[Part]) -> Iterator[Output]:
        """What the committed message has beyond the deltas that came: a client that is behind gets it from here."""
        visible = [part for part in content if not isinstance(part, ToolCall | ToolResult)]
        visible = [part for part in visible if not isinstance(part, Text | Reasoning) or part.text]
        begun = self._held + (self._open is not None)
        if self._open is not None and begun <= len(visible):
            part = visible[begun - 1]
            held = "".join(self._texts)
            if isinstance(part, Text | Reasoning) and part.text != held:
                if part.text.startswith(held):
                    yield self._text(part.text[len(held) :])
                else:  # the lost holder had streamed more than was stored
                    self._texts = [part.text]
        for part in visible[begun:]:
            if isinstance(part, Text | Reasoning):
                yield from self._close()
                yield from self._begin(type(part), None)
                yield self._text(part.text)
            else:
                yield from self._whole(part)


def _at(seq: int, number: int) -> Place:
    """The place of the event `number` of a fact; 0 is the end of a part of the draft that it closes."""
    return Place(seq, number * FRAMES_MAX)
