"""A server whose machine is gone sends nothing, not even the end of a connection: the socket's options notice it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from antiphon.bus.postgres import PostgresBusConnection
from antiphon.ports import InstanceRecord
from antiphon.postgres.keepalive import keep_alive
from antiphon.store.postgres.store import open_postgres_store

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the options are Linux's"),
]


class Deaf:
    """Wants nothing of what a carrier has to say."""

    def receive(self, channel: str, message: bytes | None) -> None: ...

    def lose(self, reason: str) -> None: ...


def check_alive(connection: Any) -> None:
    end = connection._transport.get_extra_info("socket")
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    idle_s, pause_s, tries, unanswered_ms = (end.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names)
    assert idle_s + pause_s * tries == 10, "of one that waits"
    assert unanswered_ms == 10_000, "of one that has sent something"


async def test_connections_of_the_store_notice_within_ten_seconds_that_their_server_is_gone(
    postgres_url: str,
) -> None:
    store = await open_postgres_store(postgres_url)
    try:
        await store.presence.register(InstanceRecord(instance_id="00000000-0000-4000-8000-000000000000"))
        assert len(store._pool._free) >= 1
        for connection in (*store._pool._free, store.presence._connection):
            check_alive(connection)
    finally:
        await store.aclose()


async def test_connections_of_the_bus_notice_it_as_soon(postgres_url: str) -> None:
    carrier = PostgresBusConnection(Deaf())
    await carrier.open(postgres_url)
    try:
        for connection in (carrier._listener, carrier._notifier):
            check_alive(connection)
    finally:
        await carrier.aclose()


def test_a_unix_socket_is_left_as_it_is() -> None:
    """Its server is on this machine: should that be gone, so are we."""
    one, other = socket.socketpair()
    with one, other:
        keep_alive(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
