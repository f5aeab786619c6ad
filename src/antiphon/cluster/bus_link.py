"""Messages between instances over a bus that reaches all of them (NATS).

Each instance subscribes to a channel of its own; deltas are published on the channel of the chat. The relay detects
and repeats what the bus loses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.ports import Bus, InstanceRecord
from antiphon.signal import Signal

RELAY_CHANNEL = "antiphon:relay:"
"""The channel of an instance begins with this; its id follows."""
DRAFT_CHANNEL = "antiphon:draft:"
"""The channel of a chat's deltas begins with this; the chat's id follows."""
ID_BYTES = 36
"""Size of the sender's id at the start of a message to one instance, in bytes."""


class BusLink:
    """Implements `ports.Link`."""

    endpoint = ""
    key = ""
    is_broadcast = True
    error: str | None = None
    """Always None: the bus reports its own error."""

    def __init__(self, bus: Bus, instance_id: str) -> None:
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self._bus = bus
        self._id = instance_id.encode()
        self._unsubscribe: dict[str, Callable[[], None]] = {
            "": bus.subscribe(RELAY_CHANNEL + instance_id, self._on_direct),
        }

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        """Does nothing: the bus reaches every instance."""

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        self._bus.publish_nowait(RELAY_CHANNEL + instance_id, self._id + message)
        return True

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        self._bus.publish_nowait(DRAFT_CHANNEL + chat_id, message)
        return True

    def join(self, chat_id: str) -> None:
        if chat_id not in self._unsubscribe:
            self._unsubscribe[chat_id] = self._bus.subscribe(DRAFT_CHANNEL + chat_id, self._on_broadcast)

    def quit(self, chat_id: str) -> None:
        unsubscribe = self._unsubscribe.pop(chat_id, None)
        if unsubscribe is not None:
            unsubscribe()

    def _on_direct(self, message: bytes | None) -> None:
        if message is not None:  # None: messages were dropped; the relay repeats them within a second
            self.received.emit(message[:ID_BYTES].decode("ascii", "replace"), message[ID_BYTES:])

    def _on_broadcast(self, message: bytes | None) -> None:
        if message is not None:
            self.received.emit("", message)

    async def aclose(self) -> None:
        for unsubscribe in self._unsubscribe.values():
            unsubscribe()
        self._unsubscribe.clear()
