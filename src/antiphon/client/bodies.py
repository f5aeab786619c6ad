"""Reads response bodies, bounded in size and time, and never decompressed.

The server at an address may be another program, whose error bodies may be HTML pages or endless. A client reads only
the beginning of an error body. It does not request compression, because a compressed body may expand a thousandfold.
"""

from __future__ import annotations

import asyncio
import time

import httpx2

from antiphon.client.errors import AnswerLost
from antiphon.client.limits import BodyLimits
from antiphon.errors import PeerError

TIMED_OUT = "the response took too long"


def check_coding(response: httpx2.Response) -> None:
    """Raises `PeerError` for a compressed body."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise PeerError("The server's response is compressed, which the client did not request.")


def read_answer(response: httpx2.Response, limits: BodyLimits) -> bytes:
    """The body of a streamed response; of an error only its beginning. Raises `PeerError` for a longer
    response."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    deadline = time.monotonic() + (limits.error_s if is_error else limits.answer_s)
    for piece in response.iter_raw():
        if not _append(body, piece, limits, is_error=is_error):
            break
        if time.monotonic() > deadline:
            raise AnswerLost(TIMED_OUT)
    return bytes(body)


async def read_answer_async(response: httpx2.Response, limits: BodyLimits) -> bytes:
    """As `read_answer`."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    try:
        async with asyncio.timeout(limits.error_s if is_error else limits.answer_s):
            async for piece in response.aiter_raw():
                if not _append(body, piece, limits, is_error=is_error):
                    break
    except TimeoutError as error:
        raise AnswerLost(TIMED_OUT) from error
    return bytes(body)


def _append(body: bytearray, piece: bytes, limits: BodyLimits, *, is_error: bool) -> bool:
    """Append a piece. Returns whether to read on. Raises `PeerError` for a response beyond the bound."""
    if is_error:
        body += piece[: limits.error_bytes_max - len(body)]
        return len(body) < limits.error_bytes_max
    body += piece
    if len(body) > limits.answer_bytes_max:
        raise PeerError(f"The server's response is longer than {limits.answer_bytes_max:,} bytes.")
    return True
