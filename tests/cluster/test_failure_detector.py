"""Failure detection of one instance, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from antiphon.bus.memory import MemoryBus
from antiphon.cluster.failure_detector import FailureDetector
from antiphon.cluster.members import Members
from antiphon.ports import InstanceRecord
from antiphon.signal import Signal
from antiphon.store.memory.presence import MemoryPresence
from antiphon.testing.clock import FakeClock
from support.virtual_loop import VirtualLoop


class RecordingLink:
    """A link that records its members and delivers nothing."""

    endpoint = key = ""
    error: str | None = None
    is_broadcast = False

    def __init__(self) -> None:
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self.members: list[str] = []

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        self.members = [record.instance_id for record in records]

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        return instance_id in self.members

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        return False

    def join(self, chat_id: str) -> None: ...

    def quit(self, chat_id: str) -> None: ...

    async def aclose(self) -> None: ...


def detect(answers: Callable[[RecordingLink], bool], *, seconds: float) -> tuple[list[bool], list[str]]:
    """The answers to the pings of an instance whose session lock is free, and the attempts that were expired."""
    answered: list[bool] = []
    expired: list[str] = []

    async def main() -> None:
        link = RecordingLink()
        presence = MemoryPresence(FakeClock(), lambda _: (("a chat", 7),))

        async def ping(instance_id: str, timeout_s: float) -> bool:
            answered.append(answers(link))
            await asyncio.sleep(0.001 if answered[-1] else timeout_s)
            return answered[-1]

        async def expire(chat_id: str, attempt: int, reason: str) -> None:
            expired.append(f"{chat_id} {attempt} {reason}")

        members = Members(InstanceRecord(instance_id="a"), presence=presence, link=link, bus=MemoryBus())
        detector = FailureDetector(members, presence=presence, ping=ping, expire=expire)
        await members.register()
        await presence.register(InstanceRecord(instance_id="b"))
        await members.refresh()
        presence.kill("b")
        running = asyncio.create_task(members.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait({running})
        detector.close()
        await asyncio.sleep(1)

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()
    return answered, expired


def test_an_instance_whose_lock_is_free_stays_connected_and_is_pinged() -> None:
    """An instance whose session lock is free, its database connection having broken, can prove that it lives."""
    answered, expired = detect(lambda link: link.send_nowait("b", b"ping"), seconds=10)
    assert len(answered) >= 3
    assert all(answered)
    assert expired == []


def test_the_attempts_of_a_dead_instance_are_expired() -> None:
    _, expired = detect(lambda _: False, seconds=3)
    assert expired[:1] == ["a chat 7 dead"]


def test_an_unanswered_ping_does_not_count_for_a_later_absence() -> None:
    answers = iter([False])
    answered, expired = detect(lambda _: next(answers, True), seconds=10)
    assert answered.count(False) == 1
    assert expired == ["a chat 7 dead"]
