"""What passes between simulated processes: hints over a bus that loses, doubles and reorders; messages over links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from antiphon.cluster.bus_link import RELAY_CHANNEL
from antiphon.ports import Handler, InstanceRecord
from antiphon.signal import Signal
from support.simulated_world import World

if TYPE_CHECKING:
    from support.simulated_process import Process

SUBSCRIBE_S = 0.003
"""How long it takes until other processes know of a subscription, in seconds."""

LINK_S = 0.0005


class _Subscription:
    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.is_open = True
        self.is_known = False


class HostBus:
    """The bus (port Bus) as one process has it. Each receiver has its own luck with each message."""

    error: str | None = None

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._random = world.random(f"bus {process.host.name}")
        self._subscriptions: dict[str, list[_Subscription]] = {}

    def has_subscribers(self, channel: str, *, of_own_appends: bool = False) -> bool:
        return True

    def is_subscribed(self, channel: str) -> bool:
        return all(subscription.is_known for subscription in self._subscriptions.get(channel, ()))

    def publish_nowait(self, channel: str, message: bytes) -> None:
        for process in self._world.processes.values():
            if not process.host.is_dead:
                self._send(process, channel, message)

    def _send(self, receiver: Process, channel: str, message: bytes) -> None:
        world, random = self._world, self._random
        profile = world.profile
        is_lost = random.random() < profile.hint_drop or world.is_cut(self._process.instance_id, receiver.instance_id)
        if is_lost or channel not in receiver.bus._subscriptions:
            if channel.startswith(RELAY_CHANNEL):  # it may have been a ping
                world.lose(self._process.instance_id, receiver.instance_id)
            return
        for _ in range(random.randint(2, 4) if random.random() < profile.hint_double else 1):
            delay_s = random.uniform(0, profile.hint_delay_s)
            is_remote = receiver is not self._process
            world.loop.call_later(
                delay_s, receiver.bus._arrive, channel, message, is_remote, context=receiver.host.context
            )

    def _arrive(self, channel: str, message: bytes | None, is_remote: bool) -> None:
        for subscription in tuple(self._subscriptions.get(channel, ())):
            if subscription.is_open and (subscription.is_known or not is_remote):
                subscription.handler(message)

    def subscribe(self, channel: str, handler: Handler, *, sees_own_appends: bool = False) -> Callable[[], None]:
        subscription = _Subscription(handler)
        self._subscriptions.setdefault(channel, []).append(subscription)
        self._world.loop.call_later(SUBSCRIBE_S, self._be_known, subscription, context=self._process.host.context)

        def unsubscribe() -> None:
            subscription.is_open = False
            subscriptions = self._subscriptions.get(channel, [])
            if subscription in subscriptions:
                subscriptions.remove(subscription)
            if not subscriptions:
                self._subscriptions.pop(channel, None)

        return unsubscribe

    def _be_known(self, subscription: _Subscription) -> None:
        subscription.is_known = True
        if subscription.is_open:
            subscription.handler(None)

    def notify_dropped(self) -> None:
        """The connection was lost and is back."""
        for channel in tuple(self._subscriptions):
            self._arrive(channel, None, False)

    async def aclose(self) -> None:
        """Nothing is open."""


class HostLink:
    """Messages to each other process (port Link): in order, lost now and then, refused now and then."""

    endpoint = ""
    key = ""
    error: str | None = None
    is_broadcast = False

    def __init__(self, world: World, process: Process) -> None:
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self._world = world
        self._process = process
        self._random = world.random(f"link {process.host.name}")
        self._known: dict[str, None] = {}
        self._arrives_at: dict[str, float] = {}

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        self._known = {record.instance_id: None for record in records}

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        world, random = self._world, self._random
        peer = world.processes.get(instance_id)
        if peer is None or instance_id not in self._known:
            return False
        if not world.is_calm and random.random() < world.profile.link_full:
            return False
        is_lost = random.random() < world.profile.link_loss and not world.is_calm
        if is_lost or peer.host.is_dead or world.is_cut(self._process.instance_id, instance_id):
            world.lose(self._process.instance_id, instance_id)
            return True
        at = max(world.loop.time() + LINK_S * random.uniform(0.5, 4), self._arrives_at.get(instance_id, 0.0))
        self._arrives_at[instance_id] = at
        world.loop.call_at(at, peer.hear, self._process.instance_id, message, context=peer.host.context)
        return True

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        return self.send_nowait(instance_id, message)

    def join(self, chat_id: str) -> None:
        """Nothing is broadcast."""

    def quit(self, chat_id: str) -> None:
        """Nothing is broadcast."""

    async def aclose(self) -> None:
        """Nothing is open."""
