"""The connection that the groups of requests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from random import Random
from typing import Protocol, TypeVar

from antiphon.client.api_requests import ApiRequest
from antiphon.client.file_pieces import FileSource
from antiphon.client.follow import Follow

A = TypeVar("A")
E = TypeVar("E")


class AsyncTransport(Protocol):
    """Sends requests and follows streams, over HTTP or ZeroMQ."""

    url: str
    random: Random

    async def request(self, request: ApiRequest[A]) -> A: ...

    async def upload(self, request: ApiRequest[A], source: FileSource) -> A: ...

    def download(self, request: ApiRequest[None]) -> AsyncGenerator[bytes]: ...

    def follow(self, stream: Follow[E]) -> AsyncGenerator[E]: ...

    async def aclose(self) -> None: ...


class AsyncRequestGroup:
    """The base of the groups of requests; `AsyncClient` sets the connection."""

    _connection: AsyncTransport
