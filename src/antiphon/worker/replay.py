"""What an earlier run of the same turn has stored, for an agent function that runs again.

How it works
------------
A function agent runs from its start in every attempt: after a crash, after a failure that is retried, and after a
person has approved a call or answered a question. The messages of the turn have what `turn.call` and `turn.ask`
stored, so that the second run has the effects of the first one, but does not repeat them:

1. A call is looked up among the stored ones: by its id if the agent gave it one, else the n-th call of a tool with
   the same arguments is the n-th stored one. Its stored result is returned, and nothing runs.
2. Text that was stored with a call is not written a second time. While the agent yields the same words as before,
   they are held back. At the stored call they are dropped; where the agent says something else, they are written,
   and from then on everything is.

An agent that reads `turn.messages` and continues from there is not affected: its words and calls are others.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core.parts import Part, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.ports import Message
from antiphon.wire.codec import encode

_MARKS: dict[type, str] = {Text: "\x00t", Reasoning: "\x00r"}
"""Stand between texts of different kinds in the words that are compared."""


class Replay:
    """The stored calls and texts of one turn, as far as the present run has not come to them."""

    def __init__(self, messages: Sequence[Message], turn_id: int) -> None:
        turn = [message for message in messages if message.id >= turn_id]
        parts = [part for message in turn for part in message.content]
        results = {part.tool_call_id: part for part in parts if isinstance(part, ToolResult)}
        self._by_id: dict[str, ToolResult] = results
        self._by_args: dict[tuple[str, bytes], deque[ToolResult]] = defaultdict(deque)
        self._words: deque[str] = deque()
        for message in turn:
            calls = [part for part in message.content if isinstance(part, ToolCall)]
            if message.role is Role.ASSISTANT and calls:
                self._words.append(_words_of(message.content))
                for call in calls:
                    if call.tool_call_id in results:
                        self._by_args[_key(call.tool_name, call.args)].append(results[call.tool_call_id])
        self._held: list[Any] = []
        self._held_words = ""
        self._last_kind: type | None = None

    def admit(self, piece: Any) -> list[Any]:
        """The pieces to write now; none while the agent repeats what is stored."""
        if not self._words:
            return [piece]
        value = Text(piece) if isinstance(piece, str) else piece
        if isinstance(value, Text | Reasoning):
            mark = _MARKS[type(value)] if type(value) is not self._last_kind else ""
            words = self._held_words + mark + value.text
            if self._words[0].startswith(words):
                self._held.append(piece)
                self._held_words, self._last_kind = words, type(value)
                return []
        return [*self.release(), piece]

    def release(self) -> list[Any]:
        """The pieces that were held back: the agent does something else than before, or has ended."""
        self._words.clear()
        held, self._held = self._held, []
        return held

    def take_results(self, calls: Sequence[tuple[str, str, Any]]) -> tuple[ToolResult, ...] | None:
        """The stored results of calls, each an id (or ""), a name and arguments; None unless all are stored."""
        found = []
        used: Counter[tuple[str, bytes]] = Counter()
        for call_id, name, args in calls:
            key = _key(name, args)
            if call_id:
                stored = self._by_id.get(call_id)
            else:
                same = self._by_args.get(key, ())
                stored = same[used[key]] if used[key] < len(same) else None
                used[key] += 1
            if stored is None:
                return None
            found.append(stored)
        for key, count in used.items():
            for _ in range(count):
                self._by_args[key].popleft()
        if self._words:
            self._words.popleft()
        self._held, self._held_words, self._last_kind = [], "", None
        return tuple(found)


def _words_of(content: Sequence[Part]) -> str:
    return "".join(_MARKS[type(part)] + part.text for part in content if isinstance(part, Text | Reasoning))


def _key(name: str, args: Any) -> tuple[str, bytes]:
    """What two equal calls have in common: the arguments as they are stored, whatever the order of their keys."""
    return name, msgspec.json.encode(msgspec.json.decode(encode(args)), order="sorted")
