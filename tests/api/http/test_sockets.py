"""The sockets of the server."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any

import pytest

from .api_client import open_api
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def test_the_server_sends_small_answers_at_once() -> None:
    """A socket with Nagle's algorithm delays every second small write until the peer has acknowledged the first: by
    40 ms."""
    async with open_api() as api:
        wire = await Wire.open(api.port)
        own_address = wire.writer.get_extra_info("sockname")
        wire.send(make_request("GET", "/healthz"))
        await wire.read_answer()
        assert _has_no_delay(own_address) == {True}
        await wire.close()


def _has_no_delay(peer: Any) -> set[bool]:
    """What TCP_NODELAY is of the sockets of this process that are connected to `peer`."""
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.getpeername() == peer:
                    found.add(bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
    return found
