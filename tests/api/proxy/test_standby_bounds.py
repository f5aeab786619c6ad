"""The limits of a standby: waiting, buffered bodies, cached secrets and the size of responses."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.operations import OPERATIONS
from antiphon.api.proxy.accepted import UNKNOWN, AcceptedSecrets
from antiphon.local.lock import claim_data
from antiphon.observe.metrics import METRICS
from api.http.wire import Wire, make_request
from support.tcp_server import open_tcp_server
from support.waiting import DEADLINE_S, wait_until

from .test_standby import OK, fake_primary, open_standby_app, point_to

pytestmark = pytest.mark.anyio


async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Close the connection without a response."""


@pytest.mark.parametrize("path", ["/api/v1/chats/x/stream", "/api/v1/chats"])
@pytest.mark.parametrize("line", ["host: 127.0.0.1", "x-any: a \t"])
async def test_a_head_that_cannot_be_forwarded_is_refused_at_once(tmp_path: Path, path: str, line: str) -> None:
    """The server accepts it, and the client that forwards it does not, so a retry changes nothing."""
    data = tmp_path / "data"

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with fake_primary(data, answer), open_standby_app(data) as standby:
        wire = await Wire.open(standby.port)
        wire.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{line}\r\n\r\n".encode())
        async with asyncio.timeout(DEADLINE_S):
            status, _ = await wire.read_head()
        assert status in (200, 400), "cleaned and forwarded, or refused"


@pytest.mark.parametrize(("method", "target"), [("GET", "/api/v1/chats/../../../x"), ("OPTIONS", "*")])
async def test_a_target_is_forwarded_unchanged(tmp_path: Path, method: str, target: str) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with fake_primary(tmp_path / "data", answer) as asked, open_standby_app(tmp_path / "data") as standby:
        reply = await standby.ask(method, target)
        assert reply.status == 200
        assert asked[0].startswith(f"{method} {target} HTTP/1.1\r\n".encode())


async def test_a_request_of_a_disconnected_client_is_cancelled(tmp_path: Path) -> None:
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
            async with open_standby_app(data) as standby:
                wire = await Wire.open(standby.port)
                wire.send(make_request("GET", "/api/v1/chats"))
                await wait_until(asked.is_set, "the primary receives the request")
                await wire.close()
                await wait_until(left.is_set, "the standby closes its connection to the primary")


@pytest.mark.parametrize("path", ["/api/v1/chats", "/v1/responses"])
async def test_bodies_of_waiting_requests_count_towards_the_maximum_of_all_bodies(tmp_path: Path, path: str) -> None:
    http = HttpLimits(bodies_bytes_max=1000, small_bytes_max=100)
    is_finished = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await is_finished.wait()

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_app(tmp_path / "data", http) as standby:
        waiting = asyncio.create_task(standby.ask("POST", path, {"title": "x" * 800}))
        await wait_until(lambda: bool(asked), what="the request is forwarded")
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await standby.ask("POST", path, {"title": "x" * 800})
            assert answer.status == 503
            assert b"the memory for request bodies is full" in answer.body
        finally:
            is_finished.set()
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
async def test_secrets_that_the_primary_has_not_accepted_share_one_part_of_the_memory(
    tmp_path: Path, invented: list[dict[str, str]]
) -> None:
    http = HttpLimits(bodies_bytes_max=1000, owner_bytes_max=500, small_bytes_max=100)
    is_finished = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"x" * 400 in request and b"good" not in request:
            await is_finished.wait()
        is_refused = b"good" not in request and b"/openapi.json" not in request
        writer.write(OK.replace(b"200 OK", b"401 Unauthorized") if is_refused else OK)

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_app(tmp_path / "data", http) as standby:
        for headers in (by_bearer("good"), *invented):
            for path in ("/api/v1/chats", "/openapi.json"):  # the second is open to all, so it shows nothing
                await standby.ask("GET", path, **headers)
        seen = len(asked)
        body = {"title": "x" * 400, "client_message_id": "m"}
        asks = [asyncio.create_task(standby.ask("POST", "/api/v1/chats", body, **headers)) for headers in invented]
        try:
            await wait_until(lambda: sum(ask.done() for ask in asks) == 3, what="all but one are refused")
            assert [ask.result().status for ask in asks if ask.done()] == [429] * 3
            await wait_until(lambda: len(asked) == seen + 1, what="that request is forwarded")
            answer = await standby.ask("POST", "/api/v1/chats", body, **by_bearer("good"))
            assert answer.status == 200, "an accepted secret has its own share"
        finally:
            is_finished.set()
            await asyncio.wait(asks)


async def test_the_cache_of_accepted_secrets_is_bounded_and_drops_a_refused_secret() -> None:
    secrets = AcceptedSecrets(2)
    operation = next(operation for operation in OPERATIONS if operation.path == "/chats")
    requests = [
        Request({"type": "http", "headers": [(b"authorization", b"Bearer %d" % number)]}) for number in range(3)
    ]
    for request in (requests[0], requests[1], requests[0], requests[2]):
        secrets.note(request, operation, 200)
    assert [secrets.sender_of(request) != UNKNOWN for request in requests] == [True, False, True]
    secrets.note(requests[0], operation, 401)
    assert secrets.sender_of(requests[0]) == UNKNOWN


async def test_a_stopping_standby_refuses_waiting_requests(tmp_path: Path) -> None:
    is_finished = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await is_finished.wait()

    async with fake_primary(tmp_path / "data", behave) as asked:
        async with open_standby_app(tmp_path / "data") as standby:
            waiting = asyncio.create_task(standby.ask("GET", "/api/v1/chats"))
            await wait_until(lambda: bool(asked), what="the request is forwarded")
        is_finished.set()
        answer = await waiting
        assert answer.status == 503, answer.body
        assert answer.code == "unavailable"


async def test_a_takeover_resets_the_metric_of_an_unresponsive_primary(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with fake_primary(data, hang_up), open_standby_app(data, token="t", silent_s=0.05) as standby:
        (tmp_path / "data" / "token").write_text("t")
        await wait_until(lambda: standby.primary.is_silent, what="the silence is detected")
        assert (await standby.ask("GET", "/metrics", **standby.bearer())).status == 200
        assert METRICS.primary_silent._value.get() > 0

        async def own_app(scope: Any, receive: Any, send: Any) -> None:
            """The app of this process's own instance."""

        standby.app.succeed(own_app)
        assert METRICS.primary_silent._value.get() == 0


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"500 Internal Server Error"])
@pytest.mark.parametrize("path", ["/api/v1/chats", "/api/v1/chats/x/stream"])
async def test_an_endless_response_of_a_primary_is_not_read_to_its_end(
    tmp_path: Path, status: bytes, path: str
) -> None:
    limits = {"answer_bytes_max": 1024 * 1024, "event_bytes_max": 1024 * 1024}
    sent = 0

    async def flood(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing() and sent < 64 * 1024 * 1024:
                writer.write(b"data: x" * 10_000)
                sent += 70_000
                await writer.drain()

    async with fake_primary(tmp_path / "data", flood), open_standby_app(tmp_path / "data", **limits) as standby:
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
    assert sent < 64 * 1024 * 1024, "reading stops at the maximum"
