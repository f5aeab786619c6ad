"""The stream of a subscription: an owner's feed as notifications of MCP."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from starlette.types import Send

from antiphon.api.http.sse import LAST, Stream, WatchStream
from antiphon.api.http.table import Call
from antiphon.api.http.translated import PING
from antiphon.watch.plain_stream import PlainStream
from antiphon.wire.mcp_server.listening import Subscription
from antiphon.wire.mcp_server.messages import sse


class ListeningStream(WatchStream):
    """Server-sent events. A client that accepts nothing is closed as slow, as any client of a feed."""

    def __init__(self, opened: AbstractAsyncContextManager[Stream], feed: Stream, subscription: Subscription) -> None:
        super().__init__(opened, feed)
        self._subscription = subscription

    async def _write(self, send: Send) -> None:
        feed, loop = self._watcher, asyncio.get_running_loop()
        assert isinstance(feed, PlainStream)
        await _send(send, sse(self._subscription.acknowledged()))
        is_first = True  # the feed begins with a `resync`: the client reads what it needs after the first message
        while not feed.is_closed:
            frames = await feed.next_batch()
            shown = [PING if frame.type == "ping" else b"" for frame in frames]
            for frame in frames:
                if frame.type == "bye":
                    shown.append(sse(self._subscription.ended()))
                elif not (is_first and frame.type == "resync"):
                    shown += map(sse, self._subscription.notifications(frame))
                is_first = False
            feed.sending_since = loop.time()
            if data := b"".join(shown):
                await _send(send, data)
            feed.sending_since = 0.0
        await send(LAST)


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def listen(call: Call, subscription: Subscription) -> ListeningStream:
    """Open the feed now, so that a refusal is still an ordinary answer. Raises `TooMany`."""
    assert call.token is not None
    opened = call.instance.watch.open_feed(call.owner_id, token_id=call.token.token_id)
    return ListeningStream(opened, await opened.__aenter__(), subscription)
