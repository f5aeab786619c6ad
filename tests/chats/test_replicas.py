"""Who is there and who is dead, as one instance sees it; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from antiphon.cluster.membership import Replicas

from antiphon.bus.memory import MemoryBus
from antiphon.ports import InstanceRecord
from antiphon.store.memory.presence import MemoryPresence
from antiphon.testing.clock import FakeClock
from support.virtual_loop import VirtualLoop


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

    def tell_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        return False

    def join(self, chat_id: str) -> None: ...

    def quit(self, chat_id: str) -> None: ...

    async def aclose(self) -> None: ...


def inquire(answers: Callable[[Links], bool], *, seconds: float) -> tuple[list[bool], list[str]]:
    """What the pings of an instance whose session lock is free were answered in so long, and what was expired."""
    answered: list[bool] = []
    expired: list[str] = []

    async def main() -> None:
        link = Links()
        presence = MemoryPresence(FakeClock(), lambda _: (("a chat", 7),))

        async def ping(instance_id: str, timeout_s: float) -> bool:
            answered.append(answers(link))
            await asyncio.sleep(0.001 if answered[-1] else timeout_s)
            return answered[-1]

        async def expire(chat_id: str, attempt: int, reason: str) -> None:
            expired.append(f"{chat_id} {attempt} {reason}")

        replicas = Replicas(
            InstanceRecord(instance_id="a"),
            presence=presence,
            link=link,
            bus=MemoryBus(),
            ping=ping,
            expire=expire,
            running=lambda: 0,
            load=lambda: 0,
        )
        await presence.register(InstanceRecord(instance_id="b"))
        await replicas.start()
        presence.kill("b")
        running = asyncio.create_task(replicas.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait({running})
        await replicas.aclose()
        await asyncio.sleep(1)

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()
    return answered, expired


def test_who_seems_absent_stays_connected_and_is_asked() -> None:
    """An instance whose session lock is free, its database connection having broken, can prove that it lives."""
    answered, expired = inquire(lambda link: link.send_nowait("b", b"ping"), seconds=10)
    assert len(answered) >= 3
    assert all(answered)
    assert expired == []


def test_the_dead_lose_what_they_held() -> None:
    _, expired = inquire(lambda _: False, seconds=3)
    assert expired[:1] == ["a chat 7 dead"]


def test_who_did_not_answer_once_is_asked_again_before_the_next_verdict() -> None:
    answers = iter([False])
    answered, expired = inquire(lambda _: next(answers, True), seconds=10)
    assert answered.count(False) == 1
    assert expired == ["a chat 7 dead"]
