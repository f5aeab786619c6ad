"""The draft: the message being written, an append-only stream of deltas.

The length of a draft is its position. It counts the Unicode code points of text; a delta without text counts 1.
A delta `{draft, from, to, part_index, part}` advances the draft from position `from` to position `to`. Therefore
deltas can be merged and cut at any position.
"""

from __future__ import annotations

from bisect import bisect_right
from io import StringIO
from itertools import pairwise
from typing import Any

import msgspec

from antiphon.core.depth import DEPTH_MAX, has_too_many_values, is_deeper
from antiphon.core.events import Delta
from antiphon.core.facts import CallDropped
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
    Whole,
    delta_length,
)

BEGINNING_MAX = 1_000_000
"""Maximum length of the text from which a model may go on, in code points. A longer answer starts again."""


class Segment:
    """Consecutive deltas of one type and one part. The text is stored once and cut by code points when it is read."""

    __slots__ = ("atom", "kind", "part_index", "start", "text")

    def __init__(self, start: int, part_index: int | None, part: DeltaPart) -> None:
        self.start = start
        self.part_index = part_index
        self.kind = type(part)
        self.atom = None if self.kind in _TEXTUAL else part
        self.text = StringIO() if self.atom is None else None

    def read(self, position: int, end: int | None = None) -> DeltaPart:
        """The piece from `position` to `end`, both counted from the start of the draft."""
        if self.text is None:
            assert self.atom is not None
            return self.atom
        self.text.seek(position - self.start)
        return _TEXTUAL[self.kind](self.text.read(-1 if end is None else end - position))  # type: ignore[no-any-return]

    def write(self, text: str) -> None:
        assert self.text is not None
        self.text.seek(0, 2)
        self.text.write(text)


_PROSE = (Text, Reasoning)
_TEXTUAL: dict[type, Any] = {Text: Text, Reasoning: Reasoning, ToolCallArgs: ToolCallArgs}


class Draft:
    """One draft: `write` and `write_args` append, `read` returns deltas from any position, `content` the parts."""

    __slots__ = ("_calls", "_metadata", "_part_count", "_segments", "_starts", "name", "position")

    def __init__(self, name: int) -> None:
        self.name = name
        self.position = 0
        self._segments: list[Segment] = []
        self._starts: list[int] = []
        self._part_count = 0
        self._calls: dict[str, int] = {}
        self._metadata: dict[int, dict[str, Any]] = {}

    # --- writing

    def annotate(self, metadata: dict[str, Any]) -> None:
        """Add to the `provider_metadata` of the last part. `content` includes it; deltas do not."""
        if self._part_count:
            self._metadata.setdefault(self._part_count - 1, {}).update(metadata)

    def write(self, part: DeltaPart) -> Delta | None:
        """Append a piece that a model or an agent produced, to the part of its type or to a new one.

        `ToolCallArgs` belong to the call opened last; use `write_args` if several calls are open. Returns the delta,
        None if the piece is empty.
        """
        last = self._segments[-1] if self._segments else None
        is_same = last is not None and last.kind is type(part) and last.part_index == self._part_count - 1
        if is_same and last is not None and last.kind in _PROSE:
            return self._continue(last, part)  # the common case
        if isinstance(part, CallStarted | ToolProgress):
            return self._append(part, None)
        if isinstance(part, Whole):
            return self._append(part, self._new_part())
        if isinstance(part, ToolCallOpened):
            self._calls[part.tool_call_id] = self._part_count
            return self._append(part, self._new_part())
        if isinstance(part, ToolCallArgs):
            return self._append(part, self._part_count - 1)
        last = self._last_part()
        if last is not None and last.kind is type(part) and last.part_index == self._part_count - 1:
            return self._append(part, last.part_index)
        return self._append(part, self._new_part()) if delta_length(part) else None

    @property
    def part_count(self) -> int:
        return self._part_count

    def write_args(self, tool_call_id: str, args_delta: str) -> Delta | None:
        return self._append(ToolCallArgs(args_delta), self._calls[tool_call_id])

    def apply(self, delta: Delta) -> bool:
        """Append a received delta, without the part of it that the draft already has. False: there is a gap before
        it, and nothing was appended."""
        if delta.from_ > self.position:
            return False
        if delta.to <= self.position:
            return True
        part = _cut(delta.part, self.position - delta.from_)
        if delta.part_index is not None:
            self._part_count = max(self._part_count, delta.part_index + 1)
            if isinstance(part, ToolCallOpened):
                self._calls[part.tool_call_id] = delta.part_index
        self._append(part, delta.part_index)
        return True

    def _continue(self, last: Segment, part: DeltaPart) -> Delta | None:
        """`_append` for a part that continues the last segment."""
        part = _clean(part)
        text = _text_of(part)
        if not text:
            return None
        last.write(text)
        start, self.position = self.position, self.position + len(text)
        return Delta(draft=self.name, from_=start, to=self.position, part_index=last.part_index, part=part)

    def _new_part(self) -> int:
        self._part_count += 1
        return self._part_count - 1

    def _last_part(self) -> Segment | None:
        return next((segment for segment in reversed(self._segments) if segment.part_index is not None), None)

    def _append(self, part: DeltaPart, part_index: int | None) -> Delta | None:
        part = _clean(part)
        length = delta_length(part)
        if not length:
            return None
        last = self._segments[-1] if self._segments else None
        if last is None or last.text is None or last.part_index != part_index or last.kind is not type(part):
            last = Segment(self.position, part_index, part)
            self._segments.append(last)
            self._starts.append(self.position)
        if last.text is not None:
            last.write(_text_of(part))
        start, self.position = self.position, self.position + length
        return Delta(draft=self.name, from_=start, to=self.position, part_index=part_index, part=part)

    # --- reading

    def read(self, position: int, end: int | None = None) -> list[Delta]:
        """The deltas from `position` to `end` (default: the whole rest). Adjacent deltas of one part are merged."""
        end = self.position if end is None else min(end, self.position)
        if position >= end:
            return []
        first = max(bisect_right(self._starts, position) - 1, 0)
        last = bisect_right(self._starts, end - 1)
        return [self._delta(i, position, end) for i in range(first, last)]

    def _delta(self, i: int, position: int, end: int) -> Delta:
        segment, start = self._segments[i], max(position, self._starts[i])
        to = min(end, self._starts[i + 1] if i + 1 < len(self._starts) else self.position)
        part = segment.read(start, to)
        return Delta(draft=self.name, from_=start, to=to, part_index=segment.part_index, part=part)

    def content(self) -> tuple[Part, ...]:
        """The finished parts. Arguments that are not JSON, or nest too deeply, stay text; such a call fails."""
        by_part: dict[int, list[DeltaPart]] = {}
        for segment in self._segments:
            if segment.part_index is not None:
                by_part.setdefault(segment.part_index, []).append(segment.read(segment.start))
        return tuple(_finished(pieces, self._metadata.get(index)) for index, pieces in sorted(by_part.items()))

    def partial(self) -> tuple[tuple[Part, ...], tuple[CallDropped, ...]]:
        """The parts that an interrupted draft stores (all but tool calls), and the tool calls that it drops."""
        parts = self.content()
        kept = tuple(part for part in parts if not isinstance(part, ToolCall))
        calls = (part for part in parts if isinstance(part, ToolCall))
        return kept, tuple(CallDropped(tool_call_id=c.tool_call_id, tool_name=c.tool_name) for c in calls)

    def beginning(self) -> str:
        """The text with which a model's answer begins, from which a model may go on; empty if the draft has anything
        but one model call and its text: reasoning, tool calls, what an agent wrote itself."""
        if [segment.kind for segment in self._segments] != [CallStarted, Text]:
            return ""
        text = self.text()
        return text if text.strip() and len(text) <= BEGINNING_MAX else ""

    def text(self) -> str:
        """The text of all text parts, concatenated."""
        return "".join(segment.read(segment.start).text for segment in self._segments if segment.kind is Text)  # type: ignore[union-attr]


def draft_of_message(name: int, content: tuple[Part, ...], upto: int) -> Draft | None:
    """Rebuild the draft that a message with this content closed at the position `upto`.

    Possible only for text and reasoning with at most one `CallStarted` before it. None: the draft had other deltas.
    """
    prose = [part for part in content if isinstance(part, Text | Reasoning)]
    if len(prose) < len(content) or any(type(a) is type(b) for a, b in pairwise(prose)):
        return None
    draft = Draft(name)
    if upto > sum(len(part.text) for part in prose):
        draft.write(CallStarted())
    for part in prose:
        draft.write(part)
    return draft if draft.position == upto else None


def _finished(pieces: list[DeltaPart], metadata: dict[str, Any] | None) -> Part:
    first, text = pieces[0], "".join(_text_of(piece) for piece in pieces)
    if isinstance(first, ToolCallOpened):
        return ToolCall(first.tool_call_id, first.tool_name, args_value(text), metadata)
    if isinstance(first, Whole):
        return msgspec.structs.replace(first, provider_metadata=metadata) if metadata else first
    return Reasoning(text, metadata) if isinstance(first, Reasoning) else Text(text, metadata)


def args_value(text: str) -> Any:
    """The value of a tool call's arguments, or their text if it cannot be stored as a value."""
    data = text.encode()
    if has_too_many_values(data):
        return text
    try:
        args = msgspec.json.decode(data) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if is_deeper(data, DEPTH_MAX) else args


def _text_of(part: DeltaPart) -> str:
    if isinstance(part, Text | Reasoning):
        return part.text
    return part.args_delta if isinstance(part, ToolCallArgs) else ""


def _cut(part: DeltaPart, count: int) -> DeltaPart:
    if not count:
        return part
    return _TEXTUAL[type(part)](_text_of(part)[count:])  # type: ignore[no-any-return]


def _clean(part: DeltaPart) -> DeltaPart:
    """The part with U+FFFD for each lone surrogate: UTF-8 has none. This happens before positions are counted."""
    text = _text_of(part)
    if text.isascii():
        return part
    try:
        text.encode()
    except UnicodeEncodeError:
        return _TEXTUAL[type(part)](replace_surrogates(text))  # type: ignore[no-any-return]
    return part


def replace_surrogates(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate; a surrogate pair becomes its character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
