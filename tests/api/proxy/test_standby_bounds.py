"""What a standby's door must not do: ask for ever, keep what nobody waits for, change what it hands on."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from antiphon.api.http import bodies
from antiphon.api.http.app import OPERATIONS
from antiphon.api.proxy import accepted, exchange, stream
from antiphon.api.proxy import primary as primaries
from antiphon.local.lock import claim_data
from antiphon.observe.metrics import METRICS
from api.http.wire import Wire, make_request
from support.tcp_server import open_tcp_server
from support.waiting import DEADLINE_S, wait_until

from .test_standby import OK, fake_primary, open_standby_door, point_to

pytestmark = pytest.mark.anyio


async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Nothing is answered."""


@pytest.mark.parametrize("path", ["/api/v1/chats/x/stream", "/api/v1/chats"])
@pytest.mark.parametrize("line", ["host: 127.0.0.1", "x-any: a \t"])
async def test_a_head_that_cannot_be_handed_on_is_refused_at_once(tmp_path: Path, path: str, line: str) -> None:
    """Here a server takes it, there the client that hands it on does not: asking again changes nothing."""
    data = tmp_path / "data"

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with fake_primary(data, answer), open_standby_door(data) as standby:
        wire = await Wire.open(standby.port)
        wire.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{line}\r\n\r\n".encode())
        async with asyncio.timeout(DEADLINE_S):
            status, _ = await wire.read_head()
        assert status in (200, 400), "tidied and handed on, or refused"


@pytest.mark.parametrize(("method", "target"), [("GET", "/api/v1/chats/../../../x"), ("OPTIONS", "*")])
async def test_a_target_is_handed_on_as_it_came(tmp_path: Path, method: str, target: str) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with fake_primary(tmp_path / "data", answer) as asked, open_standby_door(tmp_path / "data") as standby:
        reply = await standby.ask(method, target)
        assert reply.status == 200
        assert asked[0].startswith(f"{method} {target} HTTP/1.1\r\n".encode())


async def test_of_a_reader_that_left_nothing_is_asked_any_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asked, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    async with open_tcp_server(serve) as port:
        with claim_data(data, instance_id="fake"):
            point_to(data, port)
            async with open_standby_door(data) as standby:
                wire = await Wire.open(standby.port)
                wire.send(make_request("GET", "/api/v1/chats"))
                await wait_until(asked.is_set, "the standby asks the primary")
                await wire.close()
                await wait_until(left.is_set, "the standby leaves the primary")


async def test_bodies_that_wait_for_the_primary_are_within_the_bound_of_all_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", 1000)
    monkeypatch.setattr(bodies, "SMALL_BYTES_MAX", 100)
    is_over = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_door(tmp_path / "data") as standby:
        waiting = asyncio.create_task(standby.ask("POST", "/api/v1/chats", {"title": "x" * 800}))
        await wait_until(lambda: bool(asked), what="it is handed on")
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await standby.ask("POST", "/api/v1/chats", {"title": "x" * 800})
            assert (answer.status, answer.code) == (503, "unavailable")
        finally:
            is_over.set()
            waiting.cancel()
            await asyncio.wait({waiting})


def by_bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def by_cookie(secret: str) -> dict[str, str]:
    return {"cookie": f"antiphon_session={secret}"}


@pytest.mark.parametrize(
    "invented",
    [
        [by_bearer(f"invented {n}") for n in range(4)],
        [by_cookie(f"invented{n}") for n in range(4)],
        [{}, by_bearer("once"), by_cookie("twice"), {"authorization": "Basic x"}],
    ],
    ids=["bearers", "cookies", "mixed"],
)
async def test_secrets_that_the_primary_has_not_accepted_have_one_share_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invented: list[dict[str, str]]
) -> None:
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", 1000)
    monkeypatch.setattr(bodies, "OWNER_BYTES_MAX", 500)
    monkeypatch.setattr(bodies, "SMALL_BYTES_MAX", 100)
    is_over = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"x" * 400 in request and b"good" not in request:
            await is_over.wait()
        is_refused = b"good" not in request and b"/openapi.json" not in request
        writer.write(OK.replace(b"200 OK", b"401 Unauthorized") if is_refused else OK)

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_door(tmp_path / "data") as standby:
        for headers in (by_bearer("good"), *invented):
            for path in ("/api/v1/chats", "/openapi.json"):  # the second answers everyone, which proves nothing
                await standby.ask("GET", path, **headers)
        seen = len(asked)
        body = {"title": "x" * 400, "client_message_id": "m"}
        asks = [asyncio.create_task(standby.ask("POST", "/api/v1/chats", body, **headers)) for headers in invented]
        try:
            await wait_until(lambda: sum(ask.done() for ask in asks) == 3, what="all but one are refused")
            assert [ask.result().status for ask in asks if ask.done()] == [429] * 3
            await wait_until(lambda: len(asked) == seen + 1, what="that one is handed on")
            answer = await standby.ask("POST", "/api/v1/chats", body, **by_bearer("good"))
            assert answer.status == 200, "an accepted secret has its own share"
        finally:
            is_over.set()
            await asyncio.wait(asks)


async def test_accepted_secrets_are_bounded_and_a_refused_one_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepted, "ACCEPTED_MAX", 2)
    secrets = accepted.AcceptedSecrets()
    operation = next(operation for operation in OPERATIONS if operation.path == "/chats")
    requests = [
        Request({"type": "http", "headers": [(b"authorization", b"Bearer %d" % number)]}) for number in range(3)
    ]
    for request in (requests[0], requests[1], requests[0], requests[2]):
        secrets.note(request, operation, 200)
    assert [secrets.sender_of(request) != accepted.UNKNOWN for request in requests] == [True, False, True]
    secrets.note(requests[0], operation, 401)
    assert secrets.sender_of(requests[0]) == accepted.UNKNOWN


async def test_who_waits_at_a_standby_that_stops_is_sent_elsewhere(tmp_path: Path) -> None:
    is_over = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async with fake_primary(tmp_path / "data", behave) as asked:
        async with open_standby_door(tmp_path / "data") as standby:
            waiting = asyncio.create_task(standby.ask("GET", "/api/v1/chats"))
            await wait_until(lambda: bool(asked), what="it is handed on")
        is_over.set()
        answer = await waiting
        assert answer.status == 503, answer.body
        assert answer.code == "unavailable"


async def test_the_silence_of_a_primary_is_over_when_a_standby_succeeds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primaries, "SILENT_S", 0.05)
    async with fake_primary(tmp_path / "data", hang_up), open_standby_door(tmp_path / "data", "t") as standby:
        (tmp_path / "data" / "token").write_text("t")
        await wait_until(lambda: standby.primary.is_silent, what="it is noticed")
        assert (await standby.ask("GET", "/metrics", **standby.bearer())).status == 200
        assert METRICS.primary_silent._value.get() > 0

        async def own_door(scope: Any, receive: Any, send: Any) -> None:
            """The door of the instance that this process is now."""

        standby.door.succeed(own_door)
        assert METRICS.primary_silent._value.get() == 0


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"500 Internal Server Error"])
@pytest.mark.parametrize("path", ["/api/v1/chats", "/api/v1/chats/x/stream"])
async def test_the_endless_answer_of_a_primary_is_not_read_on(
    tmp_path: Path, status: bytes, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ANSWER_BYTES_MAX", 1024 * 1024)
    monkeypatch.setattr(stream, "EVENT_BYTES_MAX", 1024 * 1024)
    sent = 0

    async def flood(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing() and sent < 64 * 1024 * 1024:
                writer.write(b"data: x" * 10_000)
                sent += 70_000
                await writer.drain()

    async with fake_primary(tmp_path / "data", flood), open_standby_door(tmp_path / "data") as standby:
        wire = await Wire.open(standby.port)
        wire.send(make_request("GET", path))
        async with asyncio.timeout(DEADLINE_S):
            code, _ = await wire.read_head()
            if path.endswith("stream") and status.startswith(b"200"):
                while await wire.read_chunk():
                    pass
            else:
                assert code == 503
        await wire.close()
    assert sent < 64 * 1024 * 1024, "it is not read on and on"
