"""A turn as the chunks of a response stream (§6), and as questions to the caller (§7).

The callers concatenate the texts of the `response` chunks, so text cannot be taken back: an answer that is begun
again goes on where it agrees with what was sent, and ends with an error where it does not. Reasoning and the calls of
tools are chunks of types of this server's own (`reasoning`, `tool_call`, `tool_result`), which other callers ignore
(§6.6). The chunks have no numbers; the ids of questions come from their places.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from antiphon.core.events import CaughtUp, Event, FactEvent
from antiphon.core.model import Needs, Status
from antiphon.core.parts import Data, File, Part, Reasoning, Source, Text
from antiphon.core.values import Value
from antiphon.wire.codec import encode
from antiphon.wire.nats_agent.errors import (
    BLOCKED,
    DELETED,
    INTERRUPTED,
    REPLACED,
    RESTARTED,
    ServiceError,
    turn_error,
)
from antiphon.wire.openai.parts import words_for
from antiphon.wire.queued_message import Delivered, Removed, queue_outcome
from antiphon.wire.sent_text import BETWEEN, SentText
from antiphon.wire.stream import OpenCall
from antiphon.wire.turn_output import (
    ActionNeeded,
    CallDone,
    CallMade,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartText,
    TurnEnd,
    TurnOutput,
    WholePart,
)

ACK = b'{"type":"status","data":"ack"}'
WRAPPER_BYTES = 64
"""Maximum size of a chunk around its text, in bytes."""
QUESTION_CHARACTERS_MAX = 8_000
"""Maximum length of a question, in characters; longer arguments of a tool are cut."""

Json = dict[str, Any]


class Question(Value, gc=True):
    """The turn waits for what `tool_call_id` needs. `id` is the same at every repeat."""

    id: str
    tool_call_id: str


class Settled(Value):
    """The call has its answer, from this caller or over another API."""

    tool_call_id: str


Chunk = bytes | Question | Settled
"""What to do next: publish a payload, ask the caller, or stop asking."""


class AnswerChunks:
    """Translates the events of a chat into the chunks of one answer. `is_complete` is set at its end, with `error`
    where it has none."""

    def __init__(
        self, chat_id: str, *, turn_id: int, after: int, restarted_at: int = 0, bytes_max: int = 1 << 20
    ) -> None:
        """`turn_id` 0: the message `after` waits in the queue. `bytes_max` is the maximum size of a payload."""
        self._chat_id = chat_id
        self.after = after
        self._bytes_max = bytes_max
        self._output = TurnOutput(turn_id, after, restarted_at=restarted_at) if turn_id else None
        self._sent = SentText()
        self._has_caught_up = False
        self._chat_status = ""
        self._kind: type[Text] | type[Reasoning] = Text
        self.is_complete = False
        self.error: ServiceError | None = None

    def apply(self, event: Event) -> list[Chunk]:
        """The chunks of an event; none after the end."""
        if self.is_complete:
            return []
        if self._output is None:
            self._note_queue(event)
            return []
        chunks: list[Chunk] = []
        if isinstance(event, FactEvent) and event.type == "action_resolved":
            chunks.append(Settled(tool_call_id=event.data["tool_call_id"]))
        for output in self._output.apply(event):
            if not self.is_complete:
                chunks += self._render(output)
        if self._output.is_complete and not self.is_complete:
            self._end(REPLACED)  # a later turn has begun
        return chunks

    def _note_queue(self, event: Event) -> None:
        """What becomes of a message that waits. Behind a failed turn it waits for a person; facts that are read from
        the store may be older than the message."""
        if isinstance(event, CaughtUp):
            self._has_caught_up = True
        elif isinstance(event, FactEvent):
            self._chat_status = event.status
        match queue_outcome(event, self.after):
            case Delivered(turn_id, seq):
                self._output = TurnOutput(turn_id, seq)
            case Removed():
                self._end(DELETED)
            case None if self._has_caught_up and self._chat_status == Status.ERROR:
                self._end(BLOCKED)

    def _end(self, error: ServiceError | None) -> None:
        self.is_complete, self.error = True, error

    def _render(self, output: Output) -> Iterator[Chunk]:
        match output:
            case PartText(text=text) if self._kind is Text:
                yield from self._text(text)
            case PartText(text=text):
                yield from pieces_of("reasoning", text, self._bytes_max)
            case PartBegun(kind=kind):
                if kind is Text and self._sent.pieces:
                    yield from self._text(BETWEEN)
                self._kind = kind
            case PartDone(is_abandoned=True):
                self._sent.abandon()
            case WholePart(part=part):
                yield from self._whole(part)
            case CallMade(call=call):
                yield self._chunk("tool_call", {"id": call.tool_call_id, "name": call.tool_name}, "args", call.args)
            case CallDone(result=result):
                yield Settled(tool_call_id=result.tool_call_id)
                shown: Json = {"id": result.tool_call_id, "name": result.tool_name, "is_error": result.is_error}
                yield self._chunk("tool_result", shown, "result", result.result)
            case MessageDone():
                if not self._sent.commit():
                    self._end(RESTARTED)
            case ActionNeeded(place=place, calls=calls):
                for call_id in (asked["tool_call_id"] for asked in calls):
                    name = f"{self._chat_id}/{place.seq}/{call_id}"
                    yield Question(id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)), tool_call_id=call_id)
            case TurnEnd(outcome=outcome, error=error):
                failures = {"failed": turn_error(error), "interrupted": INTERRUPTED, "replaced": REPLACED}
                self._end(failures.get(outcome))

    def _text(self, text: str) -> Iterator[bytes]:
        rest = self._sent.add(text)
        if rest is None:
            self._end(RESTARTED)
        elif rest:
            yield from pieces_of("response", rest, self._bytes_max)

    def _whole(self, part: Part) -> Iterator[bytes]:
        """A file is an attachment where it fits; any other part is text, so that nothing is left out silently."""
        if isinstance(part, File) and part.data:
            attached = {"filename": part.name or "file", "content": part.data}
            payload = _payload("response", {"text": "", "attachments": [attached]})
            if len(payload) <= self._bytes_max:
                yield payload
                return
        if self._sent.pieces and not isinstance(part, Data):
            yield from self._text(BETWEEN)
        if isinstance(part, Source):
            yield from self._text(f"[{part.title or 'source'}]({part.url or part.source_id})")
        else:
            yield from self._text(words_for(part))

    def _chunk(self, kind: str, shown: Json, name: str, value: Any) -> bytes:
        """A chunk with a value of any size; one that does not fit is replaced by its size."""
        payload = _payload(kind, shown | {name: value})
        if len(payload) > self._bytes_max:
            payload = _payload(kind, shown | {name: {"omitted_bytes": len(payload)}})
        return payload


def pieces_of(kind: str, text: str, bytes_max: int) -> Iterator[bytes]:
    """A text as chunks of at most `bytes_max` each."""
    payload = _payload(kind, text)
    if len(payload) <= bytes_max:
        yield payload
        return
    size = max((bytes_max - WRAPPER_BYTES) // 6, 1)  # a character takes at most 6 bytes: an escape, or UTF-8
    for start in range(0, len(text), size):
        yield _payload(kind, text[start : start + size])


def query(question: Question, call: OpenCall, reply_subject: str, *, bytes_max: int, complaint: str = "") -> bytes:
    """The chunk that asks. `complaint` says what was wrong with the last reply."""
    size = min(QUESTION_CHARACTERS_MAX, max((bytes_max - 400) // 6, 1))
    text = f"{complaint}\n\n{question_text(call)}" if complaint else question_text(call)
    text = text if len(text) <= size else text[: size - 1] + "…"
    shown = {"id": question.id, "reply_subject": reply_subject, "prompt": text}
    return _payload("query", shown | {"tool_call_id": call.tool_call_id[:128], "needs": call.needs.value})


def question_text(call: OpenCall) -> str:
    """What a person is asked. Arguments are JSON."""
    args = encode(call.args).decode()
    if call.needs is Needs.APPROVAL:
        return f"May the tool {call.tool_name} run? Reply yes or no.\n{args}"
    if call.needs is Needs.RESULT:
        return f"Run the tool {call.tool_name}, and reply with its result.\n{args}"
    schema = call.args.get("schema") if isinstance(call.args, dict) else None
    asked = call.question or args
    return asked if schema is None else f"{asked}\nReply with JSON of this schema: {encode(schema).decode()}"


def _payload(kind: str, data: Any) -> bytes:
    return b'{"type":"%b","data":%b}' % (kind.encode(), encode(data))
