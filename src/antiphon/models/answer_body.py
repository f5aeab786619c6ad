"""Splits an answer's body into events, whatever its content type is. No I/O.

The first byte decides: `{` or `[` begins one JSON text (or one a line), anything else server-sent events. Providers
and the proxies before them send either under any content type.
"""

from __future__ import annotations

import msgspec

from antiphon.errors import PeerError
from antiphon.wire.sse import SseEvent, SseReader

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of one event, or of an answer that is one JSON text."""
SAMPLE_BYTES = 2 * 1024
"""Maximum bytes of the body that are stored for the error text of an answer that cannot be decoded."""

LINES_MAX = 10_000
"""Maximum number of JSON texts in an answer with one per line."""

_BOM = b"\xef\xbb\xbf"


class AnswerBody:
    """`feed` it the body, then call `end`; both return the complete events. Raises `PeerError` for an event that is
    longer than EVENT_BYTES_MAX. `sample` is the beginning of the body."""

    def __init__(self) -> None:
        self.sample = b""
        self._begin: bytes | None = b""
        self._is_json = False
        self._json = bytearray()
        self._sse = SseReader(line_bytes_max=EVENT_BYTES_MAX, event_bytes_max=EVENT_BYTES_MAX, has_bare_json=True)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        self.sample = self.sample or chunk.lstrip()[:SAMPLE_BYTES]
        if self._begin is not None:
            begin = (self._begin + chunk).removeprefix(_BOM).lstrip()
            if not begin or _BOM.startswith(begin):
                self._begin = begin  # only white space so far, which both readers skip
                return self._sse.feed(chunk)
            self._begin = None
            self._is_json = begin[:1] in (b"{", b"[")
            chunk = begin if self._is_json else chunk
        if not self._is_json:
            return self._sse.feed(chunk)
        self._json += chunk
        if len(self._json) > EVENT_BYTES_MAX:
            raise PeerError(f"an answer is longer than {EVENT_BYTES_MAX:,} bytes")
        return []

    def end(self) -> list[SseEvent]:
        """The events that the end of the body completes: a last one without its empty line, the whole JSON text, or
        one for each line. Raises `PeerError` for more than LINES_MAX lines."""
        if not self._is_json:
            return self._sse.end()
        body = bytes(self._json).strip()
        if _is_one_json(body):
            return [SseEvent(event="message", data=body)]
        if body.count(b"\n") > LINES_MAX:
            raise PeerError(f"an answer has more than {LINES_MAX:,} lines of JSON")
        return [SseEvent(event="message", data=text) for text in body.splitlines() if text.strip()]


def _is_one_json(body: bytes) -> bool:
    """Whether the body is one JSON text, and not one per line."""
    first, _, rest = body.partition(b"\n")
    if not rest.strip():
        return True
    try:
        msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # the first line of an indented text is not JSON by itself
    return False
