"""The events of an AG-UI run depend on positions only: any cut gives the same messages, calls, states and ids."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import pytest
from ag_ui.core import Event as AguiEvent
from jsonpatch import JsonPatch
from pydantic import TypeAdapter

from antiphon.core.events import Event, Notice
from antiphon.core.facts import Entry, MessageAppended, StateChanged
from antiphon.core.parts import Role
from antiphon.wire.agui.events import RunEvents
from antiphon.wire.agui.history import history_messages
from antiphon.wire.agui.kept_messages import BYTES_MAX
from antiphon.wire.agui.messages import NOT_FINISHED
from antiphon.wire.agui.run import RunInfo, run_started, sse
from antiphon.wire.agui.state import AgentStateView
from antiphon.wire.turn_output import TurnOutput

from .protocols import CHAT_ID, Recording, cut, recordings, stored, whole

EVENT: TypeAdapter[Any] = TypeAdapter(AguiEvent)
Json = dict[str, Any]


def until(recording: Recording, seq: int) -> list[Entry]:
    return [entry for entry in recording.entries if entry.seq <= seq]


def state_at(entries: Iterable[Entry]) -> bytes:
    return next((e.fact.content for e in reversed(list(entries)) if isinstance(e.fact, StateChanged)), b"{}")


def stream_of(recording: Recording, after: int = 0, *, history: list[Json] | None = None) -> RunEvents:
    after = after or recording.turn_id
    entries = until(recording, after)
    info = RunInfo(chat_id=CHAT_ID, thread_id="t", run_id="r", model="m", turn_id=recording.turn_id)
    state = AgentStateView(state_at(entries))
    before = history_messages(CHAT_ID, entries) if history is None else history
    return RunEvents(info, TurnOutput(recording.turn_id, after), state=state, history=before)


def decoded(data: bytes) -> list[Json]:
    return [msgspec.json.decode(line[6:]) for line in data.split(b"\n\n") if line]


def run_of(recording: Recording, events: list[Event], after: int = 0, **options: Any) -> list[Json]:
    stream = stream_of(recording, after, **options)
    return decoded(b"".join(map(stream.encoded, events)))


class Client:
    """What a client makes of a run."""

    def __init__(self, messages: list[Json], state: Any) -> None:
        self.messages = copy.deepcopy(messages)
        self.state = state
        self.calls: dict[str, Json] = {}
        self.end: list[Json] = []

    def message(self, message_id: str, role: str, **more: Any) -> Json:
        found = next((m for m in self.messages if m["id"] == message_id), None)
        if found is None:
            found = {"id": message_id, "role": role, **more}
            self.messages.append(found)
        return found

    def apply(self, event: Json) -> None:
        kind, name = event["type"], event.get("messageId", "")
        if kind in ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START"):
            self.message(name, event["role"])
        elif kind in ("TEXT_MESSAGE_CONTENT", "REASONING_MESSAGE_CONTENT"):
            message = self.message(name, "")
            message["content"] = message.get("content", "") + event["delta"]
        elif kind == "ACTIVITY_SNAPSHOT":
            self.message(name, "activity", activityType=event["activityType"], content=event["content"])
        elif kind == "TOOL_CALL_START":
            function = {"name": event["toolCallName"], "arguments": ""}
            call = self.calls[event["toolCallId"]] = {
                "id": event["toolCallId"],
                "type": "function",
                "function": function,
            }
            self.message(event["parentMessageId"], "assistant").setdefault("toolCalls", []).append(call)
        elif kind == "TOOL_CALL_ARGS":
            self.calls[event["toolCallId"]]["function"]["arguments"] += event["delta"]
        elif kind == "TOOL_CALL_RESULT":
            self.message(name, "tool", toolCallId=event["toolCallId"], content=event["content"])
        elif kind == "MESSAGES_SNAPSHOT":
            self.messages = event["messages"]
        elif kind == "STATE_SNAPSHOT":
            self.state = event["snapshot"]
        elif kind == "STATE_DELTA":
            self.state = JsonPatch(event["delta"]).apply(self.state)
        elif kind in ("RUN_FINISHED", "RUN_ERROR"):
            self.end.append(event)

    def read(self, events: Iterable[Json]) -> Client:
        for event in events:
            self.apply(event)
        return self

    def shown(self) -> tuple[list[Json], Any, list[Json]]:
        """Messages by their ids, with arguments as values, the state, and the end."""
        dropped = {message["toolCallId"] for message in self.messages if message.get("content") == NOT_FINISHED}
        shown = [plain(message, dropped) for message in self.messages]
        return sorted(shown, key=lambda message: str(message["id"])), self.state, self.end


def plain(message: Json, dropped: set[str]) -> Json:
    """A message without what a client that watches does not have, and with arguments as values. A call that was not
    finished (`dropped`) may have a beginning of its arguments."""
    shown = {key: value for key, value in message.items() if key != "error"}
    if "toolCalls" in shown:
        calls = [(call["id"], call["function"]) for call in shown["toolCalls"]]
        shown["toolCalls"] = sorted(
            (name, made["name"], None if name in dropped else repr(msgspec.json.decode(made["arguments"])))
            for name, made in calls
        )
    return shown


def client_of(recording: Recording, events: list[Event], after: int = 0) -> Client:
    entries = until(recording, after or recording.turn_id)
    client = Client(history_messages(CHAT_ID, entries), msgspec.json.decode(state_at(entries)))
    return client.read(run_of(recording, events, after))


def begins_of(recording: Recording) -> list[int]:
    """The facts after which a client reads: the turn, and each wait for clients."""
    waits = [entry.seq for entry in recording.entries if type(entry.fact).__name__ == "ActionRequired"]
    return [recording.turn_id, *waits]


def test_any_cut_of_the_deltas_gives_the_same_messages_and_states() -> None:
    for number, recording in enumerate(recordings()):
        for after in begins_of(recording):
            reference = client_of(recording, whole(recording, after=after - 1), after).shown()
            for events in (cut(recording, Random(number), after=after - 1), stored(recording, after=after - 1)):
                assert client_of(recording, events, after).shown() == reference


def test_an_answer_that_is_begun_again_leaves_the_committed_messages() -> None:
    retried = [recording for recording in recordings(retries=True) if recording.is_retried]
    assert retried
    abandoned = 0
    for recording in retried:
        events = run_of(recording, whole(recording))
        abandoned += sum(event.get("name") == "antiphon.abandoned" for event in events)
        assert client_of(recording, whole(recording)).shown() == client_of(recording, stored(recording)).shown()
    assert abandoned


def test_the_messages_of_all_runs_are_the_history() -> None:
    for recording in recordings(retries=True):
        client = Client(history_messages(CHAT_ID, until(recording, recording.turn_id)), {})
        for after in begins_of(recording):
            client.read(run_of(recording, whole(recording, after=after - 1), after))
        visible = [entry for entry in recording.entries if turn_of(entry) in (0, recording.turn_id)]
        wanted, state = Client(history_messages(CHAT_ID, visible), None).shown()[0], state_at(recording.entries)
        assert client.shown()[0] == wanted
        assert client.state == msgspec.json.decode(state)


@pytest.mark.parametrize("retries", [False, True])
def test_a_client_that_joins_at_any_draft_has_the_same_messages_at_the_end(retries: bool) -> None:
    """A client that comes later begins with the history up to the open draft, and its deltas from 0."""
    joined = 0
    for recording in recordings(12, retries=retries):
        begins = begins_of(recording)
        for entry in recording.entries[recording.turn_id - 1 : -1]:
            begin = max(begin for begin in begins if begin <= entry.seq)
            reference = client_of(recording, whole(recording, after=begin - 1), begin)
            is_before_end = reference.end and entry.draft == entry.seq and turn_of(entry) in (0, recording.turn_id)
            if not is_before_end or entry.seq in begins or type(entry.fact).__name__ == "TurnEnded":
                continue
            client = client_of(recording, whole(recording, after=entry.seq - 1), entry.seq)
            if client.end:
                messages, state, _ = client.shown()
                assert (messages, state) == reference.shown()[:2]
                joined += 1
    assert joined > 20


def turn_of(entry: Entry) -> int:
    return entry.fact.turn_id if isinstance(entry.fact, MessageAppended) and entry.fact.role is Role.USER else 0


@pytest.mark.parametrize("retries", [False, True])
def test_every_event_is_valid_and_nothing_is_open_at_the_end(retries: bool) -> None:
    for recording in recordings(retries=retries):
        opened: set[tuple[str, str]] = set()
        ends = 0
        info = RunInfo(chat_id=CHAT_ID, thread_id="t", run_id="r")
        for event in [run_started(info), *run_of(recording, whole(recording))]:
            EVENT.validate_python(event)
            assert not ends, "nothing follows the end"
            kind = str(event["type"])
            name = event.get("messageId") or event.get("toolCallId") or event.get("stepName") or ""
            what = (kind.rpartition("_")[0].removesuffix("_MESSAGE"), name)
            if kind.startswith(("TEXT", "REASONING_MESSAGE", "STEP", "TOOL_CALL")):
                if kind.endswith(("_START", "STARTED")):
                    assert what not in opened
                    opened.add(what)
                elif kind.endswith(("_END", "FINISHED")):
                    opened.remove(what)
                elif not kind.endswith("RESULT"):
                    assert what[1] in {name for _, name in opened}
            elif kind in ("RUN_FINISHED", "RUN_ERROR"):
                ends += 1
                assert not opened
        assert ends == 1


def test_encoded_events_are_the_same() -> None:
    for recording in recordings(retries=True):
        stream = stream_of(recording)
        one_by_one = decoded(sse(shown for event in whole(recording) for shown in stream.apply(event)))
        assert one_by_one == run_of(recording, whole(recording))


def test_a_notice_of_a_foreign_peer_is_a_raw_event() -> None:
    recording = recordings()[0]
    (shown,) = run_of(recording, [Notice(kind="error", error={"message": "no key"})])
    EVENT.validate_python(shown)
    assert (shown["type"], shown["event"]) == ("RAW", {"kind": "error", "text": "no key"})


def test_a_history_that_is_too_large_is_not_kept_and_the_abandoned_messages_are_named() -> None:
    large = [{"id": "m", "role": "user", "content": "x" * BYTES_MAX}]
    retried = [r for r in recordings(retries=True) if r.is_retried]
    events = [event for r in retried for event in run_of(r, whole(r), history=large)]
    assert any(event.get("name") == "antiphon.abandoned" for event in events)
    assert not any(event["type"] == "MESSAGES_SNAPSHOT" for event in events)
