# Generated from client/asynchronous/requests.py by scripts/blocking_client.py. Do not edit.
"""The connection that the groups of requests share."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Protocol, TypeVar

from antiphon.client.calls import Call
from antiphon.client.follow import Follow

A = TypeVar("A")
E = TypeVar("E")


class Transport(Protocol):
    """Sends requests and follows streams, over HTTP or ZeroMQ."""

    url: str
    random: Random

    def request(self, call: Call[A]) -> A: ...

    def follow(self, stream: Follow[E]) -> Generator[E]: ...

    def close(self) -> None: ...


class Requests:
    """The base of the groups of requests; `Client` sets the connection."""

    _connection: Transport
