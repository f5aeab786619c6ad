"""Streams of other protocols: large answers in pieces, the memory for them, and what ends them early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from antiphon.api.http.server import start_server
from antiphon.api.http.translated import TranslatedStream, TranslatedWatcher, Translation
from antiphon.core.events import Event
from antiphon.options import Options
from antiphon.watch.held_text import HeldText
from antiphon.watch.reader import Reader
from antiphon.watch.watcher import Watcher
from support.waiting import wait_until

from .api_client import ApiClient, open_api
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio

PIECE = "0123456789abcdef" * 8192
"""128 KiB of text."""


async def _speak(turn: Any) -> AsyncIterator[Any]:
    for _ in range(int(turn.text)):
        yield PIECE
        await asyncio.sleep(0)


@pytest.fixture
async def speaking() -> AsyncIterator[ApiClient]:
    async with open_api(agent=_speak) as api:
        yield api
        await api.close_connections()


class _Sizes(Translation):
    """Counts the bytes of the events."""

    is_complete = False

    def __init__(self) -> None:
        self.size = 0

    def begin(self) -> bytes:
        return b"begin\n"

    def apply(self, event: Event) -> bytes:
        raise ZeroDivisionError("a fault in a translation")

    def cut_off(self, reason: str) -> bytes:
        return reason.encode()


async def test_a_large_response_is_complete_and_its_events_are_made_one_by_one(speaking: ApiClient) -> None:
    body = {"input": "8", "stream": True}
    answer = await speaking.ask("POST", "//v1/responses", body)
    text = PIECE * 8
    done = [event for event in answer.body.split(b"\n\n") if event.startswith(b"event: response.output_text.done")]
    assert len(done) == 1
    assert text.encode() in done[0]
    assert answer.body.count(text.encode()) == 4  # the text, the part, the item and the response
    assert answer.body.rstrip().rpartition(b"event: ")[2].startswith(b"response.completed")


async def test_a_large_response_that_is_read_later_comes_from_its_message(speaking: ApiClient) -> None:
    created = await speaking.ask("POST", "//v1/responses", {"input": "8"})
    path = f"//v1/responses/{created.json['id']}?stream=true"
    later = await speaking.ask("GET", path)
    assert later.body.count((PIECE * 8).encode()) == 4 + 1  # and the delta


async def test_text_beyond_the_memory_for_translations_ends_the_stream() -> None:
    held = HeldText(1_000)
    watchers = [
        Watcher(cast(Reader, None), 0, 0, token_id="", owner_id=owner, held=held) for owner in ("a", "a", "b", "c")
    ]
    for watcher in watchers[:2]:
        watcher.hold_text(250)
    assert not any(_is_ended(watcher) for watcher in watchers)
    watchers[1].hold_text(1)  # more than the owner's half
    watchers[2].hold_text(499)
    assert [_is_ended(watcher) for watcher in watchers] == [False, True, False, False]
    watchers[3].hold_text(1)  # more than the total
    assert _is_ended(watchers[3])
    for watcher in watchers:
        watcher.release_text()
    assert len(held) == 0


def _is_ended(watcher: Watcher) -> bool:
    batch = watcher.next_batch_nowait() if watcher._bye is not None else None
    return watcher.is_closed and (batch is None or batch.frames[0].type == "bye")


async def test_a_request_without_a_stream_is_refused_when_its_token_is_revoked() -> None:
    async with open_api() as admin:
        api = await admin.as_owner("revoked soon")
        asking = asyncio.create_task(api.ask("POST", "//v1/responses", {"input": "/stall 60"}))
        await wait_until(lambda: len(api.instance.watch) == 1)
        await api.instance.tokens.revoke(api.token_id)
        answer = await asking
        assert answer.status == 401
        assert answer.json["error"]["code"] == "invalid_api_key"


async def test_a_fault_in_a_translation_ends_its_own_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    async with open_api() as api:
        chat_id = await api.make_chat()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            opened = api.instance.watch.open_watcher(chat_id, (1, 0))
            await TranslatedStream(opened, await opened.__aenter__(), _Sizes())(scope, receive, send)

        server = await start_server(app, Options(port=0))
        wire = await Wire.open(int(server.url.rpartition(":")[2]))
        other = await api.stream(f"/chats/{chat_id}/stream?after=1")
        try:
            wire.send(make_request("GET", "/", token=None))
            await wire.read_head()
            await api.send(chat_id, "/say hi")
            await other.until("turn_ended")
            assert b"begin" in await wire.reader.read()
            assert "ZeroDivisionError" in caplog.text
        finally:
            await wire.close()
            await other.close()
            await server.aclose()


async def test_a_translated_watcher_is_not_behind_while_it_has_bytes() -> None:
    watcher = Watcher(cast(Reader, None), 0, 0, token_id="", owner_id="", held=HeldText(1))
    translated = TranslatedWatcher(watcher, _Sizes())
    assert not translated.is_behind
    assert not translated.is_closed
    chunk = translated.next_batch_nowait()
    assert chunk is not None
    assert chunk.chunked == b"6\r\nbegin\n\r\n"
