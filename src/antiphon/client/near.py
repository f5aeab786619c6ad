"""What a client of an instance on this machine stands on: the same requests and streams as over HTTP, over ZeroMQ.

Its sockets stay where they are when a standby takes over, so such a client goes on with the next primary by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import TypeVar, cast

import msgspec

from antiphon.client.backoff import RETRY_S, TIMEOUT_S
from antiphon.client.calls import Call
from antiphon.client.errors import MethodMissing, error_of
from antiphon.client.follow import Follow, FollowChat
from antiphon.client.plain_requests import answer_by_reference_methods
from antiphon.client.repeating import ask_again
from antiphon.client.zmq import RemoteInstance
from antiphon.core.events import Bye, CaughtUp, Event, FactEvent, Resync
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, Invalid, NotFound, TooMany, Unavailable
from antiphon.local.keys import Keys, read_keys
from antiphon.wire.cursor import parse_cursor

IDLE = frozenset({"waiting", "error", "requires_action"})

A = TypeVar("A")
E = TypeVar("E")


class Endpoints(Value):
    """Where an instance publishes and answers; `keys` and `server_key` where it asks for keys."""

    pub: str
    rpc: str
    keys: Keys | None = None
    server_key: str = ""

    @staticmethod
    def of(pub: str | None, rpc: str | None, keys_file: str | None) -> Endpoints | None:
        """Those that an instance file or an announcement names; None where there are none that can be used."""
        if not pub or not rpc:
            return None
        if not keys_file:
            return Endpoints(pub=pub, rpc=rpc)
        try:
            keys = read_keys(Path(keys_file))
        except AntiphonError:
            return None
        return Endpoints(pub=pub, rpc=rpc, keys=keys, server_key=keys.public)

    def remote(self, *, timeout_s: float) -> RemoteInstance:
        return RemoteInstance(self.pub, self.rpc, timeout_s=timeout_s, keys=self.keys, server_key=self.server_key)


class AsyncNearConnection:
    """As `AsyncConnection`, for the admin. A feed is not to be had this way."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        timeout_s: float = TIMEOUT_S,
        retry_s: float = RETRY_S,
        random: Random | None = None,
    ) -> None:
        self.url = endpoints.rpc
        self.random = random or Random()
        self._retry_s = retry_s
        self._remote = endpoints.remote(timeout_s=timeout_s)

    async def aclose(self) -> None:
        await self._remote.aclose()

    async def ask(self, call: Call[A]) -> A:
        """The answer to a request; one that carries its own id is repeated while the instance is away. An instance
        without `antiphon.request` answers by the reference protocol's methods, as far as they go; it may be upgraded
        at any time, so each request tries `antiphon.request` first."""
        try:
            return await ask_again(call, self._ask_once, random=self.random, retry_s=self._retry_s)
        except MethodMissing:
            return cast(A, await answer_by_reference_methods(self._remote, call))

    async def _ask_once(self, call: Call[A]) -> A:
        body = msgspec.Raw(call.body) if call.body is not None else None
        answer = await self._remote.request(call.method, call.path, call.query, body)
        if answer.status >= 400:
            raise error_of(answer.status, msgspec.json.encode(answer.body))
        return cast(A, answer.body)

    async def follow(self, stream: Follow[E]) -> AsyncGenerator[E, None]:
        """Its events, across an instance that is away for as long as it takes. Raises what is definitive."""
        if not isinstance(stream, FollowChat):
            raise Invalid("stream", "a feed is only available over HTTP")
        while not stream.is_over:
            lost: Unavailable | TooMany | None = None
            try:
                async with aclosing(self._watch(stream)) as events:
                    async for event in events:
                        yield cast(E, event)
            except (Unavailable, TooMany) as error:
                lost = error
            if not stream.is_over:
                await asyncio.sleep(stream.wait_s(lost))

    async def _watch(self, stream: FollowChat) -> AsyncGenerator[Event, None]:
        status = ""
        is_caught_up = False
        async with aclosing(self._remote.watch(stream.chat_id, after=stream.cursor or "")) as events:
            async for event in events:
                stream.note(event)
                yield event
                if isinstance(event, FactEvent):
                    status = event.status
                elif isinstance(event, Resync):
                    status = event.chat["status"]
                elif isinstance(event, CaughtUp):
                    is_caught_up = True
                    status = status or await self._status(stream.chat_id, event.cursor)
                is_whole = not (isinstance(event, FactEvent) and event.more)
                if stream.until_idle and is_caught_up and is_whole and status in IDLE:
                    stream.is_over = True
                    yield Bye(reason="idle")
                    return

    async def _status(self, chat_id: str, cursor: str) -> str:
        """The chat's status at a cursor; empty where it has gone on: then facts follow, which say it."""
        answer = await self._remote.request("GET", f"/api/v1/chats/{chat_id}")
        if answer.status >= 400:
            raise NotFound
        return str(answer.body["status"]) if answer.body["seq"] == parse_cursor(cursor)[0] else ""


class NearConnection:
    """The same, blocking: as `Connection`."""

    def __init__(self, endpoints: Endpoints, *, timeout_s: float = TIMEOUT_S, retry_s: float = RETRY_S) -> None:
        self._runner = asyncio.Runner()
        self._near = self._runner.run(_made(endpoints, timeout_s, retry_s))
        self.url = self._near.url
        self.random = self._near.random

    def close(self) -> None:
        """A second time nothing happens."""
        if self._runner.get_loop().is_closed():
            return
        self._runner.run(self._near.aclose())
        self._runner.close()

    def ask(self, call: Call[A]) -> A:
        return self._runner.run(self._near.ask(call))

    def follow(self, stream: Follow[E]) -> Generator[E, None, None]:
        events = self._near.follow(stream)
        try:
            while True:
                try:
                    event = self._runner.run(_next(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            self._runner.run(events.aclose())


async def _made(endpoints: Endpoints, timeout_s: float, retry_s: float) -> AsyncNearConnection:
    return AsyncNearConnection(endpoints, timeout_s=timeout_s, retry_s=retry_s)


async def _next(events: AsyncGenerator[E, None]) -> E:
    return await anext(events)
