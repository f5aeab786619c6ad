# Generated from client/asynchronous/retrying.py by scripts/blocking_client.py. Do not edit.
"""Retries of requests while an instance is unavailable. Only a request that carries the client's own id is retried,
so that it takes effect once; and a read that a proxy answered because it reached no instance."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TypeVar

from antiphon.client.api_requests import ApiRequest
from antiphon.client.errors import NoUpstream
from antiphon.client.timing import retry_after_ms_of, retry_delay_s
from antiphon.errors import Unavailable

A = TypeVar("A")


def retry_unavailable(
    request: ApiRequest[A], send: Callable[[ApiRequest[A]], A], *, random: Random, retry_s: float
) -> A:
    """The result of `send(request)`, retried for up to `retry_s` seconds. Raises the last `Unavailable`."""
    deadline, tries = time.monotonic() + retry_s, 0
    while True:
        try:
            return send(request)
        except Unavailable as error:
            tries += 1
            delay_s = retry_delay_s(tries, random=random, retry_after_ms=retry_after_ms_of(error))
            is_read = request.method == "GET" and isinstance(error, NoUpstream)
            if not (request.is_repeatable or is_read) or time.monotonic() + delay_s > deadline:
                raise
        time.sleep(delay_s)
