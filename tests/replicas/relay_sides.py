"""Two instances with a relay between them, whose messages a test can drop or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from antiphon.bus.memory import MemoryBus
from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.watched import WatchedChats
from antiphon.cluster.bus_link import BusLink
from antiphon.cluster.relay import RelayedDrafts
from antiphon.cluster.relay_timing import RelayLimits, RelayTiming
from antiphon.cluster.zmq_link import LinkTiming, ZmqLink
from antiphon.core.draft import Draft
from antiphon.core.parts import Text
from antiphon.ports import InstanceRecord, Link
from antiphon.signal import Signal

CHAT = "11111111-1111-4111-8111-111111111111"


class FilteredLink:
    """A link that drops received messages unless `delivers`, and refuses to send others unless `accepts`."""

    def __init__(self, inner: Link) -> None:
        self.inner = inner
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self.delivers: Callable[[bytes], bool] = lambda message: True
        self.accepts: Callable[[bytes], bool] = lambda message: True
        inner.received.subscribe(self._on_received)

    def _on_received(self, peer: str, message: bytes) -> None:
        if self.delivers(message):
            self.received.emit(peer, message)

    @property
    def endpoint(self) -> str:
        return self.inner.endpoint

    @property
    def key(self) -> str:
        return self.inner.key

    @property
    def error(self) -> str | None:
        return self.inner.error

    @property
    def is_broadcast(self) -> bool:
        return self.inner.is_broadcast

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        self.inner.update_members(records)

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        return self.accepts(message) and self.inner.send_nowait(instance_id, message)

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        return self.accepts(message) and self.inner.send_of_chat_nowait(chat_id, instance_id, message)

    def join(self, chat_id: str) -> None:
        self.inner.join(chat_id)

    def quit(self, chat_id: str) -> None:
        self.inner.quit(chat_id)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Side:
    """The part of an instance that relays drafts."""

    def __init__(
        self,
        instance_id: str,
        link: Link,
        *,
        timing: RelayTiming = RelayTiming(),  # noqa: B008 - a value
        limits: RelayLimits = RelayLimits(),  # noqa: B008 - a value
    ) -> None:
        self.instance_id = instance_id
        self.live = LiveDrafts()
        self.watched = WatchedChats()
        self.link = FilteredLink(link)
        self.relay = RelayedDrafts(
            self.live, self.link, instance_id=instance_id, watched=self.watched, timing=timing, limits=limits
        )
        self.changes = 0
        self.running = asyncio.create_task(self.relay.run())

    def listen(self, chat_id: str = CHAT) -> Callable[[], None]:
        return self.relay.listen(chat_id, self._count)

    def _count(self) -> None:
        self.changes += 1

    def write(self, draft: Draft, text: str, chat_id: str = CHAT) -> None:
        draft.write(Text(text))
        self.live.touch(chat_id)

    def text(self, chat_id: str = CHAT) -> str:
        draft = self.relay.get(chat_id)
        return draft.text() if draft else ""

    @property
    def record(self) -> InstanceRecord:
        return InstanceRecord(
            instance_id=self.instance_id,
            relay_endpoint=self.link.endpoint,
            relay_key=self.link.key,
            is_present=True,
        )

    async def aclose(self) -> None:
        self.running.cancel()
        self.relay.close()
        await self.link.aclose()


@asynccontextmanager
async def two_sides(
    kind: str,
    *,
    link_timing: LinkTiming = LinkTiming(),  # noqa: B008 - a value
    timing: RelayTiming = RelayTiming(),  # noqa: B008 - a value
    limits: RelayLimits = RelayLimits(),  # noqa: B008 - a value
) -> AsyncIterator[tuple[Side, Side]]:
    """The holder and the watching side. `kind`: which of them connects over ZeroMQ, or the bus."""
    ids = sorted(str(uuid4()) for _ in range(2))
    bus = MemoryBus()
    links: list[Link] = [BusLink(bus, i) if kind == "bus" else ZmqLink(i, timing=link_timing) for i in ids]
    sides = [Side(i, link, timing=timing, limits=limits) for i, link in zip(ids, links, strict=True)]
    for side in sides:
        side.link.update_members([other.record for other in sides if other is not side])
    holder, watching = sides if kind != "watcher connects" else reversed(sides)
    try:
        yield holder, watching
    finally:
        for side in sides:
            await side.aclose()
