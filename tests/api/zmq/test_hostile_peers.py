"""Peers that do not keep to the protocol, on both sockets: they are dropped and counted, memory is bounded, and an
honest peer beside them is served."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.zmq.endpoint import ZmqEndpoint
from antiphon.api.zmq.limits import SocketLimits
from antiphon.api.zmq.sockets import QUEUED_LARGE_BYTES_MAX, SUBSCRIPTION_BYTES_MAX
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.wire.instance import CALL_BYTES_MAX
from antiphon.wire.jsonrpc import INVALID_REQUEST, PARSE_ERROR
from support.waiting import DEADLINE_S, wait_until

from .peers import Peer, RawPeer, open_endpoint, resident_bytes, unexpected_events

pytestmark = pytest.mark.anyio

GROWTH_BYTES_MAX = 150 * 1024 * 1024
"""What hostile peers may cost, and the test with them."""
FLOOD_GROWTH_BYTES_MAX = 600 * 1024 * 1024
"""The same of a flood of subscriptions, which libzmq stores until they are dropped."""
SOCKETS = ("pub", "rpc")


@asynccontextmanager
async def open_beside_an_honest_peer(
    data: Path, *, growth_bytes_max: int = GROWTH_BYTES_MAX, **options: Any
) -> AsyncIterator[tuple[Instance, ZmqEndpoint]]:
    """An instance with an honest peer, who is served at the end as at the beginning."""
    async with open_endpoint(data, **options) as (instance, endpoint), Peer(endpoint) as honest:
        await is_served(honest, endpoint)
        before = resident_bytes()
        yield instance, endpoint
        await is_served(honest, endpoint)
        assert resident_bytes() - before < growth_bytes_max


async def is_served(honest: Peer, endpoint: ZmqEndpoint) -> None:
    """It gets a response, and the events of its commands. After a flood its subscription may take a moment."""
    assert (await honest.ask("instance.ping"))["status"] == "ok"
    session_id = (await honest.ask("session.create", {"title": "honest"}))["id"]
    async with asyncio.timeout(DEADLINE_S):
        for n in range(10_000):
            await honest.ask("antiphon.command", {"session_id": session_id, "command": "rename", "title": f"{n}"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await honest.until("session.update", title=f"{n}", id=session_id)
                    return


def endpoint_of(endpoint: ZmqEndpoint, socket: str) -> str:
    return endpoint.pub_endpoint if socket == "pub" else endpoint.rpc_endpoint


def kind_of(socket: str) -> bytes:
    return b"SUB" if socket == "pub" else b"DEALER"


# --- before and after the handshake

BAD_GREETINGS = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    "random": random.Random(1).randbytes(20_000),
    "zeros": bytes(20_000),
    "ones": b"\xff" * 20_000,
    "another mechanism": RawPeer.GREETING.replace(b"NULL", b"EVIL"),
    "an old peer's frame of 2 GB": b"\xff" + (2**31).to_bytes(8, "big") + b"\0" * 100,
    "half a greeting": RawPeer.GREETING[:30],
    "a command that is none": RawPeer.GREETING + RawPeer.frame(b"\xffREADY", flags=RawPeer.COMMAND),
    "ready with garbage": RawPeer.GREETING + RawPeer.frame(b"\x05READY" + b"\xff" * 90, flags=RawPeer.COMMAND),
}


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_a_peer_whose_handshake_fails_is_dropped(tmp_path: Path, over_tcp: bool) -> None:
    failed = unexpected_events("failed_handshake")
    async with open_beside_an_honest_peer(tmp_path / "data", bus_tcp=over_tcp) as (_, endpoint):
        for socket in SOCKETS:
            for greeting in BAD_GREETINGS.values():
                async with RawPeer(endpoint_of(endpoint, socket)) as peer:
                    with contextlib.suppress(ConnectionError):
                        await peer.send(greeting)
        await wait_until(lambda: unexpected_events("failed_handshake") >= failed + 8)


BAD_FRAMES = {
    "random": random.Random(2).randbytes(20_000),
    "2 GB": RawPeer.frame(b"x" * 100, size=2**31),
    "2^63-1 bytes": RawPeer.frame(b"x" * 100, size=2**63 - 1),
    "2^64-1 bytes": RawPeer.frame(b"x" * 100, size=2**64 - 1),
    "2 GB of a command": RawPeer.frame(b"x" * 100, size=2**31, flags=RawPeer.COMMAND),
}


@pytest.mark.parametrize("over_tcp", [False, True])
async def test_a_frame_that_is_none_or_too_long_ends_its_connection(tmp_path: Path, over_tcp: bool) -> None:
    async with open_beside_an_honest_peer(tmp_path / "data", bus_tcp=over_tcp) as (_, endpoint):
        for socket in SOCKETS:
            longest = CALL_BYTES_MAX if socket == "rpc" else SUBSCRIPTION_BYTES_MAX
            for frame in (*BAD_FRAMES.values(), RawPeer.frame(b"x" * 100, size=longest + 1)):
                async with RawPeer(endpoint_of(endpoint, socket)) as peer:
                    await peer.shake_hands(kind_of(socket))
                    await peer.send(frame)
                    await peer.until_hung_up()


async def test_incomplete_frames_of_two_hundred_connections_delay_no_other_peer(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        _, endpoint = await stack.enter_async_context(open_beside_an_honest_peer(tmp_path / "data"))
        for n in range(200):
            socket = SOCKETS[n % 2]
            peer = await stack.enter_async_context(RawPeer(endpoint_of(endpoint, socket)))
            if n % 10 == 0:
                await peer.send(RawPeer.GREETING[: n // 4])
                continue
            await peer.shake_hands(kind_of(socket))
            size = CALL_BYTES_MAX if socket == "rpc" else SUBSCRIPTION_BYTES_MAX
            await peer.send(RawPeer.frame(b"x" * 500, size=size))


# --- calls


class Touch:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


async def test_a_pickle_is_no_call(tmp_path: Path) -> None:
    async with open_beside_an_honest_peer(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            await peer.send(pickle.dumps(Touch(tmp_path / "touched"), protocol=protocol))
            assert (await peer.answer())["error"]["code"] == PARSE_ERROR
        assert not (tmp_path / "touched").exists()


async def test_a_message_of_the_wrong_number_of_frames_is_refused_and_counted(tmp_path: Path) -> None:
    ping = b'{"jsonrpc":"2.0","id":1,"method":"instance.ping"}'
    wrong: list[list[bytes]] = [[b"", b"", ping], [b"x", ping], [b""] * 1_000, [ping] * 1_000, [b"", ping, b""]]
    async with open_beside_an_honest_peer(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        before = unexpected_events("malformed_call")
        for frames in wrong:
            await peer.rpc.send_multipart(frames)
            assert (await peer.answer())["error"]["code"] == INVALID_REQUEST
        await wait_until(lambda: unexpected_events("malformed_call") == before + len(wrong))
        await peer.rpc.send_multipart([ping])
        assert (await peer.answer())["result"]["status"] == "ok", "and this is the next answer"
        await peer.rpc.send_multipart([b""])
        assert (await peer.answer())["error"]["code"] == PARSE_ERROR, "no frame at all but the empty one"


def bombs() -> list[bytes]:
    call = b'{"jsonrpc":"2.0","id":1,"method":"session.get","params":%b}'
    deep = 100_000
    return [
        b"[" * deep,
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep + b"1" + b"}" * deep,
        call % (b"[" * deep + b"]" * deep),
        call % (b'{"session_id":' + b"[" * deep + b"]" * deep + b"}"),
        call % (b'{"session_id":' + b"9" * 1_000_000 + b"}"),
        call % b'{"session_id":1e999999999}',
        b'{"jsonrpc":"2.0","method":"x","id":%b}' % (b"9" * 1_000_000),
        b'{"jsonrpc":"2.0","method":"x","id":"%b"}' % (b"\\ud800" * 100_000),
        b"9" * 1_000_000,
        b'"' + b"\\" * 1_000_001,
        b'{"jsonrpc":"2.0","id":1,"method":"%b"}' % (b"m" * 1_000_000),
        b"[" + b",".join([b"1"] * 1_000_000) + b"]",
        b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(200_000)) + b"}",
        b"\0" * 8_000_000,
    ]


async def test_bombs_of_json_are_refused(tmp_path: Path) -> None:
    async with open_beside_an_honest_peer(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        for bomb in bombs():
            await peer.send(bomb)
            answer = await peer.answer()
            assert answer["error"]["code"] < 0, bomb[:60]


async def test_a_peer_that_reads_no_responses_delays_no_other_peer(tmp_path: Path) -> None:
    ping = RawPeer.frame(b"", flags=RawPeer.MORE) + RawPeer.frame(
        b'{"jsonrpc":"2.0","id":1,"method":"instance.ping"}'
    )
    async with open_beside_an_honest_peer(tmp_path / "data") as (_, endpoint), RawPeer(endpoint.rpc_endpoint) as peer:
        await peer.shake_hands(b"DEALER")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                for _ in range(200):
                    await peer.send(ping * 50)


async def test_what_waits_for_a_peer_that_reads_nothing_is_bounded_in_bytes(tmp_path: Path) -> None:
    growth = GROWTH_BYTES_MAX + 2 * QUEUED_LARGE_BYTES_MAX  # one peer's, and what 64 calls at once are made of
    async with (
        open_beside_an_honest_peer(tmp_path / "data", growth_bytes_max=growth) as (instance, endpoint),
        RawPeer(endpoint.rpc_endpoint) as peer,
    ):
        session_id = (await instance.chats.create(content="x" * 3_900_000)).chat_id
        params = b'{"session_id":"%b"}' % session_id.encode()
        call = RawPeer.frame(b'{"jsonrpc":"2.0","id":1,"method":"message.list","params":%b}' % params)
        await peer.shake_hands(b"DEALER")
        before = unexpected_events("dropped_answer")
        for _ in range(120):
            await peer.send(call)
        await wait_until(lambda: unexpected_events("dropped_answer") >= before + 120 - 20)
        async with Peer(endpoint) as honest:
            for _ in range(20):
                answer = await honest.ask("message.list", {"session_id": session_id})
                assert len(answer[0]["content"]) == 3_900_000, "who reads gets them all"


# --- subscriptions


async def test_a_message_that_is_no_subscription_is_counted(tmp_path: Path) -> None:
    async with open_beside_an_honest_peer(tmp_path / "data") as (_, endpoint), RawPeer(endpoint.pub_endpoint) as peer:
        before = unexpected_events("malformed_subscription")
        await peer.shake_hands(b"SUB")
        garbage = [b"", b"\2x", b"subscribe", b"\xff" * 4_000]
        await peer.send(b"".join(RawPeer.frame(body) for body in garbage))
        await wait_until(lambda: unexpected_events("malformed_subscription") >= before + len(garbage) - 1)


async def test_ending_a_subscription_that_a_peer_never_had_affects_no_other_peer(tmp_path: Path) -> None:
    async with (
        open_endpoint(tmp_path / "data") as (_, endpoint),
        Peer(endpoint, "message.append") as honest,
        RawPeer(endpoint.pub_endpoint) as peer,
    ):
        await honest.wait_subscribed(endpoint)
        await peer.shake_hands(b"SUB")
        await peer.send(b"".join(RawPeer.frame(b"\0nothing-%d" % n) for n in range(10)) + RawPeer.frame(b"\1mark"))
        await wait_until(lambda: len(endpoint._sockets.subscriptions) == 2)
        await honest.ask("session.create", {"content": "/say heard"})
        await honest.until("message.append", content="heard")


async def flood(endpoint: str, topics: list[bytes] | range) -> None:
    """Subscribe to all of these by hand, as fast as it goes, until hung up on."""
    async with RawPeer(endpoint) as peer:
        await peer.shake_hands(b"SUB")
        with contextlib.suppress(ConnectionError):
            for begin in range(0, len(topics), 1_000):
                frames = (
                    RawPeer.frame(b"\1" + (topic if isinstance(topic, bytes) else b"flood-%d" % topic))
                    for topic in topics[begin : begin + 1_000]
                )
                await peer.send(b"".join(frames))
            await peer.until_hung_up()


async def test_sixty_thousand_subscriptions_are_dropped_and_honest_ones_come_back(tmp_path: Path) -> None:
    before = unexpected_events("dropped_subscriptions")
    async with open_beside_an_honest_peer(tmp_path / "data", growth_bytes_max=FLOOD_GROWTH_BYTES_MAX) as (
        _,
        endpoint,
    ):
        await flood(endpoint.pub_endpoint, range(60_000))
        assert unexpected_events("dropped_subscriptions") > before


async def subscribe_to_long_topics(
    data: Path,
    *,
    connections: int,
    each: int,
    limits: SocketLimits = SocketLimits(),  # noqa: B008 - a value
) -> None:
    """libzmq stores a topic byte by byte, at many times its size."""
    rnd = random.Random(connections)
    before = unexpected_events("dropped_subscriptions")
    async with open_beside_an_honest_peer(data, growth_bytes_max=FLOOD_GROWTH_BYTES_MAX, socket_limits=limits) as (
        _,
        endpoint,
    ):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                topics = [rnd.randbytes(SUBSCRIPTION_BYTES_MAX - 1) for _ in range(each)]
                tasks.create_task(flood(endpoint.pub_endpoint, topics))
        assert unexpected_events("dropped_subscriptions") > before


async def test_few_subscriptions_of_many_bytes_are_dropped_too(tmp_path: Path) -> None:
    limits = SocketLimits(subscribed_bytes_max=1024 * 1024)
    await subscribe_to_long_topics(tmp_path / "data", connections=2, each=300, limits=limits)


@pytest.mark.slow
@pytest.mark.parametrize("connections", [1, 8])
async def test_few_subscriptions_of_many_bytes_are_dropped_at_their_bound(tmp_path: Path, connections: int) -> None:
    await subscribe_to_long_topics(tmp_path / "data", connections=connections, each=3_000)


@pytest.mark.slow
async def test_a_million_subscriptions_are_dropped_and_honest_ones_come_back(tmp_path: Path) -> None:
    before = unexpected_events("dropped_subscriptions")
    async with open_beside_an_honest_peer(tmp_path / "data", growth_bytes_max=FLOOD_GROWTH_BYTES_MAX) as (
        _,
        endpoint,
    ):
        while unexpected_events("dropped_subscriptions") < before + 10:
            async with asyncio.TaskGroup() as tasks:
                for n in range(4):
                    tasks.create_task(flood(endpoint.pub_endpoint, range(n * 250_000, (n + 1) * 250_000)))
