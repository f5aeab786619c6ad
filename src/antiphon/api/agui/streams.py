"""The stream of a run: what the client must know first, then the events of the turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from starlette.responses import Response

from antiphon.api.agui.runs import Run
from antiphon.api.http.sse import HEADERS
from antiphon.api.http.table import Call
from antiphon.api.http.translated import TranslatedStream, Translation
from antiphon.api.named_chats import chats_of
from antiphon.api.turn_targets import CHAT_HEADER, Target, header_of, open_target, restart_of
from antiphon.core.events import Event, FactEvent
from antiphon.core.model import Chat, Status
from antiphon.core.values import Value
from antiphon.wire.agui.calls import AskedCall, waiting_outcome
from antiphon.wire.agui.events import RunEvents
from antiphon.wire.agui.history import has_history, history_messages, merged, snapshots, system_message
from antiphon.wire.agui.ids import client_message_id
from antiphon.wire.agui.run import RunInfo, custom, messages_snapshot, run_error, run_finished, run_started, sse
from antiphon.wire.agui.state import AgentStateView
from antiphon.wire.gotime import format_time_us
from antiphon.wire.turn_output import TurnOutput

IGNORED_HEADER = "antiphon-ignored"
"""The fields, messages and interrupts of the request that have no effect."""
HISTORY_MAX = 1_000
"""Maximum number of messages of a snapshot: the newest ones."""

Json = dict[str, Any]


class Given(Value, gc=True):
    """What the client has and wants. `messages` None: it wants a snapshot of all."""

    thread_id: str
    run_id: str
    messages: Sequence[Json] | None = None
    state: Any = None
    ignored: tuple[str, ...] = ()
    """Fields of the request without an effect."""


class _Start(Value, gc=True):
    """The chat at the fact after which the run begins."""

    info: RunInfo
    opening: list[Json]
    history: list[Json]
    state: AgentStateView
    ignored: tuple[str, ...]


class RunTranslation(Translation):
    """The server-sent events of a run. That of a queued message begins when its turn does."""

    def __init__(self, start: _Start, target: Target, *, restarted_at: int = 0) -> None:
        self._start = start
        self._queued_id = 0 if target.turn_id else target.after
        self._is_deleted = False
        self._events: RunEvents | None = None
        if target.turn_id:
            output = TurnOutput(target.turn_id, target.after, restarted_at=restarted_at)
            self._events = RunEvents(start.info, output, state=start.state, history=start.history)
            start.history.clear()

    @property
    def is_complete(self) -> bool:
        return self._is_deleted or (self._events is not None and self._events.is_complete)

    def begin(self) -> bytes:
        queued = [custom("queued", {"id": self._queued_id})] if self._queued_id else []
        opening = sse([*self._start.opening, *queued])
        self._start.opening.clear()  # it may have a snapshot of many messages
        return opening

    def apply(self, event: Event) -> bytes:
        return self._events.encoded(event) if self._events is not None else self._queued(event)

    def pieces(self, event: Event) -> Iterator[bytes]:
        if self._events is None:
            yield self._queued(event)
            return
        for shown in self._events.apply(event):
            yield sse([shown])

    @property
    def kept_size(self) -> int:
        return self._events.kept_size if self._events is not None else 0

    def _queued(self, event: Event) -> bytes:
        """What becomes of the message that waits."""
        if not isinstance(event, FactEvent) or event.data.get("queued_id") != self._queued_id:
            return b""
        info = self._start.info
        if event.type == "message_appended":
            turn_id = event.data["message"]["turn_id"]
            info = RunInfo(**{name: getattr(info, name) for name in info.__struct_fields__} | {"turn_id": turn_id})
            self._events = RunEvents(info, TurnOutput(turn_id, event.seq), state=AgentStateView(None))
        elif event.type == "queued_message_deleted":
            self._is_deleted = True
            return sse([run_finished(info, {"type": "cancelled"}, cause="deleted")])
        return b""

    def cut_off(self, reason: str) -> bytes:
        text = f"The server closed the stream ({reason}). The run goes on: join it with GET /agui/<threadId>."
        return sse([run_error({"message": text, "code": reason})])


async def stream_run(call: Call, chat_id: str, run: Run, given: Given) -> Response:
    """The answer to a request: the run that it has started or repeats, or the turn in progress."""
    target = run.target
    if target is None:
        return await join(call, chat_id, given, ignored=run.ignored)
    chat = await chats_of(call).get(chat_id)
    restarted_at = 0
    if target.turn_id and not target.is_new:
        restarted_at = await restart_of(call, chat_id, target.turn_id)
    begin = max(target.after, restarted_at)
    start = await _start(call, chat_id, chat, given, begin=begin, target=target, run=run)
    return await _stream(call, start, target, restarted_at=restarted_at)


async def join(call: Call, chat_id: str, given: Given, *, ignored: tuple[str, ...] = ()) -> Response:
    """The chat as it is, and what is being written. A chat that waits for clients or is at rest gives a whole run."""
    chats = chats_of(call)
    chat = await chats.get(chat_id)
    target = Target(chat_id=chat_id, turn_id=chat.turn_id, after=chat.draft)
    start = await _start(call, chat_id, chat, given, begin=chat.draft, target=target, run=Run(ignored=ignored))
    if chat.turn_id and chat.status is not Status.REQUIRES_ACTION:
        return await _stream(call, start, target)
    outcome: Json = {"type": "success"}
    more: Json = {}
    if chat.turn_id and (open_calls := await chats.open_calls(chat_id, chat)):
        asked = [
            AskedCall(tool_call_id=one.tool_call_id, tool_name=one.tool_name, args=one.args, needs=one.needs)
            for one in open_calls
        ]
        outcome, pending = waiting_outcome(asked, format_time_us(open_calls[0].deadline))
        more = {"pendingToolCallIds": pending} if pending else {}
    if chat.last_error is not None:
        error = {"message": chat.last_error.message, "kind": chat.last_error.kind}
        start.opening.append(custom("last_error", error))
    return whole_run([*start.opening, run_finished(start.info, outcome, **more)], _headers(start))


def whole_run(events: Iterable[Json], headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A run that is complete."""
    more = dict(headers) | {name.decode(): value.decode() for name, value in HEADERS}
    return Response(sse(events), headers=more)


def empty_run(given: Given) -> list[Json]:
    """A run of a thread that does not exist."""
    info = RunInfo(chat_id="", thread_id=given.thread_id, run_id=given.run_id)
    return [run_started(info), messages_snapshot([]), run_finished(info, {"type": "success"})]


async def _stream(call: Call, start: _Start, target: Target, *, restarted_at: int = 0) -> TranslatedStream:
    opened, watcher = await open_target(call, target)
    translation = RunTranslation(start, target, restarted_at=restarted_at)
    watcher.hold_text(translation.kept_size)
    return TranslatedStream(opened, watcher, translation, headers=_headers(start))


def _headers(start: _Start) -> list[tuple[str, str]]:
    headers = [(CHAT_HEADER, start.info.chat_id)]
    return [*headers, (IGNORED_HEADER, header_of(start.ignored))] if start.ignored else headers


async def _start(
    call: Call, chat_id: str, chat: Chat, given: Given, *, begin: int, target: Target, run: Run
) -> _Start:
    """What a client that has `given` must know before the events after the fact `begin`."""
    page = await chats_of(call).page(chat_id, before_id=begin + 1, limit=HISTORY_MAX)
    history = history_messages(chat_id, page.messages)
    system = system_message(chat_id, chat.system) if chat.system else None
    has = [message for message in given.messages or () if not _is_fresh(message, run)]
    is_current = given.messages is not None and has_history(history, has, has_more=page.has_more)
    known = has if is_current else merged(history, has, has_more=page.has_more, system=system)
    state = AgentStateView(await _state_at(call, chat_id, chat, begin))
    changes = state.opening(given.state)
    ignored = (*given.ignored, *(("state",) if changes and given.state not in (None, {}) else ()), *run.ignored)
    info = RunInfo(
        chat_id=chat_id,
        thread_id=given.thread_id,
        run_id=given.run_id,
        model=chat.model or call.instance.default_model(),
        turn_id=target.turn_id,
        has=run.fresh if is_current else frozenset(),
    )
    opening = [run_started(info)]
    if ignored:
        opening.append(custom("ignored", list(ignored)))
    if not is_current and (target.turn_id or run.target is None):
        more = page.has_more
        opening += [messages_snapshot(messages, has_more=more) for messages in snapshots(known, has)]
    return _Start(info=info, opening=[*opening, *changes], history=known, state=state, ignored=ignored)


def _is_fresh(message: Json, run: Run) -> bool:
    """Whether the chat has a message of the request only after the beginning of the answer."""
    if message.get("role") == "user":
        return client_message_id(message["id"]) in run.fresh
    return message.get("role") == "tool" and message.get("toolCallId") in run.fresh


async def _state_at(call: Call, chat_id: str, chat: Chat, seq: int) -> bytes | None:
    """The agent's state as of a fact; None: it is not stored any more. `chat` may be newer."""
    change: Any = await call.instance.store.oldest_entry(chat_id, "state_changed", after_seq=seq)
    state_seq = chat.state_seq if change is None else change.fact.before
    if not state_seq:
        return b"{}"
    return (await call.instance.store.read_contents(chat_id, [state_seq])).get(state_seq)
