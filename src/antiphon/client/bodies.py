"""Reads response bodies, bounded in size and time, and never decompressed.

The server at an address may be another program, whose error bodies may be HTML pages or endless. A client reads only
the beginning of an error body. It does not request compression, because a compressed body may expand a thousandfold.
"""

from __future__ import annotations

import asyncio
import time

import httpx2

from antiphon.client.errors import AnswerLost
from antiphon.errors import PeerError

ERROR_BYTES_MAX = 64 * 1024
"""Maximum size of the body of an error, in bytes; the rest is not read."""
ANSWER_BYTES_MAX = 128 * 1024 * 1024
"""Maximum size of a response body, in bytes. A list has up to 16 MiB and one more item; characters may be escaped."""
ERROR_S = 15.0
ANSWER_S = 600.0
"""How long reading a body may take, of an error and of another response, in seconds."""
TIMED_OUT = "the response took too long"


def check_coding(response: httpx2.Response) -> None:
    """Raises `PeerError` for a compressed body."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise PeerError("The server's response is compressed, which the client did not request.")


def read_answer(response: httpx2.Response) -> bytes:
    """The body of a streamed response; of an error at most ERROR_BYTES_MAX. Raises `PeerError` for a longer
    response."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    deadline = time.monotonic() + (ERROR_S if is_error else ANSWER_S)
    for piece in response.iter_raw():
        if not _append(body, piece, is_error=is_error):
            break
        if time.monotonic() > deadline:
            raise AnswerLost(TIMED_OUT)
    return bytes(body)


async def read_answer_async(response: httpx2.Response) -> bytes:
    """As `read_answer`."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    try:
        async with asyncio.timeout(ERROR_S if is_error else ANSWER_S):
            async for piece in response.aiter_raw():
                if not _append(body, piece, is_error=is_error):
                    break
    except TimeoutError as error:
        raise AnswerLost(TIMED_OUT) from error
    return bytes(body)


def _append(body: bytearray, piece: bytes, *, is_error: bool) -> bool:
    """Append a piece. Returns whether to read on. Raises `PeerError` for a response beyond the bound."""
    if is_error:
        body += piece[: ERROR_BYTES_MAX - len(body)]
        return len(body) < ERROR_BYTES_MAX
    body += piece
    if len(body) > ANSWER_BYTES_MAX:
        raise PeerError(f"The server's response is longer than {ANSWER_BYTES_MAX:,} bytes.")
    return True
