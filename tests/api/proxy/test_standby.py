"""The HTTP API of a standby, with well-behaved and misbehaving primaries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.server import start_server
from antiphon.api.proxy.app import StandbyApp
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import with_id
from antiphon.api.proxy.stream import EventBlocks
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.local.lock import INSTANCE_NAME, InstanceFile, claim_data, read_instance_file, write_instance_file
from antiphon.options import Options
from antiphon.server.announcement import announce_primary, local_token
from antiphon.server.open_instance import open_instance
from api.http.wire import Answer, Stream, Wire, close_wires, make_request
from support.tcp_server import open_tcp_server
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

# --- splitting a stream into events ----------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.text(max_size=30), st.booleans()), max_size=12
)


def sse(seq: int, position: int, text: str, has_id: bool) -> bytes:
    data = json.dumps({"type": "delta", "text": text, "event: bye": "id: 9.9"}, ensure_ascii=False)
    head = b"id: %d.%d\n" % (seq, position) if has_id else b""
    return b"%bevent: delta\ndata: %b\n\n" % (head, data.encode("utf-8", "replace"))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from(["", "shutdown", "idle", "slow"]))
def test_event_blocks_pass_on_whole_events_however_the_bytes_are_split(
    events: list[Any], places: list[int], farewell: str
) -> None:
    sent = b"".join(sse(*event) for event in events)
    bye = f'event: bye\ndata: {{"type":"bye","reason":"{farewell}"}}\n\n'.encode() if farewell else b""
    blocks = EventBlocks()
    seen = b"".join(blocks.feed(piece) for piece in cut(sent + bye, places))
    assert seen == sent + (b"" if farewell == "shutdown" else bye)
    assert blocks.farewell == farewell
    ids = [f"{seq}.{position}" for seq, position, _, has_id in events if has_id]
    assert blocks.cursor == (ids[-1] if ids else None)


@given(EVENTS.filter(bool), st.integers(1, 10_000))
def test_event_blocks_drop_an_incomplete_event(events: list[Any], place: int) -> None:
    """Its primary was lost; the next one sends the whole event."""
    data = b"".join(sse(*event) for event in events)
    blocks = EventBlocks()
    first = blocks.feed(data[: place % len(data)])
    assert data.startswith(first)
    assert first == b"" or first.endswith(b"\n\n")
    blocks.restart()
    assert first + blocks.feed(data[len(first) :]) == data


def test_event_blocks_reject_an_event_beyond_the_maximum_size() -> None:
    with pytest.raises(OverflowError):
        EventBlocks(bytes_max=100).feed(b"data: " + b"x" * 100)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"\xff", b"[" * 10_000])
def test_a_body_that_is_not_a_json_object_gets_no_id(body: bytes) -> None:
    assert with_id(body, "id") is None


def test_a_body_keeps_its_id_or_gets_one() -> None:
    own = b'{ "id": "mine", "n": 1.50 }'
    assert with_id(own, "id") == own
    for body in (b"{}", b'{"id":null}', b'{"id": ""}'):
        given_one = json.loads(with_id(body, "id") or b"")
        assert len(given_one["id"]) == 36
    with_new_id = with_id(b'{"n":1.50,"s":"\\u2028"}', "id")
    assert with_new_id is not None
    assert b'"n":1.50,"s":"\\u2028"' in with_new_id, "the other fields are unchanged"


# --- with a real primary --------------------------------------------------------------------------


class Standby:
    def __init__(self, app: StandbyApp, primary: Primary, port: int, token: str = "") -> None:
        self.app = app
        self.primary = primary
        self.port = port
        self.token = token

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        wire = await Wire.open(self.port)
        data = json.dumps(body).encode() if body is not None else b""
        wire.send(make_request(method, path, headers={"content-length": str(len(data))} | headers) + data)
        try:
            return await wire.read_answer()
        finally:
            await wire.close()

    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@asynccontextmanager
async def open_standby_app(
    data: Path,
    http: HttpLimits = HttpLimits(),
    *,
    token: str = "",
    **limits: Any,
) -> AsyncIterator[Standby]:
    settings = Options.make({"port": 0})
    primary = Primary(data, ProxyLimits(**limits))
    app = StandbyApp(instance_id="the standby", data=data, options=settings, primary=primary, http=http)
    server = await start_server(app, settings)
    try:
        yield Standby(app, primary, int(server.url.rsplit(":", 1)[1]), token)
    finally:
        app.stop()
        await server.aclose()
        await primary.aclose()
        await close_wires()


@pytest.fixture
async def standby(tmp_path: Path) -> AsyncIterator[Standby]:
    data = tmp_path / "data"
    with claim_data(data, instance_id="the primary") as lock:
        async with (
            open_instance(data=data, lock=lock, port=0, drain_s=0.0) as instance,
            open_zmq_endpoint(instance, instance.asgi, data) as endpoint,
        ):
            server = await start_server(instance.asgi, instance.options)
            token = await local_token(instance, data)
            await instance.serve_at(server.url)
            announce_primary(instance, lock, endpoint, token=token)
            async with open_standby_app(data, token=token) as opened:
                yield opened
            instance.watch.end_all("shutdown", 500)
            await server.aclose()


async def test_a_cookie_of_one_client_is_not_sent_for_another(standby: Standby) -> None:
    signed_in = await standby.ask("POST", "/api/v1/session", {"token": standby.token})
    assert signed_in.status == 200
    cookie = signed_in.headers["set-cookie"].split(";")[0]
    assert (await standby.ask("GET", "/api/v1/chats")).status == 401
    assert (await standby.ask("GET", "/api/v1/chats", cookie=cookie)).status == 200
    assert (await standby.ask("GET", "/api/v1/chats")).status == 401


async def test_a_standby_forwards_the_stream_of_another_protocol_as_it_comes(standby: Standby) -> None:
    wire = await Wire.open(standby.port)
    body = json.dumps({"input": "/say begun\n/stall 600", "stream": True}).encode()
    wire.send(make_request("POST", "/v1/responses", token=standby.token, body=body))
    status, _ = await wire.read_head()
    assert status == 200
    data = b""
    async with asyncio.timeout(DEADLINE_S):
        while b"begun" not in data:
            data += await wire.read_chunk()
    await wire.close()
    response_id = json.loads(data.partition(b"data: ")[2].partition(b"\n")[0])["response"]["id"]
    answer = await standby.ask("POST", f"/v1/responses/{response_id}/cancel", **standby.bearer())
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    missing = await standby.ask("GET", "/v1/responses/x", **standby.bearer())
    assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")
    foreign = await standby.ask("GET", "/v1/models", origin="https://evil.example")
    assert (foreign.status, foreign.json["error"]["type"]) == (403, "permission_error")


async def test_a_standby_refuses_requests_of_foreign_web_pages(standby: Standby) -> None:
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        answer = await standby.ask("GET", "/api/v1/chats", **(standby.bearer() | headers))
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_metrics_of_a_standby_require_the_token_of_the_data_directory(standby: Standby) -> None:
    assert (await standby.ask("GET", "/metrics")).status == 401
    assert (await standby.ask("GET", "/metrics", authorization="Bearer wrong")).status == 403
    shown = await standby.ask("GET", "/metrics", **standby.bearer())
    assert shown.status == 200
    assert b"antiphon_primary_silent_seconds 0.0" in shown.body


async def test_the_web_ui_and_errors_are_forwarded_unchanged(standby: Standby) -> None:
    page = await standby.ask("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in page.headers
    again = await standby.ask("GET", "/", **{"if-none-match": page.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    wrong = await standby.ask("POST", "/api/v1/chats", {"title": 5}, **standby.bearer())
    assert (wrong.status, wrong.code) == (422, "invalid")
    large = await standby.ask("POST", "/api/v1/chats", {"content": "x" * 9_000_000}, **standby.bearer())
    assert (large.status, large.code) == (413, "too_large")


def for_instance(instance_id: str) -> dict[str, str]:
    return {"antiphon-target-instance": instance_id}


async def test_a_standby_does_not_forward_a_request_for_another_instance(standby: Standby) -> None:
    answer = await standby.ask("GET", "/api/v1/chats", **standby.bearer(), **for_instance("another"))
    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.headers["antiphon-elsewhere"] == "1"


async def test_a_primary_answers_only_requests_whose_target_it_is(standby: Standby) -> None:
    """Its address may have been used by another instance before."""
    found = read_instance_file(standby.app._data)
    assert found is not None
    primary = Standby(standby.app, standby.primary, int(found.http_url.rsplit(":", 1)[1]), standby.token)
    mine = await primary.ask("GET", "/api/v1/chats", **standby.bearer(), **for_instance("the primary"))
    assert mine.status == 200
    other = await primary.ask("GET", "/api/v1/chats", **standby.bearer(), **for_instance("the one before"))
    assert (other.status, other.headers["antiphon-elsewhere"]) == (503, "1")


# --- with a misbehaving primary ----------------------------------------------------------------

Behave = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def fake_primary(data: Path, behave: Behave) -> AsyncIterator[list[bytes]]:
    """A server that is announced as the primary, and the requests it received."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        body = await reader.readexactly(length)
        if b"/healthz" not in head:
            asked.append(head + body)
        await behave(head + body, writer)

    async with open_tcp_server(serve) as port:
        with claim_data(data, instance_id="fake"):
            point_to(data, port)
            yield asked


def point_to(data: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    write_instance_file(
        data,
        InstanceFile(
            instance_id="fake", pid=1, role="primary", version="0", http_url=url, token="t", started_at="2026-01-01"
        ),
    )


async def test_a_send_is_repeated_with_the_same_id_until_a_primary_responds(tmp_path: Path) -> None:
    count = 0

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 2:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{half")
        elif count == 3:
            writer.write(b"HTTP/1.1 503 X\r\nantiphon-elsewhere: 1\r\ncontent-length: 0\r\n\r\n")
        elif count == 4:
            writer.write(OK)

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_app(tmp_path / "data") as standby:
        answer = await standby.ask("POST", "/api/v1/chats/x/messages", {"content": "hello"})
        assert (answer.status, answer.body) == (200, b"{}")
        bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in asked]
        assert len(bodies) == 4
        assert len({body["client_message_id"] for body in bodies}) == 1
        assert all(b"antiphon-target-instance: fake" in request for request in asked)


async def test_all_requests_that_wait_for_the_next_primary_are_answered(tmp_path: Path) -> None:
    """Some are woken when others have started the next search."""
    data = tmp_path / "data"

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if asked_twice := len(asked) > 60:
            writer.write(OK)
        if not asked_twice and len(asked) % 7 == 0:
            (data / INSTANCE_NAME).unlink(missing_ok=True)
            asyncio.get_running_loop().call_later(0.03, point_to, data, port)

    async with fake_primary(data, behave) as asked, open_standby_app(data) as standby:
        found = read_instance_file(data)
        assert found is not None
        port = int(found.http_url.rsplit(":", 1)[1])
        answers = await asyncio.gather(*(standby.ask("GET", "/api/v1/chats") for _ in range(40)))
        assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["plain", "a key that this API has not"])
async def test_a_command_that_is_not_repeatable_is_sent_once(tmp_path: Path, headers: dict[str, str]) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        """Hang up."""

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_app(tmp_path / "data") as standby:
        answer = await standby.ask("POST", "/api/v1/chats/x/interrupt", {"turn_id": 2}, **headers)
        assert (answer.status, answer.code) == (503, "unavailable")
        assert b"check whether the command took effect" in answer.body
        assert len(asked) == 1


async def test_a_standby_does_not_forward_requests_to_itself(tmp_path: Path) -> None:
    """The address of a dead primary is used again, by this standby."""
    with claim_data(tmp_path / "data", instance_id="fake"):
        async with open_standby_app(tmp_path / "data", takeover_s=0.2) as standby:
            point_to(tmp_path / "data", standby.port)
            answer = await standby.ask("GET", "/api/v1/chats")
            assert (answer.status, answer.code) == (503, "unavailable")


async def test_a_standby_reports_an_unresponsive_primary_that_holds_the_lock(tmp_path: Path) -> None:
    is_finished = asyncio.Event()
    limits = {"silent_s": 0.2, "check_s": 0.05}

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await is_finished.wait()

    async with fake_primary(tmp_path / "data", behave), open_standby_app(tmp_path / "data", **limits) as standby:
        asking = asyncio.create_task(standby.ask("GET", "/api/v1/chats"))
        watching = asyncio.create_task(standby.primary.watch())
        await wait_until(lambda: standby.primary.is_silent, what="the silence is detected")
        assert (await standby.ask("GET", "/readyz")).status == 503
        answer = await standby.ask("GET", "/api/v1/chats")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert b"has not answered for" in answer.body
        assert (await asking).status == 503, "requests that were sent before are refused, too"
        is_finished.set()
        watching.cancel()
        await asyncio.wait({watching})


async def test_a_stream_is_resumed_at_the_last_cursor_that_was_sent(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    lives = [
        head + sse(1, 0, "a", True) + sse(2, 5, "b", True) + b"id: 3.0\nevent: del",
        head + sse(3, 0, "c", True) + b'event: bye\ndata: {"type":"bye","reason":"shutdown"}\n\n',
        head + b'event: bye\ndata: {"type":"bye","reason":"idle"}\n\n',
    ]
    left = iter(lives)

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(next(left))

    async with fake_primary(tmp_path / "data", behave) as asked, open_standby_app(tmp_path / "data") as standby:
        wire = await Wire.open(standby.port)
        wire.send(make_request("GET", "/api/v1/chats/x/stream?after=0", headers={"last-event-id": "0"}))
        status, headers = await wire.read_head()
        assert status == 200
        stream = Stream(wire, headers)
        events = await stream.rest()
        assert [event.id for event in events] == ["1.0", "2.5", "3.0", ""]
        assert events[-1].type == "bye"
        assert events[-1].json["reason"] == "idle"
        cursors = [request.lower().partition(b"last-event-id: ")[2].partition(b"\r\n")[0] for request in asked]
        assert cursors == [b"0", b"2.5", b"3.0"]
        await wire.close()
