# Generated from client/asynchronous/connection.py by scripts/blocking_client.py. Do not edit.
"""The HTTP connections of `Client`: requests and streams. All I/O of the client is here."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from functools import partial
from random import Random
from typing import TypeVar, cast

from antiphon.client import transport
from antiphon.client.api_requests import ApiRequest
from antiphon.client.blocking.http_client import make_http_client
from antiphon.client.blocking.retrying import retry_unavailable
from antiphon.client.bodies import check_coding, read_answer
from antiphon.client.errors import error_of
from antiphon.client.file_pieces import FileSource, iter_pieces
from antiphon.client.follow import Follow
from antiphon.client.limits import BodyLimits
from antiphon.errors import TooMany, Unavailable
from antiphon.wire.sse import SseReader

A = TypeVar("A")
E = TypeVar("E")


class Connection:
    """HTTP connections to one instance. `request` returns a response; `follow` yields a stream and reconnects."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float,
        retry_s: float,
        silence_s: float,
        verify: transport.Verify,
        body_limits: BodyLimits,
        random: Random | None,
    ) -> None:
        self.url = url
        self.random = random or Random()
        self._retry_s = retry_s
        self._silence_s = silence_s
        self._body_limits = body_limits
        self._http = make_http_client(url, token, timeout_s=timeout_s, verify=verify)

    def close(self) -> None:
        self._http.close()

    def request(self, request: ApiRequest[A]) -> A:
        """The response to a request. A repeatable request is retried while the server is unavailable."""
        return retry_unavailable(request, self._request_once, random=self.random, retry_s=self._retry_s)

    def _request_once(self, request: ApiRequest[A]) -> A:
        with transport.translated(self.url):
            with self._http.stream(**transport.request_settings(request)) as response:
                return cast(A, transport.answer_of(response, read_answer(response, self._body_limits)))

    def upload(self, request: ApiRequest[A], source: FileSource) -> A:
        """The response to an upload, which is retried while the server is unavailable."""
        send = partial(self._upload_once, source=source)
        return retry_unavailable(request, send, random=self.random, retry_s=self._retry_s)

    def _upload_once(self, request: ApiRequest[A], *, source: FileSource) -> A:
        settings = transport.request_settings(request) | {"content": iter_pieces(source)}
        with transport.translated(self.url):
            with self._http.stream(**settings) as response:
                return cast(A, transport.answer_of(response, read_answer(response, self._body_limits)))

    def download(self, request: ApiRequest[None]) -> Generator[bytes]:
        """The bytes of a response as they arrive. Raises `AnswerLost` if it is cut off."""
        with transport.translated(self.url):
            with self._http.stream(**transport.request_settings(request)) as response:
                if not response.is_success:
                    raise error_of(response.status_code, read_answer(response, self._body_limits))
                check_coding(response)
                for piece in response.iter_raw():
                    yield piece

    def follow(self, stream: Follow[E]) -> Generator[E]:
        """The events of a stream; reconnects without a limit. Raises errors that a reconnect cannot resolve."""
        while not stream.is_closed:
            lost: Unavailable | TooMany | None = None
            try:
                with closing(self._read(stream)) as events:
                    for event in events:
                        yield event
            except (Unavailable, TooMany) as error:
                lost = error  # TooMany: a connection may become free
            if not stream.is_closed:
                time.sleep(stream.wait_s(lost))

    def _read(self, stream: Follow[E]) -> Generator[E]:
        """The events of one connection."""
        reader = SseReader()
        settings = transport.stream_settings(stream.request(), self._silence_s)
        with transport.translated(self.url):
            with self._http.stream(**settings) as response:
                if not response.is_success:
                    raise error_of(response.status_code, read_answer(response, self._body_limits))
                transport.check_stream(response)
                for chunk in response.iter_raw():
                    for raw in reader.feed(chunk):
                        event = stream.handle(raw)
                        if event is not None:
                            yield event
                        if stream.is_connection_done:
                            return
