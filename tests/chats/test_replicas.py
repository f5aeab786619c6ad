"""Who is there and who is dead, as one instance sees it; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from antiphon.bus.memory import MemoryBus
from antiphon.chats.replicas import Replicas
from antiphon.ports import InstanceRecord
from antiphon.store.memory import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.virtual_loop import VirtualLoop


class Links:
    """A link that remembers whom it was told of."""

    endpoint = key = ""
    is_broadcast = False

    def __init__(self) -> None:
        self.on_message: Callable[[str, bytes], None] = lambda _peer, _message: None
        self.look: Callable[[], Awaitable[None]] | None = None
        self.known: list[str] = []

    def know(self, records: Sequence[InstanceRecord]) -> None:
        self.known = [record.instance_id for record in records]

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        return instance_id in self.known

    def broadcast_nowait(self, chat_id: str, message: bytes) -> bool:
        return False

    def join(self, chat_id: str) -> None: ...

    def quit(self, chat_id: str) -> None: ...

    async def aclose(self) -> None: ...


def test_who_seems_absent_stays_connected_and_is_asked() -> None:
    """An instance whose session lock is free, its database connection having broken, can prove that it lives."""
    asked: list[tuple[str, bool]] = []
    expired: list[str] = []

    async def main() -> None:
        clock, link = FakeClock(), Links()
        presence = MemoryStore(clock=clock, is_shared=True).presence

        async def ping(instance_id: str, timeout_s: float) -> bool:
            asked.append((instance_id, link.send_nowait(instance_id, b"ping")))
            return asked[-1][1]

        async def expire(chat_id: str, attempt: int, reason: str) -> None:
            expired.append(chat_id)

        replicas = Replicas(
            InstanceRecord(instance_id="a"),
            presence=presence,
            link=link,
            bus=MemoryBus(),
            ping=ping,
            expire=expire,
            load=lambda: 0,
        )
        await presence.enter(InstanceRecord(instance_id="b"))
        await replicas.start()
        presence.kill("b")
        running = asyncio.create_task(replicas.run())
        await asyncio.sleep(10)
        running.cancel()
        await asyncio.wait({running})
        await replicas.aclose()

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()
    assert len(asked) >= 3
    assert set(asked) == {("b", True)}
    assert expired == []
