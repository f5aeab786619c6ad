# Generated from client/asynchronous/request_group.py by scripts/blocking_client.py. Do not edit.
"""The connection that the groups of requests share."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Protocol, TypeVar

from antiphon.client.api_requests import ApiRequest
from antiphon.client.file_pieces import FileSource
from antiphon.client.follow import Follow

A = TypeVar("A")
E = TypeVar("E")


class Transport(Protocol):
    """Sends requests and follows streams, over HTTP or ZeroMQ."""

    url: str
    random: Random

    def request(self, request: ApiRequest[A]) -> A: ...

    def upload(self, request: ApiRequest[A], source: FileSource) -> A: ...

    def download(self, request: ApiRequest[None]) -> Generator[bytes]: ...

    def follow(self, stream: Follow[E]) -> Generator[E]: ...

    def close(self) -> None: ...


class RequestGroup:
    """The base of the groups of requests; `Client` sets the connection."""

    _connection: Transport
