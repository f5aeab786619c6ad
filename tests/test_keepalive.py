"""A server whose machine is gone does not close its connections: TCP keep-alive detects it."""

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


class IgnoringReceiver:
    """Ignores every message."""

    def receive(self, channel: str, message: bytes | None) -> None: ...

    def lose(self, reason: str) -> None: ...


def check_keep_alive(connection: Any) -> None:
    end = connection._transport.get_extra_info("socket")
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    idle_s, interval_s, probes, unacknowledged_ms = (
        end.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names
    )
    assert idle_s + interval_s * probes == 10, "of an idle connection"
    assert unacknowledged_ms == 10_000, "of a connection that has sent data"


async def test_the_connections_of_the_store_have_keep_alive(
    postgres_url: str,
) -> None:
    store = await open_postgres_store(postgres_url)
    try:
        await store.presence.register(InstanceRecord(instance_id="00000000-0000-4000-8000-000000000000"))
        assert len(store._pool._idle) >= 1
        for connection in (*store._pool._idle, store.presence._connection):
            check_keep_alive(connection)
    finally:
        await store.aclose()


async def test_the_connections_of_the_bus_have_keep_alive(postgres_url: str) -> None:
    connection = PostgresBusConnection(IgnoringReceiver())
    await connection.open(postgres_url)
    try:
        for each in (connection._listener, connection._notifier):
            check_keep_alive(each)
    finally:
        await connection.aclose()


def test_a_unix_socket_has_no_keep_alive() -> None:
    """Its server is on the same machine."""
    one, other = socket.socketpair()
    with one, other:
        keep_alive(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
