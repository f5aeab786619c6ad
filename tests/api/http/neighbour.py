"""Another instance on this machine, with sockets and an announcement of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.local.lock import claim_data
from antiphon.server.announcement import announce_primary, withdraw_announcement
from antiphon.server.open_instance import open_instance


@asynccontextmanager
async def open_neighbour(data: Path) -> AsyncIterator[tuple[str, str]]:
    """Its id, and that of a session it has."""
    with claim_data(data, instance_id="3f6a3b9e-0000-4000-8000-00000000beef") as lock:
        async with (
            open_instance(data=data, lock=lock, drain_s=0.0) as instance,
            open_zmq_endpoint(instance, instance.asgi, data) as api,
        ):
            await instance.serve_at("http://127.0.0.1:1")
            announce_primary(instance, lock, api, token="none")
            try:
                yield instance.instance_id, (await instance.chats.create(title="other instance")).chat_id
            finally:
                withdraw_announcement(instance.instance_id, data)
