"""Replicas with a ZeroMQ endpoint and a subscriber, beside another replica on the same store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from antiphon.api.zmq.endpoint import ZmqEndpoint, open_zmq_endpoint
from antiphon.bus.memory import MemoryBus
from antiphon.bus.networked import NetworkedBus
from antiphon.options import Timing, WatchTiming
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.watch.owner_follower import FollowLimits
from antiphon.wire import instance as i
from api.zmq.peers import Peer
from support.waiting import wait_until
from worker.running import running

TOPICS = tuple(sorted(value for name, value in vars(i).items() if name.startswith("TOPIC_")))
TURN = (i.TOPIC_LLM_START, i.TOPIC_LLM_TOKEN, i.TOPIC_LLM_END, i.TOPIC_MESSAGE_APPEND)


@asynccontextmanager
async def replica(store: str, *, claims: bool = True, **options: Any) -> AsyncIterator[Instance]:
    async with running(store=store, **options) as instance:
        if not claims:
            instance.worker.pause()
        yield instance


@asynccontextmanager
async def watched_replica(
    store: str,
    data: Path,
    *,
    follow_limits: FollowLimits = FollowLimits(),  # noqa: B008 - a value
    **options: Any,
) -> AsyncIterator[tuple[Instance, ZmqEndpoint]]:
    """A replica with a ZeroMQ endpoint, which claims no turn itself."""
    async with (
        replica(store, claims=False, **options) as instance,
        open_zmq_endpoint(instance, instance.asgi, data, follow_limits=follow_limits) as endpoint,
    ):
        yield instance, endpoint


def polling(poll_s: float, **timing: float) -> Timing:
    """A watch that polls the store this often."""
    return Timing(watch=WatchTiming(poll_s=poll_s, **timing))


@asynccontextmanager
async def subscribed(endpoint: ZmqEndpoint, *topics: str) -> AsyncIterator[Peer]:
    """A subscriber of all topics, or of these."""
    async with Peer(endpoint, *(topics or TOPICS)) as peer:
        await peer.wait_subscribed(endpoint)
        await wait_until(lambda: topics or endpoint._sockets.subscriptions.is_followed)
        yield peer


@asynccontextmanager
async def beside(
    store: str, data: Path, *, hints: bool = True, claims: bool = True, **options: Any
) -> AsyncIterator[tuple[Instance, ZmqEndpoint, Instance, Peer]]:
    """A watched replica (here) with a subscriber, and another one (there), whose hints arrive or are lost."""
    bus = {} if hints else {"bus": MemoryBus()}
    async with (
        watched_replica(store, data, **bus, **options) as (here, endpoint),
        replica(store, claims=claims) as there,
        subscribed(endpoint) as peer,
    ):
        yield here, endpoint, there, peer


def events_of(peer: Peer, session_id: str) -> list[dict[str, Any]]:
    """The events of a session, without heartbeats and lists."""
    return [event for event in peer.seen if event.get("sessionId") == session_id]


def seqs_of(peer: Peer, session_id: str) -> list[int]:
    """The seqs of a session's published appends."""
    return [p["seq"] for p in peer.payloads(i.TOPIC_APPEND) if p["session_id"] == session_id]


def text_of(peer: Peer, session_id: str, draft: int | None = None) -> str:
    """The text of a session's tokens (of one draft), in the order in which they were published."""
    tokens = [p for p in peer.payloads(i.TOPIC_LLM_TOKEN) if p["session_id"] == session_id]
    return "".join(p["token"] for p in tokens if draft in (None, p["draft"]))


async def wait_for_position(instance: Instance, chat_id: str, position: int) -> None:
    """Wait until the draft of a chat on an instance has reached a position."""
    await wait_until(lambda: (draft := instance.drafts.get(chat_id)) is not None and draft.position >= position)


def nothing_is_followed(instance: Instance, endpoint: ZmqEndpoint) -> bool:
    assert instance.cluster is not None
    relay = instance.cluster.relay
    return not (
        len(endpoint.publisher.follower)
        or endpoint.publisher._sessions
        or relay.followed_count
        or relay._replicas._listeners
    )


def is_unsubscribed(instance: Instance) -> bool:
    assert isinstance(instance.bus, NetworkedBus)
    has_owner_channel = any(channel.startswith("chat:owner:") for channel in instance.bus._local.channels)
    return not has_owner_channel and not instance.watch.polled._subscribers


async def has_reached(instance: Instance, chat_id: str, seq: int) -> bool:
    chat = await instance.store.load(chat_id)
    return chat is not None and chat.seq >= seq


async def is_idle(instance: Instance, chat_id: str) -> bool:
    return (await instance.chats.get(chat_id)).is_idle
