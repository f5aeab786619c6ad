"""Calls are read as the socket's descriptor signals: none is left unread, and a signal without a reader does no
harm."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from antiphon.api.zmq.sockets import InstanceSockets, open_ipc_sockets
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

PEERS, CALLS = 3, 200


@pytest.fixture
def sockets(tmp_path: Path) -> InstanceSockets:
    return open_ipc_sockets(tmp_path / "run")


@contextlib.asynccontextmanager
async def open_peers(sockets: InstanceSockets, count: int) -> AsyncIterator[list[zmq.asyncio.Socket]]:
    """DEALERs; the sockets are closed with them."""
    context = zmq.asyncio.Context()
    peers = [context.socket(zmq.DEALER) for _ in range(count)]
    for peer in peers:
        peer.connect(sockets.rpc_endpoint)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield peers
    finally:
        context.destroy(linger=0)
        sockets.close()
        await asyncio.to_thread(sockets.deliver)


async def echo(sockets: InstanceSockets, count: int, *, turns: int) -> None:
    for _ in range(count):
        identity, message = await sockets.receive()
        for _ in range(turns):
            await asyncio.sleep(0)
        await sockets.reply(identity, message)


@pytest.mark.parametrize("turns", [0, 1, 7])
async def test_calls_that_come_while_others_are_answered_are_received(sockets: InstanceSockets, turns: int) -> None:
    async def ask(peer: zmq.asyncio.Socket) -> Counter[bytes]:
        for number in range(CALLS):
            await peer.send_multipart([b"", b"%d" % number])
            if number % 10 == turns:
                await asyncio.sleep(0)
        return Counter([(await peer.recv_multipart())[1] for _ in range(CALLS)])

    async with open_peers(sockets, PEERS) as peers:
        echoing = asyncio.create_task(echo(sockets, PEERS * CALLS, turns=turns))
        answers = await asyncio.gather(*(ask(peer) for peer in peers))
        await echoing
    assert answers == [Counter(b"%d" % number for number in range(CALLS))] * PEERS


async def test_a_round_trip_after_another_is_never_left_lying(sockets: InstanceSockets) -> None:
    async with open_peers(sockets, 1) as [peer]:
        echoing = asyncio.create_task(echo(sockets, CALLS, turns=0))
        for number in range(CALLS):
            await peer.send_multipart([b"%d" % number])
            assert await peer.recv_multipart() == [b"", b"%d" % number]
        await echoing


async def test_an_unread_call_does_not_keep_the_loop_awake(sockets: InstanceSockets) -> None:
    async with open_peers(sockets, 1) as [peer]:
        first = asyncio.create_task(sockets.receive())
        await peer.send(b"one")
        assert (await first)[1] == b"one"
        await peer.send(b"two")
        while not sockets._has_call:
            await asyncio.sleep(0)
        await peer.send(b"three")
        await asyncio.sleep(0)
        while select.select([sockets._rpc.fileno()], [], [], 0)[0]:
            await asyncio.sleep(0)
        assert [(await sockets.receive())[1], (await sockets.receive())[1]] == [b"two", b"three"]


async def test_an_answer_that_takes_the_signal_of_a_call_wakes_who_waits_for_it(sockets: InstanceSockets) -> None:
    async with open_peers(sockets, 1) as [peer]:
        await peer.send(b"first")
        identity, _ = await sockets.receive()
        for _ in range(20):
            waiting = asyncio.create_task(sockets.receive())
            while sockets._readable is None or sockets._readable.done():
                await asyncio.sleep(0)
            await peer.send(b"call")
            while not sockets._has_call:  # the signal is taken, as an answer's sending may take it
                assert select.select([sockets._rpc.fileno()], [], [], DEADLINE_S)[0]
            await sockets.reply(identity, b"")
            assert (await waiting)[1] == b"call"


async def test_garbage_is_passed_over(sockets: InstanceSockets) -> None:
    async with open_peers(sockets, 1) as [peer]:
        await peer.send_multipart([b"", b"", b"too many"])
        await peer.send_multipart([b"", b"a call"])
        assert (await sockets.receive())[1] == b"a call"
