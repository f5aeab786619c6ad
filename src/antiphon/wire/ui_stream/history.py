"""The stored messages of a chat as messages of the AI SDK, for a page that is loaded again.

The answer of a turn is one message, as in the stream: it has the same id and the same parts. That of the turn in
progress is left out, because the resume route gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Needs
from antiphon.core.parts import Part, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.wire.codec import decode_content
from antiphon.wire.turn_output import PartKey
from antiphon.wire.ui_stream.chunks import NOT_FINISHED, OF_CLIENTS, part_id
from antiphon.wire.ui_stream.ids import MessageId, user_message_id
from antiphon.wire.ui_stream.parts import error_text, usage_json, user_parts_json, whole_chunk

Json = dict[str, Any]


def ui_messages(
    chat_id: str, entries: Iterable[Entry], *, running_turn_id: int, restarts: Mapping[int, int]
) -> list[Json]:
    """The messages, oldest first.

    Args:
        chat_id: The chat.
        entries: Its visible `message_appended` facts with their content. What belongs to a turn that began before
            the first one is left out.
        running_turn_id: The turn in progress; 0: there is none.
        restarts: The facts that restarted turns last, by turn.
    """
    reader = _Reader(chat_id, restarts)
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, MessageAppended):
            reader.add(entry, fact, is_running=fact.turn_id == running_turn_id)
            reader.draft = entry.draft
    return reader.messages


class _Reader:
    def __init__(self, chat_id: str, restarts: Mapping[int, int]) -> None:
        self.messages: list[Json] = []
        self.draft = 0
        """The draft that was open after the message before."""
        self._chat_id = chat_id
        self._restarts = restarts
        self._turn_id = 0
        self._answer: Json | None = None
        self._calls: dict[str, Json] = {}
        """The parts of the tool calls of the answer."""

    def add(self, entry: Entry, fact: MessageAppended, *, is_running: bool) -> None:
        if entry.content is None:
            return  # hidden by a truncation
        content = decode_content(entry.content)
        if entry.seq == fact.turn_id:
            self._turn_id, self._answer = fact.turn_id, None
            self._calls.clear()
            name = fact.client_message_id or user_message_id(self._chat_id, entry.seq)
            self.messages.append({"id": name, "role": "user", "parts": user_parts_json(content, name)})
        elif fact.turn_id != self._turn_id or is_running:
            return
        elif fact.role is Role.USER:
            name = user_message_id(self._chat_id, entry.seq)
            shown = {"role": "user", "parts": user_parts_json(content, name)}
            self._parts().append({"type": "data-message", "id": name, "data": shown})
        elif fact.role is Role.ASSISTANT:
            self._model_call(fact.closes.draft if fact.closes is not None else self.draft, fact, content)
        else:
            for part in content:
                if isinstance(part, ToolResult):
                    self._result(part)

    def _parts(self) -> list[Json]:
        """The parts of the answer of the turn, which is begun where there is none yet."""
        if self._answer is None:
            turn_id = self._turn_id
            name = MessageId(self._chat_id, turn_id, self._restarts.get(turn_id, turn_id))
            metadata = {"chatId": self._chat_id, "turnId": turn_id}
            self._answer = {"id": str(name), "role": "assistant", "metadata": metadata, "parts": []}
            self.messages.append(self._answer)
        parts: list[Json] = self._answer["parts"]
        return parts

    def _model_call(self, draft: int, fact: MessageAppended, content: Sequence[Part]) -> None:
        parts = self._parts()
        if content or fact.dropped:
            parts.append({"type": "step-start"})
        needs = {call.tool_call_id: call.needs for call in fact.calls}
        number = 0
        for part in content:
            if isinstance(part, Text | Reasoning):
                if part.text:
                    kind = "text" if isinstance(part, Text) else "reasoning"
                    parts.append({"type": kind, "text": part.text, "state": "done"})
                    number += 1
            elif isinstance(part, ToolCall):
                shown = _call(part.tool_call_id, part.tool_name, part.args)
                if needs.get(part.tool_call_id, Needs.SERVER) not in OF_CLIENTS:
                    shown["providerExecuted"] = True
                self._calls[part.tool_call_id] = shown
                parts.append(shown)
            elif not isinstance(part, ToolResult):
                parts.append(whole_chunk(part, part_id(PartKey(draft, number))))
                number += 1
        for dropped in fact.dropped:
            shown = _call(dropped.tool_call_id, dropped.tool_name, None)
            parts.append(shown | {"state": "output-error", "errorText": NOT_FINISHED})
        assert self._answer is not None
        if usage := usage_json(fact.usage):
            self._answer["metadata"]["usage"] = usage

    def _result(self, result: ToolResult) -> None:
        shown = self._calls.get(result.tool_call_id)
        if shown is None:
            return
        if result.is_error:
            shown |= {"state": "output-error", "errorText": error_text(result.result)}
        else:
            shown |= {"state": "output-available", "output": result.result}


def _call(call_id: str, name: str, args: Any) -> Json:
    return {"type": f"tool-{name}", "toolCallId": call_id, "state": "input-available", "input": args}
