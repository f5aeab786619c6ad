"""A turn as a chat completion: its chunks, and the object itself.

Chat completions have no numbers, and a stream cannot resume. What they cannot show: tools that the server runs (the
answer goes on after them), and an answer that is begun again. The text of the new try is compared with what was sent:
while it agrees, the stream goes on seamlessly; if it does not, the stream ends with an error, because text cannot be
taken back. A call that needs an approval is a call of the function `antiphon_approve`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.core.model import Needs
from antiphon.core.parts import NO_USAGE, Data, Reasoning, Source, Text
from antiphon.wire.codec import encode
from antiphon.wire.openai.parts import annotation_of, approval_id, words_for
from antiphon.wire.openai.response import ResponseInfo
from antiphon.wire.openai.usage import completion_usage
from antiphon.wire.sent_text import BETWEEN, SentText
from antiphon.wire.turn_output import (
    ActionNeeded,
    CallMade,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartText,
    TurnEnd,
    WholePart,
)

APPROVE = "antiphon_approve"
"""The function by whose call a chat completion asks for an approval."""
Json = dict[str, Any]

_FINISH = {"length": "length", "content_filter": "content_filter", "refusal": "content_filter"}


class CompletionStream:
    """Translates the output of a turn into deltas of the one choice."""

    def __init__(self, info: ResponseInfo, *, is_sent: bool = True) -> None:
        """`is_sent`: the client has the chunks; else it gets the object at the end, and a text may be replaced."""
        self.info = info
        self.is_complete = False
        self.error: Json | None = None
        """Why the stream has ended without an answer."""
        self.outcome = ""
        self._finish = "stop"
        self._text = SentText(is_sent=is_sent)
        self._reasoning: list[str] = []
        self._annotations: list[Json] = []
        self._calls: list[Json] = []
        self._usage = NO_USAGE
        self._kind: type[Text] | type[Reasoning] = Text

    # --- the object

    def completion(self) -> Json:
        """The chat completion as it is now."""
        message: Json = {"role": "assistant", "content": "".join(self._text.pieces) or None, "refusal": None}
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._annotations:
            message["annotations"] = self._annotations
        if self._calls:
            message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in self._calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return self._head("chat.completion") | {"choices": [choice], "usage": completion_usage(self._usage)}

    def _head(self, kind: str) -> Json:
        info = self.info
        return {"id": info.id.completion, "object": kind, "created": info.created_at, "model": info.model}

    # --- the chunks

    def begin(self) -> list[Json]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def apply(self, outputs: Iterable[Output]) -> list[Json]:
        """The chunks of some output."""
        chunks: list[Json] = []
        for output in outputs:
            if not self.is_complete:
                chunks += [self._chunk(delta) for delta in self._deltas(output)]
        if self.is_complete and self.error is None:
            chunks.append(self._chunk({}, self._finish))
        return chunks

    def usage_chunk(self) -> Json:
        """The last chunk where the client wants the usage."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": completion_usage(self._usage)}

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _deltas(self, output: Output) -> Iterator[Json]:
        match output:
            case PartBegun(kind=kind):
                if kind is Text and self._text.pieces:
                    yield from self._send(BETWEEN)
                self._kind = kind
            case PartText(text=text):
                if self._kind is Reasoning:
                    self._reasoning.append(text)
                    yield {"reasoning_content": text}
                else:
                    yield from self._send(text)
            case PartDone(is_abandoned=True):
                self._text.abandon()
                self._reasoning.clear()
            case WholePart(part=part):
                yield from self._whole(part)
            case CallMade() if output.needs in (Needs.RESULT, Needs.ANSWER, Needs.APPROVAL):
                yield self._call(output)
            case MessageDone(message=message, usage=usage):
                self._usage = self._usage + usage
                if not self._text.commit():
                    self._fail_restarted()
                self._finish = _FINISH.get(message.get("outcome", ""), "stop")
            case ActionNeeded():
                self._finish, self.is_complete = "tool_calls", True
            case TurnEnd():
                self._end(output)

    def _send(self, text: str) -> Iterator[Json]:
        rest = self._text.add(text)
        if rest is None:
            self._fail_restarted()
        elif rest:
            yield {"content": rest}

    def _fail_restarted(self) -> None:
        message = "The answer was begun again with another text, and what was sent cannot be taken back."
        self.error = {"code": "answer_restarted", "message": message}
        self.is_complete = True

    def _whole(self, part: object) -> Iterator[Json]:
        annotation = annotation_of(part, "".join(self._text.pieces))
        if isinstance(part, Source) and annotation is not None:
            kind = annotation.pop("type")
            shown = {"type": kind, kind: annotation}
            self._annotations.append(shown)
            yield {"annotations": [shown]}
            return
        if self._text.pieces and not isinstance(part, Data):
            yield from self._send(BETWEEN)
        yield from self._send(words_for(part))

    def _call(self, output: CallMade) -> Json:
        call = output.call
        name, call_id, args = call.tool_name, call.tool_call_id, call.args
        if output.needs is Needs.APPROVAL:
            args = {"tool_call_id": call_id, "tool_name": name, "args": args}
            name, call_id = APPROVE, approval_id(self.info.id.chat_id, call_id)
        function = {"name": name, "arguments": encode(args).decode()}
        shown: Json = {"index": len(self._calls), "id": call_id, "type": "function", "function": function}
        self._calls.append(shown)
        return {"tool_calls": [shown]}

    def _end(self, output: TurnEnd) -> None:
        self.outcome, self.is_complete = output.outcome, True
        if output.usage != NO_USAGE and self.info.id.after == self.info.id.turn_id:
            self._usage = output.usage
        if output.outcome == "failed":
            error = output.error or {}
            self.error = {"code": error.get("kind") or "server_error", "message": error.get("message", "")}
