"""The streams: cursors, resuming, ends, slow readers, and that nothing in a text can forge an event."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import Reasoning, ToolCall
from antiphon.observe.metrics import METRICS
from antiphon.options import Timing, WatchTiming
from support.stopwatch import Stopwatch
from support.waiting import wait_until

from .api_client import ApiClient, open_api
from .events import check_cursors, fold, merged, preview, shown, standard_events
from .schema import check_answer
from .stock_server import served_by_uvicorn
from .wire import SseEvent, Stream, Wire, make_request

pytestmark = pytest.mark.anyio

SCENE = '/rate 2000\n/think hm, well\n/tokens 30\n/call nothing {"a": [1, "é"]}\n/say done 👋'
WAITER_MAX = 256 * 1024
"""What may wait in a watcher's socket (docs/http.md, *Limits*)."""


async def _record_everyday(api: ApiClient) -> tuple[str, list[SseEvent]]:
    """A chat with turns, a tool call, a queue, an interrupt and an edit, recorded live from its first fact on."""
    chat_id = await api.make_chat(title="everyday")
    stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await api.send(chat_id, f"/stall 0.2\n{SCENE}")
    queued = (await api.send(chat_id, "/say queued")).json["seq"]
    await api.ask("PATCH", f"/chats/{chat_id}/queue/{queued}", {"content": "/say better\n/stall 60"})
    await stream.until("message_appended", where=lambda event: event.json.get("queued_id") == queued)
    await stream.until("delta", where=lambda event: event.json["part"]["type"] == "text")
    await api.ask("PATCH", f"/chats/{chat_id}", {"title": "renamed"})
    turn_id = (await api.chat(chat_id))["turn_id"]
    await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
    await stream.until("turn_ended", where=lambda event: event.json["outcome"] == "interrupted")
    await api.ask("PATCH", f"/chats/{chat_id}/messages/2", {"content": "/say edited"})
    await stream.until("turn_ended")
    await stream.close()
    return chat_id, stream.seen


async def test_every_events_id_is_the_cursor_its_reader_then_holds(api: ApiClient) -> None:
    chat_id, recorded = await _record_everyday(api)
    check_cursors(recorded)
    assert {"message_queued", "queued_message_edited", "history_truncated", "delta", "title_changed"} <= {
        event.type for event in recorded
    }
    view = fold(recorded)
    page = (await api.ask("GET", f"/chats/{chat_id}/messages")).json
    assert [message["id"] for message in view.messages] == [message["id"] for message in page["messages"]]


async def test_resuming_at_every_cursor_of_a_stored_log_gives_exactly_the_rest(api: ApiClient) -> None:
    chat_id, _ = await _record_everyday(api)
    path = f"/chats/{chat_id}/stream?until=idle"
    recorded = await api.events(path, cursor="0")
    check_cursors(recorded)
    assert [event.type for event in recorded[-2:]] == ["caught_up", "bye"]
    for i, event in enumerate(recorded[:-2]):
        rest = await api.events(path, cursor=event.id)
        assert [other.raw for other in rest] == [other.raw for other in recorded[i + 1 :]]


async def test_resuming_at_every_cursor_of_a_live_stream_gives_exactly_the_rest(api: ApiClient) -> None:
    """While its drafts are held: how deltas are cut may differ, what they hold may not."""
    chat_id = await api.make_chat()
    stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await api.send(chat_id, SCENE)
    ended = await stream.until("turn_ended")
    recorded = [event for event in stream.seen if event.type != "caught_up"]
    check_cursors(recorded)
    whole = shown(fold(recorded))
    for i, event in enumerate(recorded):
        rest = await api.events(f"/chats/{chat_id}/stream?until=idle", cursor=event.id)
        seq, position = map(int, event.id.split("."))
        check_cursors(rest, seq=seq, position=position)
        got = [other for other in rest if other.type not in ("caught_up", "bye")]
        assert merged(got) == merged(recorded[i + 1 :]), event.raw
        assert shown(fold(rest, fold(recorded[: i + 1]))) == whole
    assert ended.raw == recorded[-1].raw
    await stream.close()


async def test_resuming_in_an_open_draft_gives_the_rest_of_it(api: ApiClient) -> None:
    chat_id = await api.make_chat("/rate 0\n/tokens 50\n/stall 60")
    path = f"/chats/{chat_id}/stream"
    stream = await api.stream(path, cursor="0")
    await stream.until("delta", where=lambda event: event.json["part"].get("text", "").endswith("w50 "))
    await stream.close()
    last = stream.seen[-1]
    seq, end = map(int, last.id.split("."))
    text = preview(stream.seen)[seq]
    for position in range(end + 1):
        resumed = await api.stream(path, cursor=f"{seq}.{position}")
        await resumed.until("caught_up")
        await resumed.close()
        check_cursors(resumed.seen, seq=seq, position=position)
        assert resumed.seen[-1].id == f"{seq}.{end}"
        assert text.endswith(preview(resumed.seen).get(seq, ""))
        assert len(preview(resumed.seen).get(seq, "")) == min(end - position, len(text))


async def test_a_turn_that_follows_at_once_is_seen_word_by_word_too(api: ApiClient) -> None:
    """Its attempt begins in the very append that ends the one before."""
    chat_id = await api.make_chat("/stall 0.2\n/say one")
    queued = (await api.send(chat_id, "/say two \n/stall 60")).json["seq"]
    stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await stream.until("message_appended", where=lambda event: event.json.get("queued_id") == queued)
    delta = await stream.until("delta", where=lambda event: event.json["part"]["type"] == "text")
    assert delta.json["part"]["text"] == "two "
    await stream.close()


async def test_a_bare_seq_is_the_same_cursor_as_position_zero(api: ApiClient) -> None:
    chat_id, _ = await _record_everyday(api)
    path = f"/chats/{chat_id}/stream?until=idle"
    assert await api.events(path, cursor="5") == await api.events(path, cursor="5.0")


async def test_last_event_id_wins_over_after(api: ApiClient) -> None:
    chat_id, _ = await _record_everyday(api)
    path = f"/chats/{chat_id}/stream?until=idle"
    by_header = await api.events(f"{path}&after=1", cursor="5.0")
    assert by_header == await api.events(f"{path}&after=5.0")
    assert by_header[0].json["seq"] == 6


async def test_without_a_cursor_the_stream_begins_with_the_whole_state(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say old")
    await api.rested(chat_id)
    await api.send(chat_id, "/say seen \n/stall 60")
    live = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await live.until("delta", where=lambda event: event.json["part"].get("text") == "seen ")
    await api.send(chat_id, "waits")
    await live.until("message_queued")
    fresh = await api.stream(f"/chats/{chat_id}/stream")
    await fresh.until("caught_up")
    first = fresh.seen[0]
    assert (first.type, first.json["reason"]) == ("resync", "start")
    assert first.json["chat"] == await api.chat(chat_id)
    page = (await api.ask("GET", f"/chats/{chat_id}/messages")).json
    assert first.json["messages"] == page["messages"]
    assert first.json["queued_messages"] == page["queued_messages"]
    check_cursors(fresh.seen)
    assert shown(fold(fresh.seen)) == shown(fold(live.seen)) | {"has_more": False}
    await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": first.json["chat"]["turn_id"]})
    await fresh.until("turn_ended")
    await live.until("turn_ended")
    assert merged(fresh.seen[2:]) == merged(live.seen[-len(fresh.seen) + 2 :])
    await fresh.close()
    await live.close()


async def test_a_resync_has_the_last_fifty_messages(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    for n in range(27):
        await api.send(chat_id, f"/say {n}")
        await api.rested(chat_id)
    first = (await api.events(f"/chats/{chat_id}/stream?until=idle"))[0].json
    assert (len(first["messages"]), first["has_more"]) == (50, True)


@pytest.mark.parametrize("cursor", ["x", "1.", ".1", "1.2.3", "-1", "1,0", "1" * 16, "1." + "9" * 16, "٣", " 1"])
async def test_what_is_no_cursor_is_invalid(api: ApiClient, cursor: str) -> None:
    chat_id = await api.make_chat()
    answer = await api.ask("GET", f"/chats/{chat_id}/stream", headers={"last-event-id": f"{cursor}x"})
    assert (answer.status, answer.code) == (422, "cursor_invalid")


async def test_a_cursor_from_the_future_is_invalid(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    answer = await api.ask("GET", f"/chats/{chat_id}/stream?after=2")
    assert (answer.status, answer.code, answer.json["error"]["cursor"]) == (422, "cursor_invalid", "2.0")
    assert (await api.events(f"/chats/{chat_id}/stream?until=idle&after=1.7"))[0].type == "caught_up"


class Gates:
    """An agent that says one word behind each gate."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.gates = [asyncio.Event() for _ in words]

    async def speak(self, turn: Any) -> AsyncIterator[Any]:
        for word, gate in zip(self.words, self.gates, strict=True):
            await gate.wait()
            yield word


async def test_a_position_beyond_the_draft_waits_for_it() -> None:
    agent = Gates("abc", "defgh", "ij")
    async with open_api(agent=agent.speak) as api:
        chat_id = await api.make_chat("go")
        path = f"/chats/{chat_id}/stream"
        live = await api.stream(path, cursor="0")
        agent.gates[0].set()
        seq, _ = (await live.until("delta")).id.split(".")
        ahead, beyond = [await api.stream(path, cursor=f"{seq}.{position}") for position in (5, 99)]
        for stream in (ahead, beyond):
            caught_up = await stream.next()
            assert caught_up.type == "caught_up"
            assert caught_up.id == f"{seq}.{5 if stream is ahead else 99}"
        agent.gates[1].set()
        delta = await ahead.next()
        assert (delta.json["from"], delta.json["to"], delta.json["part"]["text"]) == (5, 8, "fgh")
        agent.gates[2].set()
        closing = await beyond.next()
        assert closing.type == "message_appended", "the fact that closes the draft ends the waiting"
        assert closing.json["message"]["content"][0]["text"] == "abcdefghij"
        for stream in (live, ahead, beyond):
            await stream.close()


# --- ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["/say hi", "/fail auth"])
async def test_until_idle_ends_the_stream_when_the_chat_rests(api: ApiClient, script: str) -> None:
    chat_id = await api.make_chat()
    assert [event.type for event in await api.events(f"/chats/{chat_id}/stream?until=idle&after=1")] == [
        "caught_up",
        "bye",
    ]
    await api.send(chat_id, script)
    events = await api.events(f"/chats/{chat_id}/stream?until=idle&after=1")
    assert events[-1].json == {"type": "bye", "reason": "idle"}
    assert events[-2].type in ("turn_ended", "caught_up")
    assert "turn_ended" in [event.type for event in events]


async def test_until_idle_waits_for_the_whole_queue(api: ApiClient) -> None:
    chat_id = await api.make_chat("/stall 0.1\n/say one")
    for n in range(3):
        await api.send(chat_id, f"/say {n}")
    events = await api.events(f"/chats/{chat_id}/stream?until=idle&after=0")
    assert sum(event.type == "turn_ended" for event in events) == 4


@pytest.mark.parametrize("query", ["until=later", "commit=value"])
async def test_unknown_query_values_are_refused(api: ApiClient, query: str) -> None:
    answer = await api.ask("GET", f"/chats/{await api.make_chat()}/stream?{query}")
    assert (answer.status, answer.code) == (422, "invalid")


async def test_commit_by_reference_leaves_out_what_the_watcher_holds(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    path = f"/chats/{chat_id}/stream?commit=ref"
    stream = await api.stream(path, cursor="1")
    await api.send(chat_id, "/rate 0\n/tokens 20")
    committed = await stream.until("message_appended", where=lambda event: "closes" in event.json)
    assert "content" not in committed.json["message"]
    closes = committed.json["closes"]
    held = preview(stream.seen)[closes["draft"]]
    assert f"assistant: {held}" in await api.texts(chat_id)
    await stream.until("turn_ended")
    late = await api.events(f"{path}&until=idle", cursor="1")
    by_value = next(event for event in late if event.type == "message_appended" and "closes" in event.json)
    if preview(late).get(closes["draft"]) != held:
        assert by_value.json["message"]["content"][0]["text"] == held, "one that held less is given the content"
    await stream.close()


async def test_a_stream_of_a_deleted_chat_ends_with_the_fact_and_a_bye(api: ApiClient) -> None:
    chat_id = await api.make_chat("/stall 60")
    stream = await api.stream(f"/chats/{chat_id}/stream")
    await stream.until("caught_up")
    await api.ask("DELETE", f"/chats/{chat_id}")
    events = await stream.rest()
    assert [event.type for event in events[-2:]] == ["chat_deleted", "bye"]
    assert events[-1].json["reason"] == "deleted"
    await stream.close()


async def test_a_revoked_tokens_streams_end_within_a_second(api: ApiClient) -> None:
    chat_id = await api.make_chat("/rate 50\n/tokens 5000")
    made = await api.instance.tokens.create("other")
    second = await api.instance.tokens.create("x")
    await api.instance.tokens.add(api.owner_id, second_secret := "another token of the same owner")
    other = (await api.instance.tokens.authenticate(second_secret)).token_id
    streams = [await api.stream(path, token=second_secret) for path in (f"/chats/{chat_id}/stream", "/feed")]
    own = await api.stream(f"/chats/{chat_id}/stream")
    stopwatch = Stopwatch()
    assert (await api.ask("DELETE", f"/tokens/{other}", token=api.admin_token)).status == 204
    for stream in streams:
        events = await stream.rest()
        assert events[-1].json["reason"] == "revoked"
        await stream.close()
    assert stopwatch.elapsed_s() < 1
    await own.until("delta")
    assert not own.has_ended, "the owner's other token is as good as before"
    await own.close()
    assert made.token.token_id != second.token.token_id


async def test_a_stopping_instance_says_good_bye_to_every_stream() -> None:
    async with open_api() as api:
        chat_id = await api.make_chat("/stall 60")
        streams = [await api.stream(f"/chats/{chat_id}/stream") for _ in range(5)] + [await api.stream("/feed")]
        await api.instance.stop()
        for stream in streams:
            events = await stream.rest()
            assert events[-1].json == {"type": "bye", "reason": "shutdown", "retry_ms": 500}
            await stream.close()


async def test_an_idle_stream_is_pinged() -> None:
    async with open_api(timing=Timing(watch=WatchTiming(ping_s=0.15))) as api:
        for path in (f"/chats/{await api.make_chat()}/stream", "/feed"):
            stream = await api.stream(path)
            for _ in range(3):
                assert (await stream.until("ping")).raw == b'event: ping\ndata: {"type":"ping"}\n\n'
            await stream.close()


# --- slow readers -----------------------------------------------------------------------------------


async def _speak(turn: Any) -> AsyncIterator[Any]:
    for n in range(150):
        yield f"{n:04} " * (64 * 1024 // 5)
        await asyncio.sleep(0.001)


def _waiting_bytes(api: ApiClient) -> list[int]:
    """What waits in the sockets of the chat's watchers."""
    connections = [getattr(watcher.stop_sending, "__self__", None) for watcher in api.instance.watch._watchers]
    return [
        c.transport.get_write_buffer_size() for c in connections if c is not None and not c.transport.is_closing()
    ]


async def test_a_client_that_never_reads_is_closed_and_slows_no_other() -> None:
    closed_before = METRICS.slow_watchers._value.get()
    async with open_api(agent=_speak, timing=Timing(watch=WatchTiming(ping_s=0.3, slow_s=1.0))) as api:
        chat_id = await api.make_chat()
        path = f"/chats/{chat_id}/stream?after=1"
        stuck = [await api.stream(path, receive_bytes=4096) for _ in range(5)]
        for stream in stuck:
            stream.wire.writer.transport.pause_reading()
        reader = await api.stream(path)
        await api.send(chat_id, "speak")
        most = 0

        async def measure() -> None:
            nonlocal most
            while True:
                most = max([most, *_waiting_bytes(api)])
                await asyncio.sleep(0.002)

        measuring = asyncio.create_task(measure())
        ended = await reader.until("turn_ended")
        text = max(preview(reader.seen).values(), key=len)
        assert len(text) > 9_000_000
        assert f"assistant: {text}" in await api.texts(chat_id)
        await wait_until(lambda: len(api.instance.watch) == 1, what="the stuck ones are closed")
        measuring.cancel()
        assert most <= WAITER_MAX
        assert METRICS.slow_watchers._value.get() - closed_before == 5
        assert ended.json["outcome"] == "answered"
        for stream in (*stuck, reader):
            await stream.close()


async def test_a_feed_that_is_never_read_is_closed_too() -> None:
    async with open_api(timing=Timing(watch=WatchTiming(ping_s=0.3, slow_s=0.5))) as api:
        labels = {f"{n:02}": "x" * 256 for n in range(64)}
        chats = [await api.make_chat(labels=labels) for _ in range(20)]
        before = _descriptors()
        stuck = await api.stream("/feed", receive_bytes=4096)
        stuck.wire.writer.transport.pause_reading()
        rounds = 0
        while len(api.instance.watch):
            rounds += 1
            assert rounds < 400, "the feed was not closed"
            for chat_id in chats:
                await api.ask("PATCH", f"/chats/{chat_id}", {"pin_order": rounds})
        await wait_until(lambda: _descriptors() == before + 1, what="only this end of the connection is left")
        await stuck.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_reader_that_pauses_gets_everything_in_larger_pieces() -> None:
    async with open_api(agent=_speak) as api:
        chat_id = await api.make_chat()
        stream = await api.stream(f"/chats/{chat_id}/stream?after=1", receive_bytes=4096)
        stream.wire.writer.transport.pause_reading()
        await api.send(chat_id, "speak")
        await api.rested(chat_id)
        stream.wire.writer.transport.resume_reading()
        await stream.until("turn_ended")
        check_cursors([event for event in stream.seen if event.type != "caught_up"], seq=1)
        committed = next(e.json for e in stream.seen if e.type == "message_appended" and "closes" in e.json)
        assert preview(stream.seen)[committed["closes"]["draft"]] == committed["message"]["content"][0]["text"]
        await stream.close()


async def test_watchers_that_lose_their_connection_again_and_again_miss_nothing(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    path = f"/chats/{chat_id}/stream"
    await api.send(chat_id, "/tokens 500\n/rate 100")
    steady, dropping, late = await asyncio.gather(
        _follow(api, path, drop_every=0), _follow(api, path, drop_every=20), _follow(api, path, drop_every=150)
    )
    whole = (await api.texts(chat_id))[1].removeprefix("assistant: ")
    assert whole == "".join(f"w{n} " for n in range(1, 501))
    for events in (steady, dropping, late):
        assert "resync" not in {event.type for event in events}
        check_cursors(events)
        assert list(preview(events).values()) == [whole]
    assert merged(steady) == merged(dropping) == merged(late)


async def _follow(api: ApiClient, path: str, *, drop_every: int) -> list[SseEvent]:
    """All events up to the turn's end, over many connections."""
    events: list[SseEvent] = []
    while True:
        stream = await api.stream(path, cursor=events[-1].id if events else "0")
        deltas = 0
        while not drop_every or deltas < drop_every:
            event = await stream.next()
            if event.type not in ("caught_up", "ping"):
                events.append(event)
            deltas += event.type == "delta"
            if event.type == "turn_ended":
                await stream.close()
                return events
        stream.wire.reset()


# --- two ways to the socket -------------------------------------------------------------------------


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_any_asgi_server_gives_the_same_bytes_as_our_own(api: ApiClient, http: str) -> None:
    chat_id, _ = await _record_everyday(api)
    async with served_by_uvicorn(api, http=http) as plain:
        for path, cursor in (("?until=idle", "0"), ("?until=idle", ""), ("?until=idle&commit=ref", "7.0")):
            ours = await api.stream(f"/chats/{chat_id}/stream{path}", cursor=cursor)
            theirs = await plain.stream(f"/chats/{chat_id}/stream{path}", cursor=cursor)
            assert [e.raw for e in await ours.rest()] == [e.raw for e in await theirs.rest()]
            kept = {"content-type", "cache-control", "x-accel-buffering", "x-content-type-options"}
            assert {k: ours.headers[k] for k in kept} == {k: theirs.headers[k] for k in kept}
            await ours.close()
            await theirs.close()
        live = [await one.stream(f"/chats/{chat_id}/stream") for one in (api, plain)]
        for stream in live:
            await stream.until("caught_up")
        await api.send(chat_id, SCENE)
        for stream in live:
            await stream.until("turn_ended")
            check_cursors(stream.seen)
        assert merged(live[0].seen) == merged(live[1].seen)
        await api.ask("DELETE", f"/chats/{chat_id}")
        for stream in live:
            assert (await stream.rest())[-1].json["reason"] == "deleted"
            await stream.close()
        answer = await plain.ask("GET", "/chats")
        check_answer("GET", "/api/v1/chats", answer)


# --- the feed ---------------------------------------------------------------------------------------


async def test_the_feed_publishes_changes_of_an_owners_chats(api: ApiClient) -> None:
    feed = await api.stream("/feed")
    assert (await feed.next()).raw == b'event: resync\ndata: {"type":"resync"}\n\n'
    chat_id = await api.make_chat(title="new")
    created = await feed.until("chat")
    assert (created.json["kind"], created.json["chat"]["title"]) == ("created", "new")
    await api.ask("PATCH", f"/chats/{chat_id}", {"title": "other"})
    changed = await feed.until("chat")
    assert (changed.json["kind"], changed.json["chat"]["title"]) == ("title_change", "other")
    await api.send(chat_id, "/stall 60")
    running = await feed.until("chat")
    assert (running.json["kind"], running.json["chat"]["status"]) == ("status_change", "running")
    assert running.json["chat"] == await api.chat(chat_id)
    await api.ask("DELETE", f"/chats/{chat_id}")
    deleted = await feed.until("chat", where=lambda event: event.json["kind"] == "deleted")
    assert deleted.json["chat"]["id"] == chat_id
    assert all(event.id == "" for event in feed.seen)
    await feed.close()


async def test_a_slow_feed_receives_only_the_newest_state(api: ApiClient) -> None:
    feed = await api.stream("/feed")
    chat_id = await api.make_chat(title="new")
    for n in range(50):
        await api.ask("PATCH", f"/chats/{chat_id}", {"title": str(n)})
    last = await feed.until("chat", where=lambda event: event.json["chat"]["title"] == "49")
    seqs = [event.json["chat"]["seq"] for event in feed.seen if event.type == "chat"]
    assert seqs == sorted(set(seqs))
    assert last.json["chat"] == await api.chat(chat_id)
    await feed.close()


# --- nothing can be forged --------------------------------------------------------------------------

EVIL = [
    "\n\nevent: bye\ndata: {}\n\n",
    "\r\n\r\nevent: x\r\ndata: {}\r\n\r\n",
    "\rid: 99.9\r",
    "a\x00b",
    "\u2028event: x\u2029\x85\x0b\x0c",
    "\ud800 alone \udfff",
    "\ufeff\U0001f600",
    "</script><script>alert(1)</script>",
]


async def _evil(turn: Any) -> AsyncIterator[Any]:
    for text in EVIL:
        yield Reasoning(text)
        yield text
    await turn.call(ToolCall("\n\nevent: x", {"\r\n\r\n": EVIL[:5]}))
    for text in EVIL:
        yield text
    raise RuntimeError("\n\nevent: x\ndata: 1\n\n")


async def test_no_text_can_forge_an_event(tmp_path: Path) -> None:
    async with open_api(agent=_evil, data=tmp_path / "data") as api:
        feed = await api.stream("/feed")
        await feed.until("resync")
        chat_id = await api.make_chat(title="".join(EVIL)[:256], labels={text: text for text in EVIL})
        live = await api.stream(f"/chats/{chat_id}/stream?after=0")
        sent = [{"type": "text", "text": text} for text in EVIL]
        sent += [{"type": "file-reference", "file_name": text, "content": text} for text in EVIL[:5]]
        assert (await api.send(chat_id, sent, client_message_id="event: x")).status == 201
        await live.until("turn_ended")
        stored = await api.events(f"/chats/{chat_id}/stream?until=idle&after=0")
        fresh = await api.events(f"/chats/{chat_id}/stream?until=idle")
        await feed.until("chat", where=lambda event: event.json["chat"]["status"] == "error")
        for events in (live.seen, stored, fresh, feed.seen):
            data = b"".join(event.raw for event in events)
            assert not any(byte in data for byte in (b"\r", b"\x00")), "control characters are always escaped"
            last_id = ""
            expected = []
            for event in events:
                last_id = event.id or last_id
                expected.append((last_id, event.type, event.data.decode()))
            assert standard_events(data) == expected
        check_cursors([event for event in live.seen if event.type != "caught_up"])
        mended = "".join(EVIL).replace("\ud800", "\ufffd").replace("\udfff", "\ufffd")
        texts = await api.texts(chat_id)
        assert texts[0] == f"user: {mended}"
        assert f"assistant: {mended}" in texts
        for stream in (live, feed):
            await stream.close()


async def test_a_stream_takes_no_other_way_in(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    for method in ("POST", "PUT", "OPTIONS"):
        assert (await api.ask(method, f"/chats/{chat_id}/stream")).status == 405


async def test_a_second_request_behind_a_stream_waits_for_its_end(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    path = f"/api/v1/chats/{chat_id}/stream?until=idle"
    wire = await Wire.open(api.port)
    wire.send(make_request("GET", path, token=api.token) * 3 + make_request("GET", "/healthz"))
    for _ in range(3):
        status, headers = await wire.read_head()
        assert status == 200
        assert [event.type for event in await Stream(wire, headers).rest()] == ["resync", "caught_up", "bye"]
    assert (await wire.read_answer()).status == 200
    await wire.close()


async def test_the_number_of_watchers_is_bounded() -> None:
    async with open_api(watchers_max=3) as api:
        chat_id = await api.make_chat()
        path = f"/chats/{chat_id}/stream"
        streams = [await api.stream(path), await api.stream("/feed"), await api.stream(path)]
        answer = await api.ask("GET", path)
        assert (answer.status, answer.code, answer.json["error"]["limit"]) == (429, "too_many", 3)
        assert answer.headers["retry-after"] == "5"
        await streams.pop().close()
        await wait_until(lambda: len(api.instance.watch) == 2)
        streams.append(await api.stream("/feed"))
        for stream in streams:
            await stream.close()


async def test_where_there_are_several_owners_each_has_a_bound() -> None:
    async with open_api(owner_watchers_max=2) as api:
        beth = await api.as_owner("beth")
        streams = [await beth.stream("/feed"), await beth.stream("/feed")]
        answer = await beth.ask("GET", "/feed")
        assert (answer.status, answer.code) == (429, "too_many")
        streams.append(await api.stream("/feed"))
        for stream in streams:
            await stream.close()
