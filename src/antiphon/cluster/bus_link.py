"""Messages between instances over a bus that reaches them all (NATS): each listens on a channel of its own, deltas
go on the chat's. What the bus loses is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.ports import Bus, InstanceRecord
from antiphon.signal import Signal

RELAY_CHANNEL = "antiphon:relay:"
DRAFT_CHANNEL = "antiphon:draft:"
ID_BYTES = 36
"""A message to one instance begins with its sender's id."""


class BusLink:
    """Keeps the promises of `ports.Link`."""

    endpoint = ""
    key = ""
    is_broadcast = True
    error: str | None = None
    """The bus reports its own."""

    def __init__(self, bus: Bus, instance_id: str) -> None:
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self._bus = bus
        self._id = instance_id.encode()
        self._ends: dict[str, Callable[[], None]] = {
            "": bus.subscribe(RELAY_CHANNEL + instance_id, self._on_direct),
        }

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        """Every client of the bus may be sent to."""

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        self._bus.publish_nowait(RELAY_CHANNEL + instance_id, self._id + message)
        return True

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        self._bus.publish_nowait(DRAFT_CHANNEL + chat_id, message)
        return True

    def join(self, chat_id: str) -> None:
        if chat_id not in self._ends:
            self._ends[chat_id] = self._bus.subscribe(DRAFT_CHANNEL + chat_id, self._on_broadcast)

    def quit(self, chat_id: str) -> None:
        end = self._ends.pop(chat_id, None)
        if end is not None:
            end()

    def _on_direct(self, message: bytes | None) -> None:
        if message is not None:  # else what was dropped is repeated within a second
            self.received.emit(message[:ID_BYTES].decode("ascii", "replace"), message[ID_BYTES:])

    def _on_broadcast(self, message: bytes | None) -> None:
        if message is not None:
            self.received.emit("", message)

    async def aclose(self) -> None:
        for end in self._ends.values():
            end()
        self._ends.clear()
