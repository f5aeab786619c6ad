"""The bytes of an answer's body as events, whatever its content type says. No I/O.

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
"""How much of the body is kept for the error sentence, should nothing in it be understood."""

_BOM = b"\xef\xbb\xbf"


class AnswerBody:
    """Takes the body by `feed`, then `end`; each gives the events that are complete. Raises `PeerError` for one that
    is longer than EVENT_BYTES_MAX. `sample` is the beginning of the body."""

    def __init__(self) -> None:
        self.sample = b""
        self._is_json: bool | None = None
        self._json = bytearray()
        self._sse = SseReader(line_bytes_max=EVENT_BYTES_MAX, event_bytes_max=EVENT_BYTES_MAX, has_error_field=True)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        if len(self.sample) < SAMPLE_BYTES:
            self.sample += chunk[: SAMPLE_BYTES - len(self.sample)]
        if self._is_json is None:
            start = self.sample.removeprefix(_BOM).lstrip()
            if not start or _BOM.startswith(start):
                return self._sse.feed(chunk)  # white space so far: neither reader minds it
            self._is_json = start[:1] in (b"{", b"[")
        if not self._is_json:
            return self._sse.feed(chunk)
        self._json += chunk
        if len(self._json) > EVENT_BYTES_MAX:
            raise PeerError(f"an answer is longer than {EVENT_BYTES_MAX:,} bytes")
        return []

    def end(self) -> list[SseEvent]:
        """What the end of the body completes: a last event without its empty line, the whole JSON text, or one
        for each line of it."""
        if not self._is_json:
            return self._sse.end()
        body = bytes(self._json).removeprefix(_BOM).strip()
        texts = [body] if _is_one_json(body) else body.splitlines()
        return [SseEvent(event="message", data=text) for text in texts if text.strip()]


def _is_one_json(body: bytes) -> bool:
    """Whether it is not several JSON texts, one a line."""
    first, _, rest = body.partition(b"\n")
    if not rest.strip():
        return True
    try:
        msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # an indented text begins with a line that is none by itself
    return False
