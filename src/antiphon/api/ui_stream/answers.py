"""The stream of an answer: opens the watcher of a turn, or of a message that waits in the queue."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.api.http.table import Call
from antiphon.api.http.translated import TranslatedStream, Translation
from antiphon.api.named_chats import chats_of
from antiphon.api.turn_targets import CHAT_HEADER, Target, header_of, open_target, restart_of
from antiphon.core.events import Event, FactEvent
from antiphon.core.model import Status
from antiphon.wire.turn_output import TurnOutput
from antiphon.wire.ui_stream.chunks import AnswerInfo, Chunk, UiChunks, sse
from antiphon.wire.ui_stream.ids import MessageId

STREAM_HEADER = "x-vercel-ai-ui-message-stream"
IGNORED_HEADER = "antiphon-ignored-messages"
"""The ids of messages of the request that the chat does not have and that were not used."""
DONE = b"data: [DONE]\n\n"


class UiTranslation(Translation):
    """The server-sent events of an answer. That of a queued message begins when its turn does."""

    def __init__(self, target: Target, model: str, *, restarted_at: int = 0, waited_until: int = 0) -> None:
        self._target = target
        self._model = model
        self._waited_until = waited_until
        self._is_deleted = False
        self._chunks = self._open(target.turn_id, target.after, restarted_at) if target.turn_id else None

    def _open(self, turn_id: int, after: int, restarted_at: int = 0) -> UiChunks:
        message_id = MessageId(self._target.chat_id, turn_id, restarted_at or turn_id)
        output = TurnOutput(turn_id, after, restarted_at=restarted_at)
        info = AnswerInfo(id=message_id, model=self._model, waited_until=self._waited_until)
        return UiChunks(info, output)

    @property
    def is_complete(self) -> bool:
        return self._is_deleted or (self._chunks is not None and self._chunks.is_complete)

    def begin(self) -> bytes:
        if self._chunks is not None:
            return sse(self._chunks.begin())
        return sse([{"type": "data-queued", "data": {"id": self._target.after}, "transient": True}])

    def apply(self, event: Event) -> bytes:
        data = sse(self._queued(event)) if self._chunks is None else self._chunks.encoded(event)
        return data + DONE if self.is_complete else data

    def pieces(self, event: Event) -> Iterator[bytes]:
        for chunk in self._queued(event) if self._chunks is None else self._chunks.apply(event):
            yield sse([chunk])
        if self.is_complete:
            yield DONE

    def _queued(self, event: Event) -> list[Chunk]:
        """What becomes of the message that waits."""
        if not isinstance(event, FactEvent) or event.data.get("queued_id") != self._target.after:
            return []
        if event.type == "message_appended":
            self._chunks = self._open(event.data["message"]["turn_id"], event.seq)
            return self._chunks.begin()
        if event.type == "queued_message_deleted":
            self._is_deleted = True
            return [{"type": "abort", "reason": "deleted"}]
        return []

    def cut_off(self, reason: str) -> bytes:
        text = f"The server closed the stream ({reason}). The answer goes on; read it with resumeStream()."
        return sse([{"type": "error", "errorText": text}])


async def stream_answer(call: Call, target: Target) -> TranslatedStream:
    """Open it now, so that a refusal is still an ordinary answer.

    Raises:
        NotFound: The owner has no such chat.
        TooMany: The maximum number of watchers is reached.
    """
    chat = await chats_of(call).get(target.chat_id)
    model = chat.model or call.instance.default_model()
    translation = UiTranslation(target, model)
    if target.turn_id and not target.is_new:
        restarted_at = await restart_of(call, target.chat_id, target.turn_id)
        waited_until = await _waited_until(call, target)
        translation = UiTranslation(target, model, restarted_at=restarted_at, waited_until=waited_until)
    opened, watcher = await open_target(call, target)
    headers = {STREAM_HEADER: "v1", CHAT_HEADER: target.chat_id}
    if target.ignored:
        headers[IGNORED_HEADER] = header_of(target.ignored)
    return TranslatedStream(opened, watcher, translation, headers=headers.items())


async def _waited_until(call: Call, target: Target) -> int:
    """The fact up to which the turn's waits for clients are completed."""
    chats = chats_of(call)
    action = await chats.newest_action(target.chat_id, target.turn_id)
    chat = await chats.get(target.chat_id)  # after the action: one that is newer than it must not be passed over
    is_waiting = chat.status is Status.REQUIRES_ACTION and chat.turn_id == target.turn_id
    return action - 1 if is_waiting else action
