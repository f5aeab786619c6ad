"""What makes an instance one of several on a store: the store that they share, the bus and the link between them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from antiphon.chats.recovery import Recovery
from antiphon.cluster.membership import Replicas
from antiphon.cluster.relay import RelayedDrafts
from antiphon.core.values import Value
from antiphon.options import Options
from antiphon.ports import Bus, InstanceRecord, Link, Presence, Store
from antiphon.server.backends import make_link, open_bus, open_shared_store
from antiphon.version import __version__
from antiphon.worker.loop import Worker


class Shared(Value, gc=True):
    """What an instance has beside the store that it shares: who else is there, and the way to them."""

    presence: Presence
    link: Link

    def make_replicas(
        self,
        *,
        instance_id: str,
        started_at: int,
        capacity: int,
        bus: Bus,
        relay: RelayedDrafts,
        recovery: Recovery,
        worker: Worker,
    ) -> Replicas:
        """The instance among the others."""
        record = InstanceRecord(
            instance_id=instance_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            relay_endpoint=self.link.endpoint,
            relay_key=self.link.key,
            started_at=started_at,
            capacity=capacity,
        )
        replicas = Replicas(
            record,
            presence=self.presence,
            link=self.link,
            bus=bus,
            ping=lambda other_id, timeout_s: relay.ping(other_id, timeout_s=timeout_s),
            expire=recovery.expire,
            running=lambda: len(worker),
            load=lambda: worker.load,
        )
        self.link.look = replicas.look
        return replicas


async def open_shared(
    stack: contextlib.AsyncExitStack,
    settings: Options,
    instance_id: str,
    bus: Bus | None,
    wrap_bus: Callable[[Bus], Bus],
) -> tuple[Store, Bus, Shared]:
    """The shared store, the bus over it and the link to its other instances. What was opened last is closed first;
    the store is closed by the instance."""
    store, presence = await open_shared_store(settings.store)
    try:
        if bus is None:
            bus = wrap_bus(await stack.enter_async_context(open_bus(settings.bus or settings.store)))
        link = make_link(bus, settings.bus, instance_id, settings.relay)
    except BaseException:
        await store.aclose()
        raise
    stack.push_async_callback(link.aclose)
    return store, bus, Shared(presence=presence, link=link)
