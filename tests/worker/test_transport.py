"""The model transport against real sockets: reuse, deadlines, proxies, TLS, and peers without measure."""

from __future__ import annotations

import asyncio
import gzip
import resource
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from antiphon.errors import AttemptFailed, Invalid
from antiphon.models.connecting import ConnectFailed, Connector, Origin, Proxy, proxy_of
from antiphon.models.openai import OpenAIModel
from antiphon.models.registry import make_model
from antiphon.models.response import ResponseBroken
from antiphon.models.transport import Transport
from support.tcp_server import open_tcp_server
from support.waiting import DEADLINE_S, wait_until

from .asking import KEY, request, text
from .raw_provider import STOP, answer_of, ask, head, read_request, said, sending, sse

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
MIB = 1024 * 1024


@asynccontextmanager
async def transport_to(port: int, **options: float) -> AsyncIterator[Transport]:
    transport = Transport(Connector(Origin.parse(f"http://127.0.0.1:{port}/v1")), **options)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.aclose()


async def post(transport: Transport, *, within_s: float = 10.0) -> bytes:
    """The whole body of one answer."""
    response = await transport.post("/x", {}, b"{}", deadline=asyncio.get_running_loop().time() + within_s)
    try:
        body = b""
        while chunk := await response.read():
            body += chunk
        return body
    finally:
        response.close()


def answering(*answers: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """One answer for each request of a connection; then it is closed."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return handle


# --- connections


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX: trailer\r\n\r\n"
    async with open_tcp_server(answering(OK, chunked, OK)) as port, transport_to(port) as transport:
        assert [await post(transport) for _ in range(3)] == [b"hi", b"ab", b"hi"]
        assert transport.open_count == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi"),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"hi"),
    ],
    ids=["close", "1.0", "ended by its connection", "with another answer behind it"],
)
async def test_a_connection_that_cannot_be_used_again_is_not(answer: bytes, body: bytes) -> None:
    async with open_tcp_server(answering(answer)) as port, transport_to(port) as transport:
        assert [await post(transport) for _ in range(3)] == [body] * 3


async def test_an_idle_connection_that_the_server_closes_is_not_used_again() -> None:
    async with open_tcp_server(answering(OK)) as port, transport_to(port) as transport:
        for _ in range(3):
            assert await post(transport) == b"hi"
            await wait_until(lambda: transport.open_count == 0)


async def test_a_kept_connection_that_closes_as_it_is_used_is_replaced_once() -> None:
    requests = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(OK)
        await reader.readuntil(b"{}")  # the next request came: it is closed without an answer
        writer.transport.abort()

    async with open_tcp_server(handle) as port, transport_to(port) as transport:
        assert [await post(transport), await post(transport)] == [b"hi", b"hi"]
        assert requests == 2


async def test_a_request_that_must_not_be_repeated_gets_a_new_connection() -> None:
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await read_request(reader))[0])
        writer.write(OK)
        await reader.readuntil(b"{}")  # a second request on this connection
        writer.transport.abort()

    async with open_tcp_server(handle) as port, transport_to(port) as transport:
        assert await post(transport) == b"hi"
        deadline = asyncio.get_running_loop().time() + 10.0
        response = await transport.request("DELETE", "/x", {}, b"", deadline=deadline, is_repeatable=False)
        assert await response.read() == b"hi"
        response.close()
        assert seen == ["POST /v1/x HTTP/1.1", "DELETE /v1/x HTTP/1.1"]


async def test_an_idle_connection_that_says_something_is_closed() -> None:
    unasked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await unasked.wait()
        writer.write(OK)
        await reader.read()

    async with open_tcp_server(handle) as port, transport_to(port) as transport:
        assert await post(transport) == b"hi"
        unasked.set()
        await wait_until(lambda: transport.open_count == 0)


async def test_idle_connections_are_closed_after_their_time() -> None:
    async with open_tcp_server(answering(OK, OK)) as port, transport_to(port, idle_s=0.05) as transport:
        assert await post(transport) == b"hi"
        assert transport.open_count == 1
        await wait_until(lambda: transport.open_count == 0)


async def test_no_more_connections_are_opened_than_allowed() -> None:
    async with open_tcp_server(sending()) as port, transport_to(port, connections_max=0) as transport:
        with pytest.raises(ConnectFailed, match="in use"):
            await post(transport)


async def test_interim_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with open_tcp_server(answering(early + OK, OK)) as port, transport_to(port) as transport:
        assert [await post(transport) for _ in range(2)] == [b"hi", b"hi"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "was closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 20, "interim"),
    ],
    ids=["nothing", "ssh", "upgrade", "cut", "no chunk", "two lengths", "interim"],
)
async def test_a_broken_answer_says_what_is_wrong(raw: bytes, why: str) -> None:
    async with open_tcp_server(answering(raw)) as port, transport_to(port) as transport:
        with pytest.raises(ResponseBroken, match=why):
            await post(transport)
        await wait_until(lambda: transport.open_count == 0)


async def test_a_deadline_that_is_moved_nearer_holds() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh")
        await reader.read()

    async with open_tcp_server(handle) as port, transport_to(port) as transport:
        loop = asyncio.get_running_loop()
        response = await transport.post("/x", {}, b"{}", deadline=loop.time() + 3600)
        assert await response.read() == b"h"
        response.deadline = loop.time() + 0.05
        with pytest.raises(TimeoutError):
            await response.read()
        response.close()


async def test_comments_are_no_silence() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head())
        for _ in range(8):
            writer.write(b": keep-alive\n\n")
            await asyncio.sleep(0.3)  # in all longer than the silence that is allowed
        writer.write(sse(said("Hi"), STOP))

    async with open_tcp_server(handle) as port:
        assert text(await ask(port, model_idle_s=2.0)) == "Hi"


async def test_the_rest_behind_done_is_awaited_for_the_connections_sake_and_not_by_the_answer() -> None:
    release = asyncio.Event()
    body = sse(said("Hi"), STOP)
    begin = head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n" % (len(body), body)
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(begin)
            await release.wait()
            writer.write(b"0\r\n\r\n")

    async with open_tcp_server(handle) as port:
        model = OpenAIModel("m", base_url=f"http://127.0.0.1:{port}")
        assert text([event async for event in model.stream(request())]) == "Hi"
        release.set()
        await wait_until(lambda: len(model._transport._idle) == 1)
        assert text([event async for event in model.stream(request())]) == "Hi"
        assert connections == 1
        await model.aclose()


@pytest.mark.parametrize("done", [True, False], ids=["done", "finish reason only"])
async def test_an_answer_whose_connection_stays_open_is_complete_and_leaves_no_connection(done: bool) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        body = sse(said("Hi"), STOP, done=done)
        writer.write(head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n" % (len(body), body))
        await reader.read()

    async with open_tcp_server(handle) as port:
        model = OpenAIModel("m", base_url=f"http://127.0.0.1:{port}", finished_s=0.2)
        for _ in range(5):
            assert text([event async for event in model.stream(request())]) == "Hi"
        await wait_until(lambda: model._transport.open_count == 0)
        await model.aclose()


# --- TLS and proxies


@pytest.fixture
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's side and the client's, for models.example.com."""
    authority = trustme.CA()
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("models.example.com").configure_cert(server_side)
    authority.configure_trust(client_side)
    return server_side, client_side


async def test_a_proxy_tunnels_tls_and_is_given_its_credentials(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server_side, client_side = certificates
    asked: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(copy(reader, target_writer))
                group.create_task(copy(target_reader, writer))
        finally:
            target_writer.transport.abort()

    async with open_tcp_server(answering(OK, OK), tls=server_side) as target_port, open_tcp_server(proxy) as port:
        env = {"HTTPS_PROXY": f"http://us%40er:secret@127.0.0.1:{port}"}
        origin = Origin.parse("https://models.example.com:8443/v1")
        transport = Transport(Connector(origin, proxy=proxy_of(origin, env), tls_context=client_side))
        assert [await post(transport) for _ in range(2)] == [b"hi", b"hi"]
        await transport.aclose()
    (tunnel,) = asked
    assert tunnel.startswith("CONNECT models.example.com:8443 HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {b64encode(b'us@er:secret').decode()}\r\n" in tunnel


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_a_proxy_is_asked_for_plain_addresses_as_a_whole() -> None:
    lines: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await read_request(reader))[0])
        writer.write(OK)

    async with open_tcp_server(proxy) as port:
        origin = Origin.parse("http://models.example.com/v1")
        transport = Transport(Connector(origin, proxy=Proxy(host="127.0.0.1", port=port)))
        assert await post(transport) == b"hi"
        await transport.aclose()
    assert lines == ["POST http://models.example.com/v1/x HTTP/1.1"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "status 407"),
        (b"", "closed"),
        (b"x" * 40_000, "too long"),
    ],
)
async def test_a_proxy_that_refuses_is_named(answer: bytes, why: str) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with open_tcp_server(proxy) as port:
        origin = Origin.parse("https://models.example.com")
        transport = Transport(Connector(origin, proxy=Proxy(host="127.0.0.1", port=port)))
        with pytest.raises(ConnectFailed, match=why):
            await post(transport)
        await transport.aclose()


@pytest.mark.parametrize(
    ("env", "host", "expected"),
    [
        ({}, "a.example.com", None),
        ({"https_proxy": "http://p:1"}, "a.example.com", "p"),
        ({"HTTPS_PROXY": "p:1"}, "a.example.com", "p"),
        ({"all_proxy": "http://p:1"}, "a.example.com", "p"),
        ({"http_proxy": "http://p:1"}, "a.example.com", None),
        ({"https_proxy": "http://p:1", "no_proxy": "example.com"}, "a.example.com", None),
        ({"https_proxy": "http://p:1", "no_proxy": ".example.com"}, "a.example.com", None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "x, a.example.com:443"}, "a.example.com", None),
        ({"https_proxy": "http://p:1", "no_proxy": "a.example.com:8443"}, "a.example.com", "p"),
        ({"https_proxy": "http://p:1", "no_proxy": "ample.com"}, "a.example.com", "p"),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, "a.example.com", None),
    ],
)
def test_the_environment_names_the_proxy(env: dict[str, str], host: str, expected: str | None) -> None:
    proxy = proxy_of(Origin.parse(f"https://{host}/v1"), env)
    assert (proxy.host if proxy else None) == expected


@pytest.mark.parametrize("url", ["socks5://p:1", "https://p:1", "http://", "http://p:abc", "p:99999"])
def test_a_proxy_that_is_not_supported_is_refused_by_name(url: str) -> None:
    env = {"all_proxy": url, "OPENAI_BASE_URL": "https://models.example.com"}
    with pytest.raises(Invalid, match="http://"):
        make_model("openai:m", env=env)


@pytest.mark.parametrize(
    "url", ["", "example.com", "ftp://x", "http://", "http://x:99999", "http://ä", "http://u:p@x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        Origin.parse(url)


@pytest.mark.parametrize("host", ["example.com", "exa mple.com", "example.com:abc", "ä"])
def test_an_address_with_credentials_is_refused_without_repeating_them(host: str) -> None:
    with pytest.raises(Invalid) as refused:
        Origin.parse(f"http://user:swordfish@{host}/v1")
    assert "swordfish" not in str(refused.value)


# --- keys


@pytest.mark.parametrize("key", ["sk-abc\n", "sk-\nabc", "sk-äöü", "sk-abc\r\nX-Evil: 1", "sk\u2028abc", "sk\x00"])
async def test_a_key_that_no_header_can_hold_is_an_auth_failure(key: str) -> None:
    model = OpenAIModel("m", api_key=key, base_url="http://127.0.0.1:9")
    with pytest.raises(AttemptFailed, match="the API key has a line break or a character") as failed:
        [event async for event in model.stream(request())]
    assert (failed.value.kind, failed.value.retryable) == ("auth", False)
    assert key not in str(failed.value)


# --- peers without measure


def rss_mib() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / MIB


class Stalls:
    """The longest time in which the event loop did nothing else, in seconds."""

    async def __aenter__(self) -> Stalls:
        self.longest_s = 0.0
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.perf_counter() - start)


def endless(first: bytes, piece: bytes, *, total: int = 400 * MIB) -> Callable[..., Awaitable[None]]:
    """Writes without end, as far as the client takes it, and at most `total` bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(first)
        for _ in range(total // len(piece)):
            writer.write(piece)
            await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("first", "piece", "why"),
    [
        (head(500), b"x" * 65536, "status 500"),
        (head(400, Transfer_Encoding="chunked"), b"10000\r\n" + b"x" * 65536 + b"\r\n", "status 400"),
        (head(429) + b'{"error": {"message": "', b"slow down " * 6553, "slow down"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000 + b"\r\n", "headers have no end"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65536, "headers have no end"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
            b"a" * 65536,
            "have no end|cut off",
        ),
        (head(Transfer_Encoding="chunked") + b"2;x=", b"a" * 65536, "cut off"),
        (head(), b"\n" * 65536, "without any content"),
        (head(), b": keep-alive\n\n" * 4096, "without any content"),
        pytest.param(head(), b"data: 1\n\n" * 4096, "without any content", marks=pytest.mark.slow),  # as lists
        (head(), b"data: [[]]\n\n" * 4096, "without any content"),
        (head() + b"data: ", b"x" * 65536, "longer than"),
        (head() + b'{"choices": [{"delta": {"content": "', b"x" * 65536, "longer than"),
        (head(), b"data: x\n" * 8192, "longer than|without any content"),
    ],
    ids=[
        "500",
        "400 chunked",
        "429 with words",
        "headers",
        "one header",
        "trailer",
        "chunk extension",
        "newlines",
        "comments",
        "numbers",
        "lists",
        "one line",
        "one JSON text",
        "one event",
    ],
)
async def test_a_body_without_end_is_a_failure_in_bounded_memory(first: bytes, piece: bytes, why: str) -> None:
    before = rss_mib()
    async with open_tcp_server(endless(first, piece)) as port:
        with pytest.raises(AttemptFailed, match=why):
            await ask(port)
    assert rss_mib() - before < 200


BOMBS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: b'data: {"choices": [' + b"{}," * 5_000_000 + b"{}]}\n\n",
    "lists": lambda: b"data: [" + b"[]," * 5_000_000 + b"1]\n\n",
    "strings": lambda: b'data: {"x": [' + b'"a",' * 3_900_000 + b"1]}\n\n",
    "deep lists": lambda: b"[" * 10_000_000,
    "deep objects": lambda: b'{"a":' * 3_000_000,
    "deep event": lambda: b"data: " + b"[" * 1_000_000 + b"\n\n",
    "torn string": lambda: b'data: {"choices":[{"delta":{"content":"' + b'\\"' * 560_000,
    "torn text": lambda: b'{"choices":[{"delta":{"content":"' + b"x" * MIB + b'\\"' * 30_000,
    "lines": lambda: b"{}\n" * 5_000_000,
    "blank lines": lambda: b"{}" + b"\n" * (15 * MIB) + b"{}",
    "pieces of a call": lambda: sse(
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": " "}}] * 31_000}}]}
    ),
    "choices": lambda: sse({"choices": [{"delta": {"content": "x"}}] * 20_000}),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_json_bomb_is_a_failure_in_bounded_memory(name: str) -> None:
    bomb = BOMBS[name]()
    before = rss_mib()
    async with asyncio.timeout(DEADLINE_S):  # the regular expression of an earlier version took minutes
        with pytest.raises(AttemptFailed):
            await answer_of(bomb)
    assert rss_mib() - before < 250


@pytest.mark.parametrize("status", [200, 500])
async def test_a_compressed_body_is_refused_and_not_unpacked(status: int) -> None:
    bomb = gzip.compress(b"\n" * (200 * MIB), 9)
    async with open_tcp_server(sending(head(status, Content_Encoding="gzip"), bomb)) as port:
        with pytest.raises(AttemptFailed, match=r"compressed \(gzip\)" if status == 200 else "status 500"):
            await ask(port)


async def test_no_coding_is_asked_for() -> None:
    seen: list[dict[str, str]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await read_request(reader))[1])
        writer.write(head(Content_Encoding="identity") + sse(said("Hi"), STOP))

    async with open_tcp_server(handle) as port:
        assert text(await ask(port)) == "Hi"
    assert seen[0]["accept-encoding"] == "identity"
    assert seen[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "piece", [b"\n" * 65536, sse(said("x"), done=False) * 500, b"data: {}\n\n" * 6000], ids=["lines", "text", "empty"]
)
async def test_the_loop_has_its_turns_while_a_fast_answer_is_read(piece: bytes) -> None:
    """By the share of the time that one stretch takes, not by the clock: the machine may be busy."""
    async with open_tcp_server(endless(head(), piece, total=3 * MIB)) as port:
        start = time.perf_counter()
        async with Stalls() as stalls:
            with pytest.raises(AttemptFailed):
                await ask(port)
        whole_s = time.perf_counter() - start
    assert stalls.longest_s < whole_s / 2


async def test_an_error_body_that_comes_slowly_is_not_awaited_for_ever() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head(429, Retry_After="7") + b'{"error": ')
        await reader.read()

    async with open_tcp_server(handle) as port:
        with pytest.raises(AttemptFailed, match="status 429") as failed:
            await ask(port, model_first_byte_s=0.2)
    assert failed.value.retry_after_s == 7.0


async def test_a_slow_reader_holds_up_the_server_and_no_memory() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with open_tcp_server(handle) as port, transport_to(port) as transport:
        response = await transport.post("/x", {}, b"{}", deadline=asyncio.get_running_loop().time() + 60)
        await response.read()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 32 * MIB  # what the sockets hold
        size = 0
        while chunk := await response.read():
            size += len(chunk)
        response.close()
        assert size > 60 * MIB
