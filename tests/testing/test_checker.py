"""The checker passes sound evidence, and names the invariant of every violation."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from antiphon import ToolContext, open_instance, tool
from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.model import WhenBusy
from antiphon.core.parts import Text
from antiphon.testing.checker import check
from antiphon.testing.evidence import Evidence, FinalChat, Interrupted, ModelCall, Sent, ToolRun, Watched
from antiphon.wire.codec import encode
from antiphon.wire.gotime import format_time_us, parse_time_us
from antiphon.wire.stream import chat_json, decode_event, message_json, new_message_json, queued_message_json

pytestmark = pytest.mark.anyio

RUNS: list[ToolRun] = []


@tool
def note(context: ToolContext) -> str:
    """Note the run."""
    RUNS.append(ToolRun(chat_id=context.chat_id, tool_call_id=context.tool_call_id))
    return "noted"


def as_json(value: Any) -> Any:
    return msgspec.json.decode(encode(value))


@pytest.fixture
async def evidence(tmp_path: Path) -> Evidence:
    """Two answered turns (one with a tool, one queued), and one that was stopped."""
    RUNS.clear()
    sent: list[Sent] = []
    async with open_instance(tools=(note,), drain_s=0) as antiphon:
        chat_id = (await antiphon.chats.create()).chat_id

        async def send(name: str, text: str) -> int:
            done = await antiphon.chats.send(chat_id, text, client_message_id=name, when_busy=WhenBusy.QUEUE)
            answer = as_json(new_message_json(chat_id, done.entries[0]))
            sent.append(Sent(chat_id=chat_id, client_message_id=name, text=text, status=201, answer=answer))
            return done.entries[0].seq

        async with antiphon.watch.open_watcher(chat_id, (0, 0), until_idle=True) as watcher:
            await send("a", "/say c1t1 c1t2 \n/call note {}\n/say c2t1 ")
            await send("b", "/rate 0\n/tokens 3")
            events: list[tuple[Event, float]] = []
            stopped = None
            while not watcher.is_closed:
                for frame in (await watcher.next_batch()).frames:
                    cursor = "" if frame.seq is None else f"{frame.seq}.{frame.position}"
                    event = decode_event(frame.data, cursor=cursor)
                    events.append((event, time.monotonic()))
                    if isinstance(event, FactEvent) and event.type == "turn_ended" and stopped is None:
                        await send("c", "/stall 60")
                        stopped = -1
                    chat = antiphon.service.chat_nowait(chat_id)
                    if stopped == -1 and chat is not None and chat.turn_id and not chat.queue:
                        was, seq = await antiphon.chats.interrupt(chat_id, chat.turn_id)
                        stopped = chat.turn_id
                        stop = Interrupted(
                            chat_id=chat_id, turn_id=stopped, was_interrupted=was, seq=seq, at=time.monotonic()
                        )
        page = await antiphon.chats.page(chat_id)
        final = FinalChat(
            chat_id=chat_id,
            chat=as_json(chat_json(chat_id, await antiphon.chats.get(chat_id))),
            messages=[as_json(message_json(chat_id, entry)) for entry in page.messages],
            queued_messages=[as_json(queued_message_json(chat_id, *item)) for item in page.queued],
            log=[event for event, _ in events],
        )
    assert events[-1][0].type == "bye"
    return Evidence(
        sent=sent,
        interrupted=[stop],
        watched=[Watched(chat_id=chat_id, events=events[:-1])],
        model_calls=[ModelCall(number=1, tokens=("c1t1 ", "c1t2 ")), ModelCall(number=2, tokens=("c2t1 ",))],
        final=[final],
        tool_runs=list(RUNS),
    )


async def test_sound_evidence_passes(evidence: Evidence) -> None:
    assert check(evidence) == []


def change_log(e: Evidence, change: Callable[[FactEvent], FactEvent]) -> Evidence:
    log = [change(event) if isinstance(event, FactEvent) else event for event in e.final[0].log]
    return replace(e, final=[replace(e.final[0], log=log)])


def renamed(event: FactEvent, name: str, new: str) -> FactEvent:
    """The same with another client_message_id, where it has that one."""
    text = encode(event.data).decode().replace(f'"client_message_id":"{name}"', f'"client_message_id":"{new}"')
    return replace(event, data=as_json(msgspec.Raw(text.encode())))


def acknowledged_is_gone(e: Evidence) -> Evidence:
    return change_log(e, lambda event: renamed(event, "b", "other"))


def message_twice(e: Evidence) -> Evidence:
    return change_log(e, lambda event: renamed(event, "c", "a"))


def removed_is_shown(e: Evidence) -> Evidence:
    ended = next(event for event in e.final[0].log if isinstance(event, FactEvent) and event.type == "turn_ended")
    cut = replace(ended, type="history_truncated", data={"from_message_id": 2})
    return change_log(e, lambda event: cut if event is ended else event)


def hidden_has_content(e: Evidence) -> Evidence:
    return change_log(
        e, lambda event: replace(event, data=event.data | {"hidden_by": 9}) if event.seq == 2 else event
    )


def no_worker_came(e: Evidence) -> Evidence:
    """All that came before the second attempt, a minute earlier."""
    facts = [event for event in e.final[0].log if isinstance(event, FactEvent)]
    starts = [event.seq for event in facts if event.type == "attempt_started"]

    def earlier(event: FactEvent) -> FactEvent:
        at = parse_time_us(event.at)
        return replace(event, at=format_time_us(at - 60_000_000)) if event.seq < starts[1] else event

    return change_log(e, earlier)


def two_answers(e: Evidence) -> Evidence:
    first = e.sent[0]
    assert first.answer is not None
    other = replace(first, answer={"message": {**first.answer["message"], "id": 99}, "seq": 99})
    return replace(e, sent=[*e.sent, other])


def fact_missing(e: Evidence) -> Evidence:
    log = [event for event in e.final[0].log if not (isinstance(event, FactEvent) and event.seq == 3)]
    return replace(e, final=[replace(e.final[0], log=log)])


def other_state(e: Evidence) -> Evidence:
    return replace(e, final=[replace(e.final[0], chat={**e.final[0].chat, "status": "running"})])


def change_events(e: Evidence, change: Callable[[list[Event]], list[Event]]) -> Evidence:
    watched = e.watched[0]
    events = [(event, 0.0) for event in change([event for event, _ in watched.events])]
    return replace(e, watched=[replace(watched, events=events)])


def delta_missing(e: Evidence) -> Evidence:
    def drop(events: list[Event]) -> list[Event]:
        place = next(i for i, event in enumerate(events) if isinstance(event, Delta))
        return events[:place] + events[place + 1 :]

    return change_events(e, drop)


def goes_back(e: Evidence) -> Evidence:
    return change_events(e, lambda events: [*events, events[1]])


def other_text(e: Evidence) -> Evidence:
    def change(events: list[Event]) -> list[Event]:
        return [
            replace(event, part=Text("X" * len(event.part.text)))
            if isinstance(event, Delta) and isinstance(event.part, Text)
            else event
            for event in events
        ]

    return change_events(e, change)


def other_call(e: Evidence) -> Evidence:
    return replace(e, model_calls=[ModelCall(number=1, tokens=("c1t1 ", "c1t9 "))])


def stops_early(e: Evidence) -> Evidence:
    return change_events(e, lambda events: events[:-2])


def two_attempts(e: Evidence) -> Evidence:
    log = [
        replace(event, type="attempt_started", data={"instance_id": "i"})
        if isinstance(event, FactEvent) and event.type == "message_queued"
        else event
        for event in e.final[0].log
    ]
    return replace(e, final=[replace(e.final[0], log=log)])


def kept_after_a_loss(e: Evidence, content_size: int) -> Evidence:
    """The answer of the second turn is what a lost attempt has left."""
    log: list[Event] = []
    for event in e.final[0].log:
        if isinstance(event, FactEvent) and event.seq == 10:
            assert event.type == "attempt_started"
            event = replace(event, type="attempt_lost", data={"content_size": content_size})
        elif isinstance(event, FactEvent) and event.seq == 11:
            event = replace(event, data={"message": event.data["message"]})
        log.append(event)
    return replace(e, final=[replace(e.final[0], log=log)])


async def test_only_what_an_attempt_has_left_is_kept_after_it(evidence: Evidence) -> None:
    invariants = [{one.invariant for one in check(kept_after_a_loss(evidence, size))} for size in (0, 9)]
    assert ["FENCE" in found for found in invariants] == [True, False]


def result_missing(e: Evidence) -> Evidence:
    final = e.final[0]
    return replace(e, final=[replace(final, messages=[m for m in final.messages if m["role"] != "tool"])])


def tool_twice(e: Evidence) -> Evidence:
    return replace(e, tool_runs=[*e.tool_runs, *e.tool_runs])


def stop_unheard(e: Evidence) -> Evidence:
    return replace(e, interrupted=[replace(e.interrupted[0], turn_id=2)])


def stop_late(e: Evidence) -> Evidence:
    return replace(e, interrupted=[replace(e.interrupted[0], at=0.0)])


def many_calls(e: Evidence) -> Evidence:
    return replace(e, model_calls=e.model_calls * 50)


def denied_ran(e: Evidence) -> Evidence:
    return replace(e, denied_calls=frozenset({(run.chat_id, run.tool_call_id) for run in e.tool_runs}))


OWN, FOREIGN = "canary-00000001", "canary-00000002"


def with_canaries(e: Evidence) -> Evidence:
    """The chat belongs to the owner of OWN, and its calls have that canary."""
    calls = [replace(call, canaries=frozenset({OWN})) for call in e.model_calls]
    runs = [replace(run, canaries=frozenset({OWN})) for run in e.tool_runs]
    return replace(e, canaries={e.final[0].chat_id: OWN}, model_calls=calls, tool_runs=runs)


def prompt_of_two_owners(e: Evidence) -> Evidence:
    e = with_canaries(e)
    return replace(e, model_calls=[replace(e.model_calls[0], canaries=frozenset({OWN, FOREIGN}))])


def argument_of_another_owner(e: Evidence) -> Evidence:
    e = with_canaries(e)
    return replace(e, tool_runs=[replace(run, canaries=frozenset({FOREIGN})) for run in e.tool_runs])


def arguments_of_two_owners(e: Evidence) -> Evidence:
    e = with_canaries(e)
    run = ToolRun(chat_id="", tool_call_id="hidden", tool_name="t", canaries=frozenset({OWN, FOREIGN}))
    return replace(e, tool_runs=[*e.tool_runs, run])


def history_of_another_owner(e: Evidence) -> Evidence:
    e = with_canaries(e)
    return replace(e, final=[replace(e.final[0], chat={**e.final[0].chat, "title": FOREIGN})])


def stream_of_another_owner(e: Evidence) -> Evidence:
    def change(events: list[Event]) -> list[Event]:
        return [
            replace(event, part=Text(event.part.text.replace("c1t2", FOREIGN)))
            if isinstance(event, Delta) and isinstance(event.part, Text)
            else event
            for event in events
        ]

    return change_events(with_canaries(e), change)


async def test_the_texts_of_the_own_owner_pass(evidence: Evidence) -> None:
    assert check(with_canaries(evidence)) == []


async def test_an_answer_that_goes_on_from_a_beginning_passes_and_another_text_does_not(evidence: Evidence) -> None:
    lost = replace(evidence.model_calls[0], number=7, tokens=("c7t1 ",))
    going_on = ModelCall(number=1, tokens=(" c1t2 ",), beginning="c1t1")
    assert check(replace(evidence, model_calls=[lost, going_on, evidence.model_calls[1]])) == []
    other = replace(going_on, tokens=(" c1t3 ",))
    found = check(replace(evidence, model_calls=[lost, other, evidence.model_calls[1]]))
    assert {violation.invariant for violation in found} == {"VIEW=COMMIT"}


@pytest.mark.parametrize(
    ("broken", "invariant"),
    [
        (acknowledged_is_gone, "ACK-DURABLE"),
        (removed_is_shown, "EDIT"),
        (hidden_has_content, "EDIT"),
        (no_worker_came, "NO-STUCK"),
        (message_twice, "ACK-ONCE"),
        (two_answers, "ACK-ONCE"),
        (fact_missing, "LOG"),
        (other_state, "LOG"),
        (delta_missing, "SEQ"),
        (goes_back, "SEQ"),
        (other_text, "VIEW=COMMIT"),
        (other_call, "VIEW=COMMIT"),
        (stops_early, "CONVERGE"),
        (two_attempts, "FENCE"),
        (result_missing, "TOOLS"),
        (tool_twice, "TOOLS"),
        (denied_ran, "TOOLS"),
        (prompt_of_two_owners, "ISOLATION"),
        (argument_of_another_owner, "ISOLATION"),
        (arguments_of_two_owners, "ISOLATION"),
        (history_of_another_owner, "ISOLATION"),
        (stream_of_another_owner, "ISOLATION"),
        (stop_unheard, "INTERRUPT"),
        (stop_late, "INTERRUPT"),
        (many_calls, "BUDGET"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_broken_promise_is_named(
    evidence: Evidence, broken: Callable[[Evidence], Evidence], invariant: str
) -> None:
    assert invariant in {violation.invariant for violation in check(broken(evidence))}
