"""Reading the body of an answer: never more than a bound, never for longer than a time, and never decoded.

Whatever answers at an address may not be an Antiphon server. Its answers to errors are a page of words or a flood;
neither is read beyond what a sentence needs. A coded body could be a thousand times what came: none was asked for.
"""

from __future__ import annotations

import asyncio
import time

import httpx2

from antiphon.client.errors import AnswerLost
from antiphon.errors import PeerError

ERROR_BYTES_MAX = 64 * 1024
"""Of the body of an error; what comes after is not read."""
ANSWER_BYTES_MAX = 128 * 1024 * 1024
"""Of the body of an answer. A list has 16 MiB and the item that does not fit; characters may be escaped."""
ERROR_S = 15.0
ANSWER_S = 600.0
"""How long a body may take, in seconds, however little of it comes at a time."""
LATE = "the answer took too long"


def check_coding(response: httpx2.Response) -> None:
    """Raises `PeerError` for a compressed body."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise PeerError("The server's answer is compressed, which was not asked for.")


def read_answer(response: httpx2.Response) -> bytes:
    """The body of a streamed answer. Of an error at most its beginning; raises `PeerError` for a longer answer."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    deadline = time.monotonic() + (ERROR_S if is_error else ANSWER_S)
    for piece in response.iter_raw():
        if not add(body, piece, is_error=is_error):
            break
        if time.monotonic() > deadline:
            raise AnswerLost(LATE)
    return bytes(body)


async def read_answer_async(response: httpx2.Response) -> bytes:
    """As `read_answer`."""
    check_coding(response)
    is_error, body = not response.is_success, bytearray()
    try:
        async with asyncio.timeout(ERROR_S if is_error else ANSWER_S):
            async for piece in response.aiter_raw():
                if not add(body, piece, is_error=is_error):
                    break
    except TimeoutError as error:
        raise AnswerLost(LATE) from error
    return bytes(body)


def add(body: bytearray, piece: bytes, *, is_error: bool) -> bool:
    """Whether more of it is read. Raises `PeerError` for an answer beyond the bound."""
    if is_error:
        body += piece[: ERROR_BYTES_MAX - len(body)]
        return len(body) < ERROR_BYTES_MAX
    body += piece
    if len(body) > ANSWER_BYTES_MAX:
        raise PeerError(f"The server's answer is longer than {ANSWER_BYTES_MAX:,} bytes.")
    return True
