"""What `Client` stands on: as `async_connection`, blocking."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from random import Random
from typing import TypeVar, cast

import httpx2

from antiphon.client import transport
from antiphon.client.backoff import backoff_s, wish_of
from antiphon.client.bodies import read_answer
from antiphon.client.calls import Call
from antiphon.client.errors import error_of
from antiphon.client.follow import Follow
from antiphon.errors import TooMany, Unavailable
from antiphon.wire.sse import SseReader

A = TypeVar("A")
E = TypeVar("E")


class Connection:
    """Connections to one instance. `ask` gives an answer, `follow` a stream across lost connections."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float,
        retry_s: float,
        silence_s: float,
        verify: transport.Verify,
        random: Random | None,
    ) -> None:
        self.url = url
        self.random = random or Random()
        self._retry_s = retry_s
        self._silence_s = silence_s
        settings = transport.client_settings(url, token, timeout_s=timeout_s)
        connecting = transport.transport_settings(url, verify)
        if transport.is_loopback(url):
            self._http = httpx2.Client(transport=httpx2.HTTPTransport(**connecting), **settings)
        else:
            self._http = httpx2.Client(**connecting, **settings)

    def close(self) -> None:
        self._http.close()

    def ask(self, call: Call[A]) -> A:
        """The answer to a request; one that carries its own id is repeated while the server is away."""
        deadline, tries = time.monotonic() + self._retry_s, 0
        while True:
            try:
                return self._ask_once(call)
            except Unavailable as error:
                tries += 1
                delay_s = backoff_s(tries, random=self.random, wish_ms=wish_of(error))
                if not call.is_repeatable or time.monotonic() + delay_s > deadline:
                    raise
            time.sleep(delay_s)

    def _ask_once(self, call: Call[A]) -> A:
        settings = transport.request_settings(call)
        with transport.translated(self.url), self._http.stream(**settings) as response:
            return cast(A, transport.answer_of(response, read_answer(response)))

    def follow(self, stream: Follow[E]) -> Generator[E, None, None]:
        """Its events, coming back for as long as it takes. Raises what is definitive."""
        while not stream.is_over:
            lost: Unavailable | TooMany | None = None
            try:
                with closing(self._read(stream)) as events:
                    yield from events
            except (Unavailable, TooMany) as error:
                lost = error  # a place may come free
            if not stream.is_over:
                time.sleep(stream.wait_s(lost))

    def _read(self, stream: Follow[E]) -> Generator[E, None, None]:
        """The events of one connection."""
        reader = SseReader()
        settings = transport.stream_settings(stream.call(), self._silence_s)
        with transport.translated(self.url), self._http.stream(**settings) as response:
            if not response.is_success:
                raise error_of(response.status_code, read_answer(response))
            transport.check_stream(response)
            for chunk in response.iter_raw():
                for raw in reader.feed(chunk):
                    event = stream.take(raw)
                    if event is not None:
                        yield event
                    if stream.is_cut:
                        return
