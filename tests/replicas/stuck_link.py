"""A program with two links. The first one is not read while its peer sends as much as it can and disconnects."""

from __future__ import annotations

import asyncio
import time

from antiphon.cluster.zmq_link import QUEUED_MAX, ZmqLink
from antiphon.ports import InstanceRecord

STUCK_S = 3.5


def record_of(link: ZmqLink, instance_id: str) -> InstanceRecord:
    return InstanceRecord(instance_id=instance_id, relay_endpoint=link.endpoint, relay_key=link.key, is_present=True)


async def main() -> None:
    stuck, peer = ZmqLink("b"), ZmqLink("a")
    stuck.update_members([record_of(peer, "a")])
    while not peer.send_nowait("b", b"connected"):
        peer.update_members([record_of(stuck, "b")])
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    sent, deadline = 0, time.monotonic() + 0.5
    while time.monotonic() < deadline:
        sent += peer.send_nowait("b", b"x" * 2_000)
    assert sent > QUEUED_MAX, "the receiver is full"
    peer.update_members([])
    time.sleep(STUCK_S)  # noqa: ASYNC251 - the loop is stuck on purpose
    await peer.aclose()
    await stuck.aclose()


asyncio.run(main())
