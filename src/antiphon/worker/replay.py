"""What a function agent has stored in its turn before: its calls with their results, and its texts.

How it works
------------
A function agent starts from its beginning after a crash, before a retry, and after a person's answer. `turn.call`,
`turn.ask` and `turn.take_steering` store what it has done as messages of the turn. When it starts again, it repeats
its steps, and each step that is stored has no second effect:

1. A call is compared with the stored calls that were not matched yet, in their order: by its tool, its arguments and,
   if the agent gave it one, its id. The first equal one gives its stored result, and nothing runs.
2. Pieces (text, reasoning, sources, files, data) that were stored with a call are not written a second time. While
   the agent yields the same pieces as before, they are held back; at the stored call they are dropped. As soon as it
   yields something else, the pieces that are held back are written, and so is everything after them.

Once the agent has returned and a steering message continues the turn, it starts with a new message: nothing that was
stored before is compared any more.

An agent that continues from `turn.messages` instead of repeating its steps must give each `ToolCall` an id of its
own, so that a new call is not taken for a stored one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.core.draft import args_value, replace_surrogates
from antiphon.core.parts import Part, PartMetadata, Reasoning, Role, Text, ToolCall, ToolResult, Whole
from antiphon.ports import Message
from antiphon.wire.codec import encode

Segment = tuple[type, Any]
"""The text of neighbouring parts of one type, or a part that is compared as a whole."""


class StoredCall:
    """A call with its result. `message` is the index of its message among the stored ones."""

    __slots__ = ("call", "is_matched", "key", "message", "result")

    def __init__(self, call: ToolCall, result: ToolResult, message: int) -> None:
        self.call = call
        self.key = _key(call.tool_name, call.args)
        self.result = result
        self.message = message
        self.is_matched = False

    def has_id(self, call_id: str) -> bool:
        """Whether the agent may have given it this id, which is stored as `id#2` if the chat had it already."""
        stored = self.call.tool_call_id
        return stored == call_id or (stored.startswith(f"{call_id}#") and stored[len(call_id) + 1 :].isdecimal())


class Replay:
    """The stored steps of one turn, as far as the agent has not repeated them."""

    def __init__(self, messages: Sequence[Message], turn_id: int) -> None:
        """`messages` are those of the history, `turn_id` the first one that belongs to the agent's steps."""
        turn = [message for message in messages if message.id >= turn_id]
        parts = [part for message in turn for part in message.content]
        results = {part.tool_call_id: part for part in parts if isinstance(part, ToolResult)}
        self._said: list[Message] = [m for m in turn if m.role is Role.ASSISTANT and not m.is_interrupted]
        self._steering: dict[int, tuple[Message, ...]] = _messages_after(turn, self._said)
        self._calls = [
            StoredCall(part, results[part.tool_call_id], number)
            for number, message in enumerate(self._said)
            for part in message.content
            if isinstance(part, ToolCall) and part.tool_call_id in results
        ]
        self._next = 0
        """The index of the stored message whose pieces are compared."""
        self._held: list[Any] = []
        self._segments = self._segments_of(0)
        self._segment, self._offset = 0, 0

    def _segments_of(self, number: int) -> list[Segment]:
        return _segments(self._said[number].content) if number < len(self._said) else []

    # --- pieces

    def admit(self, piece: Any) -> list[Any]:
        """The pieces to write now; none while the agent repeats what is stored."""
        if self._next >= len(self._said):
            return [piece]
        value = Text(piece) if isinstance(piece, str) else piece
        if isinstance(value, PartMetadata) or self._matches(value):
            self._held.append(piece)
            return []
        return [*self.release(), piece]

    def _matches(self, value: Any) -> bool:
        """Whether the piece is what follows in the stored message; then it is passed."""
        if isinstance(value, Text | Reasoning):
            text = value.text if value.text.isascii() else replace_surrogates(value.text)
            if not text:
                return True
            while self._segment < len(self._segments):
                kind, stored = self._segments[self._segment]
                if kind is type(value) and self._offset < len(stored):
                    is_same: bool = stored.startswith(text, self._offset)
                    self._offset += len(text) if is_same else 0
                    return is_same
                if not self._is_segment_passed():
                    return False
                self._segment, self._offset = self._segment + 1, 0
            return False
        if isinstance(value, Whole):
            if self._segment < len(self._segments) and self._offset and self._is_segment_passed():
                self._segment, self._offset = self._segment + 1, 0
            if self._segment < len(self._segments) and self._segments[self._segment] == _whole(value):
                self._segment += 1
                return True
        return False

    def _is_segment_passed(self) -> bool:
        kind, stored = self._segments[self._segment]
        return kind in (Text, Reasoning) and self._offset == len(stored)

    def release(self) -> list[Any]:
        """The pieces that were held back: the agent does something else than before, or has returned. From now on
        everything is written."""
        self._next = len(self._said)
        held, self._held = self._held, []
        return held

    def _pass_message(self, number: int) -> None:
        """The stored message with this index is repeated: what follows it is compared next."""
        self._held = []
        self._next = max(self._next, number + 1)
        self._segments, self._segment, self._offset = self._segments_of(self._next), 0, 0

    # --- calls and steering

    def match_calls(self, calls: Sequence[tuple[str, str, Any]]) -> tuple[ToolResult, ...] | None:
        """The stored results of calls, each an id (or ""), a name and arguments; None unless all are stored."""
        found: list[StoredCall] = []
        for call_id, name, args in calls:
            key = _key(name, args)
            stored = next((one for one in self._calls if one not in found and _is_same(one, call_id, key)), None)
            if stored is None:
                return None
            found.append(stored)
        for one in found:
            one.is_matched = True
        self._pass_message(max(one.message for one in found))
        return tuple(one.result for one in found)

    def match_steering(self) -> tuple[Message, ...] | None:
        """The steering messages that joined the turn at this step before; None if it is a new step."""
        if self._next >= len(self._said):
            return None
        message = self._said[self._next]
        if any(isinstance(part, ToolCall) for part in message.content) or message.id not in self._steering:
            return None
        self._pass_message(self._next)
        return self._steering[message.id]


def _is_same(stored: StoredCall, call_id: str, key: tuple[str, bytes]) -> bool:
    return not stored.is_matched and stored.key == key and (not call_id or stored.has_id(call_id))


def _messages_after(turn: Sequence[Message], said: Sequence[Message]) -> dict[int, tuple[Message, ...]]:
    """The user messages that directly follow each message of the agent."""
    after: dict[int, tuple[Message, ...]] = {}
    ids = {message.id for message in said}
    last = 0
    for message in turn:
        if message.role is Role.USER and last:
            after[last] = (*after.get(last, ()), message)
        else:
            last = message.id if message.id in ids else 0
    return after


def _segments(content: Sequence[Part]) -> list[Segment]:
    segments: list[Segment] = []
    for part in content:
        if isinstance(part, Text | Reasoning):
            if segments and segments[-1][0] is type(part):
                segments[-1] = (type(part), segments[-1][1] + part.text)
            else:
                segments.append((type(part), part.text))
        elif isinstance(part, Whole):
            segments.append(_whole(part))
    return segments


def _whole(part: Whole) -> Segment:
    """A part that is compared as a whole, without the metadata that may follow it."""
    return type(part), encode(replace(part, provider_metadata=None))


def _key(name: str, args: Any) -> tuple[str, bytes]:
    """What equal calls have in common: the name, and the arguments as they are stored, whatever the order of their
    keys."""
    return name, msgspec.json.encode(args_value(encode(args).decode()), order="sorted")
