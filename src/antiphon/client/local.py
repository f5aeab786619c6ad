"""The ZeroMQ connection of a client on the instance's machine: the same requests and streams as over HTTP.

The instance's sockets keep their address when a standby takes over, so such a client continues with the new primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import TypeVar, cast

import msgspec

from antiphon.client.api_requests import ApiRequest
from antiphon.client.asynchronous.retrying import retry_unavailable
from antiphon.client.errors import MethodMissing, error_of
from antiphon.client.file_pieces import FileSource
from antiphon.client.follow import Follow, FollowChat
from antiphon.client.plain_requests import answer_by_reference_methods
from antiphon.client.timing import RETRY_S, TIMEOUT_S
from antiphon.client.zmq import RemoteInstance
from antiphon.client.zmq_calls import MESSAGE_BYTES_MAX
from antiphon.core.events import Bye, CaughtUp, Event, FactEvent, Resync
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, Invalid, NotFound, TooMany, Unavailable
from antiphon.local.keys import Keys, read_keys
from antiphon.wire.cursor import parse_cursor

IDLE = frozenset({"waiting", "error", "requires_action"})

A = TypeVar("A")
E = TypeVar("E")


class Endpoints(Value):
    """The addresses where an instance publishes and accepts calls; `keys` and `server_key` if it requires keys."""

    pub: str
    rpc: str
    keys: Keys | None = None
    server_key: str = ""

    @staticmethod
    def of(pub: str | None, rpc: str | None, keys_file: str | None) -> Endpoints | None:
        """The endpoints in an instance file or an announcement. None: there are none, or the keys cannot be read."""
        if not pub or not rpc:
            return None
        if not keys_file:
            return Endpoints(pub=pub, rpc=rpc)
        try:
            keys = read_keys(Path(keys_file))
        except AntiphonError:
            return None
        return Endpoints(pub=pub, rpc=rpc, keys=keys, server_key=keys.public)

    def remote(self, *, timeout_s: float, message_bytes_max: int = MESSAGE_BYTES_MAX) -> RemoteInstance:
        return RemoteInstance(
            self.pub,
            self.rpc,
            timeout_s=timeout_s,
            keys=self.keys,
            server_key=self.server_key,
            message_bytes_max=message_bytes_max,
        )


class AsyncLocalConnection:
    """As `AsyncConnection`, over ZeroMQ and as the admin. The feed and files are only available over HTTP."""

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

    async def request(self, request: ApiRequest[A]) -> A:
        """The response to a request. A repeatable request is retried while the instance is unavailable.

        On an instance without `antiphon.request` the reference protocol's methods are used where they suffice. The
        instance may be upgraded at any time, so each request tries `antiphon.request` first.
        """
        try:
            return await retry_unavailable(request, self._request_once, random=self.random, retry_s=self._retry_s)
        except MethodMissing:
            return cast(A, await answer_by_reference_methods(self._remote, request))

    async def _request_once(self, request: ApiRequest[A]) -> A:
        body = msgspec.Raw(request.body) if request.body is not None else None
        answer = await self._remote.request(request.method, request.path, request.query, body)
        if answer.status >= 400:
            raise error_of(answer.status, msgspec.json.encode(answer.body))
        return cast(A, answer.body)

    async def upload(self, request: ApiRequest[A], source: FileSource) -> A:
        raise _http_only()

    def download(self, request: ApiRequest[None]) -> AsyncGenerator[bytes]:
        raise _http_only()

    async def follow(self, stream: Follow[E]) -> AsyncGenerator[E]:
        """The events of a stream; waits without a limit for an instance that is unavailable. Raises errors that
        waiting cannot resolve."""
        if not isinstance(stream, FollowChat):
            raise Invalid("stream", "a feed is only available over HTTP")
        while not stream.is_closed:
            lost: Unavailable | TooMany | None = None
            try:
                async with aclosing(self._watch(stream)) as events:
                    async for event in events:
                        yield cast(E, event)
            except (Unavailable, TooMany) as error:
                lost = error
            if not stream.is_closed:
                await asyncio.sleep(stream.wait_s(lost))

    async def _watch(self, stream: FollowChat) -> AsyncGenerator[Event, None]:
        status = ""
        is_caught_up = False
        async with aclosing(self._remote.watch(stream.chat_id, after=stream.cursor or "")) as events:
            async for event in events:
                stream.record(event)
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
                    stream.is_closed = True
                    yield Bye(reason="idle")
                    return

    async def _status(self, chat_id: str, cursor: str) -> str:
        """The chat's status at a cursor; empty if the chat has newer facts: those have the status."""
        answer = await self._remote.request("GET", f"/api/v1/chats/{chat_id}")
        if answer.status >= 400:
            raise NotFound
        return str(answer.body["status"]) if answer.body["seq"] == parse_cursor(cursor)[0] else ""


class LocalConnection:
    """As `Connection`, over ZeroMQ and as the admin."""

    def __init__(self, endpoints: Endpoints, *, timeout_s: float = TIMEOUT_S, retry_s: float = RETRY_S) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(_made(endpoints, timeout_s, retry_s))
        self.url = self._connection.url
        self.random = self._connection.random

    def close(self) -> None:
        """Close the sockets. A second call does nothing."""
        if self._runner.get_loop().is_closed():
            return
        self._runner.run(self._connection.aclose())
        self._runner.close()

    def request(self, request: ApiRequest[A]) -> A:
        return self._runner.run(self._connection.request(request))

    def upload(self, request: ApiRequest[A], source: FileSource) -> A:
        return self._runner.run(self._connection.upload(request, source))

    def download(self, request: ApiRequest[None]) -> Generator[bytes, None, None]:
        raise _http_only()

    def follow(self, stream: Follow[E]) -> Generator[E, None, None]:
        events = self._connection.follow(stream)
        try:
            while True:
                try:
                    event = self._runner.run(_next(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            self._runner.run(events.aclose())


def _http_only() -> Invalid:
    return Invalid("file", "files are transferred over HTTP only")


async def _made(endpoints: Endpoints, timeout_s: float, retry_s: float) -> AsyncLocalConnection:
    return AsyncLocalConnection(endpoints, timeout_s=timeout_s, retry_s=retry_s)


async def _next(events: AsyncGenerator[E]) -> E:
    return await anext(events)
