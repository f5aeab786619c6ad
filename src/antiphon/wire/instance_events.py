"""From facts and deltas to events of the instance protocol: `llm.*`, `tool.*` and `message.append` of one session.

Pure: a `SessionTranslator` receives every fact and every delta of one chat in order and returns the events to
publish. Each `llm.start` gets one `llm.end`, each `tool.start` one `tool.end`.
"""

from __future__ import annotations

from antiphon.core import facts as f
from antiphon.core.events import Delta
from antiphon.core.parts import NO_USAGE, CallStarted, Part, Role, Text, ToolCall, ToolResult, Usage
from antiphon.core.values import Value
from antiphon.wire import instance as i
from antiphon.wire.codec import decode_content, encode

TopicEvent = tuple[str, Value]
"""A topic and its payload."""

ENDS_CALL = (f.AttemptLost, f.AttemptReleased, f.RetryScheduled, f.TurnEnded, f.ChatDeleted)


class SessionTranslator:
    """Tracks the open model call and the running tools of one session, so that each start event gets its end
    event."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._is_calling = False
        self._reported_usage = NO_USAGE
        self._started: dict[str, str] = {}
        self._waiting: dict[str, ToolCall] = {}

    # --- deltas

    def translate_delta(self, delta: Delta) -> list[TopicEvent]:
        part = delta.part
        if isinstance(part, CallStarted):
            return [*self._end_call(NO_USAGE, None), *self._start_call(delta)]
        is_text = isinstance(part, Text)
        payload = i.LLMTokenPayload(
            session_id=self._session_id,
            token=part.text if isinstance(part, Text) else "",
            part=None if is_text else part,
            part_index=delta.part_index,
            draft=delta.draft,
            from_=delta.from_,
            to=delta.to,
        )
        return [(i.TOPIC_LLM_TOKEN, payload)]

    def _start_call(self, delta: Delta) -> list[TopicEvent]:
        self._is_calling = True
        payload = i.LLMStartPayload(session_id=self._session_id, draft=delta.draft, from_=delta.from_, to=delta.to)
        return [(i.TOPIC_LLM_START, payload)]

    def _end_call(self, usage: Usage, seq: int | None) -> list[TopicEvent]:
        if not self._is_calling:
            return []
        self._is_calling = False
        payload = i.LLMEndPayload(
            session_id=self._session_id,
            tokens_in=usage.input_tokens or 0,
            tokens_out=usage.output_tokens or 0,
            seq=seq,
        )
        return [(i.TOPIC_LLM_END, payload)]

    # --- facts

    def translate_fact(self, entry: f.Entry) -> list[TopicEvent]:
        fact, seq = entry.fact, entry.seq
        events: list[TopicEvent] = []
        if isinstance(fact, f.MessageAppended):
            events += self._translate_message(entry, fact)
        elif isinstance(fact, f.ActionResolved):
            events += self._translate_resolved(fact, seq)
        elif isinstance(fact, ENDS_CALL):
            events += self._end_call(self._used(fact), seq)
        if isinstance(fact, f.TurnEnded | f.ChatDeleted):
            self._reported_usage = NO_USAGE
        return events

    def _used(self, fact: f.Fact) -> Usage:
        """The usage of the model call that this fact ends, if the fact records it."""
        if isinstance(fact, f.RetryScheduled | f.AttemptReleased):
            self._reported_usage = self._reported_usage + fact.usage
            return fact.usage
        if isinstance(fact, f.TurnEnded):
            return _difference(fact.usage, self._reported_usage)
        return NO_USAGE

    def _translate_hidden(self, fact: f.MessageAppended, seq: int) -> list[TopicEvent]:
        """Translate a message that was truncated before it was published: only the end events of its call or tool."""
        if fact.role is Role.ASSISTANT:
            self._reported_usage = self._reported_usage + fact.usage
            return self._end_call(fact.usage, seq)
        self._waiting.pop(fact.resolves, None)
        tool_name = self._started.pop(fact.resolves, None)
        if tool_name is None:
            return []
        payload = i.ToolEndPayload(
            session_id=self._session_id,
            tool_name=tool_name,
            call_id=fact.resolves,
            is_error=False,
            result="",
            seq=seq,
        )
        return [(i.TOPIC_TOOL_END, payload)]

    def _translate_message(self, entry: f.Entry, fact: f.MessageAppended) -> list[TopicEvent]:
        if entry.hidden_by:
            return self._translate_hidden(fact, entry.seq)
        parts = decode_content(entry.content or b"[]")
        if fact.role is Role.TOOL:
            return [
                event for part in parts if isinstance(part, ToolResult) for event in self._end_tool(part, entry.seq)
            ]
        events: list[TopicEvent] = []
        if fact.role is Role.ASSISTANT:
            self._reported_usage = self._reported_usage + fact.usage
            events += self._end_call(fact.usage, entry.seq)
        payload = i.MessageAppendPayload(
            session_id=self._session_id,
            message_id=str(entry.seq),
            role=fact.role.value,
            content=text_content(parts),
            seq=entry.seq,
            draft=fact.closes.draft if fact.closes else None,
            to=fact.closes.upto if fact.closes else None,
        )
        events.append((i.TOPIC_MESSAGE_APPEND, payload))
        calls = {part.tool_call_id: part for part in parts if isinstance(part, ToolCall)}
        for opened in fact.calls:
            call = calls.get(opened.tool_call_id)
            if call is not None and opened.needs.is_run_here:
                events += self._start_tool(call, entry.seq)
            elif call is not None:
                self._waiting[call.tool_call_id] = call
        return events

    def _translate_resolved(self, fact: f.ActionResolved, seq: int) -> list[TopicEvent]:
        call = self._waiting.get(fact.tool_call_id)
        return self._start_tool(call, seq) if call is not None and fact.outcome == "approved" else []

    def _start_tool(self, call: ToolCall, seq: int) -> list[TopicEvent]:
        self._waiting.pop(call.tool_call_id, None)
        self._started[call.tool_call_id] = call.tool_name
        payload = i.ToolStartPayload(
            session_id=self._session_id,
            tool_name=call.tool_name,
            call_id=call.tool_call_id,
            params=encode(call.args).decode(),
            seq=seq,
        )
        return [(i.TOPIC_TOOL_START, payload)]

    def _end_tool(self, part: ToolResult, seq: int) -> list[TopicEvent]:
        waiting = self._waiting.get(part.tool_call_id)
        events = self._start_tool(waiting, seq) if waiting is not None else []
        self._started.pop(part.tool_call_id, None)
        payload = i.ToolEndPayload(
            session_id=self._session_id,
            tool_name=part.tool_name,
            call_id=part.tool_call_id,
            is_error=bool(part.is_error),
            result=summary_of(part.result),
            seq=seq,
        )
        return [*events, (i.TOPIC_TOOL_END, payload)]


def _difference(whole: Usage, reported: Usage) -> Usage:
    return Usage(
        input_tokens=max((whole.input_tokens or 0) - (reported.input_tokens or 0), 0),
        output_tokens=max((whole.output_tokens or 0) - (reported.output_tokens or 0), 0),
    )


def text_content(parts: tuple[Part, ...]) -> str:
    """A message as text: its text parts, joined by newlines."""
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def summary_of(result: object) -> str:
    """A tool's result in at most TOOL_RESULT_CHARACTERS_MAX characters."""
    text = result if isinstance(result, str) else encode(result).decode()
    limit = i.TOOL_RESULT_CHARACTERS_MAX
    return text if len(text) <= limit else text[: limit - 1] + "…"
