"""An incremental parser of server-sent events: bytes in any chunks, no I/O.

It follows the HTML standard ("interpreting an event stream") and bounds the size of a line and of an event. The
option `has_bare_json` accepts two deviations of model servers: a field `error: {…}` is an event named `error`, and a
line that begins with `{` is the data of an event. `end` returns an event whose last line has no line break.
"""

from __future__ import annotations

from antiphon.core.values import Value
from antiphon.errors import PeerError

LINE_BYTES_MAX = 256 * 1024 * 1024
"""Maximum size of a line, in bytes. A `resync` is one line: it fits fifty messages of 4 MiB, escaped."""
EVENT_BYTES_MAX = LINE_BYTES_MAX
"""Maximum size of the data of an event, in bytes."""

_BOM = b"\xef\xbb\xbf"


class SseEvent(Value):
    """One event. `data` is UTF-8 as it was sent; `id` and `retry_ms` are None unless this event has them."""

    event: str
    data: bytes
    id: str | None = None
    retry_ms: int | None = None


class SseReader:
    """Returns the events that each chunk completes. An incomplete event at the end of the stream is discarded, unless
    `end` is called."""

    def __init__(
        self,
        *,
        line_bytes_max: int = LINE_BYTES_MAX,
        event_bytes_max: int = EVENT_BYTES_MAX,
        has_bare_json: bool = False,
    ) -> None:
        self._has_bare_json = has_bare_json
        self._line_bytes_max = line_bytes_max
        self._event_bytes_max = event_bytes_max
        self._line = bytearray()
        self._is_first_line = True
        self._skips_lf = False
        self._has_fields = False
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0
        self._id: str | None = None
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Parse the next bytes: the events that they complete. Raises `PeerError` if a line or an event is too
        long."""
        lines = self._cut(chunk)
        self._line += lines[-1]
        self._check(len(self._line), self._line_bytes_max)
        events = []
        for line in lines[:-1]:
            if not line and not self._has_fields and not self._is_first_line:
                continue  # empty lines alone make no event
            event = self._read_line(line)
            if event is not None:
                events.append(event)
        return events

    def end(self) -> list[SseEvent]:
        """The event of the last lines, for a stream that ended without an empty line."""
        line = bytes(self._line)
        self._line.clear()
        events = [self._read_line(line) if line else None, self._dispatch()]
        return [event for event in events if event is not None]

    def _cut(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their line breaks, and the beginning of the next line."""
        if self._skips_lf and chunk:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF that was cut in two
            self._skips_lf = False
        if b"\r" in chunk:
            self._skips_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        if len(lines) > 1:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._check(max(map(len, lines)), self._line_bytes_max)
            self._line.clear()
        return lines

    def _read_line(self, line: bytes) -> SseEvent | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        self._has_fields = True
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            self._check(self._size, self._event_bytes_max)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= 15:
            self._retry_ms = int(value)
        elif name == b"error" and self._has_bare_json:
            return SseEvent(event="error", data=value)
        elif self._has_bare_json and line.startswith(b"{"):
            return SseEvent(event="message", data=line)
        return None

    def _dispatch(self) -> SseEvent | None:
        event = None
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            event = SseEvent(event=self._event or "message", data=data, id=self._id, retry_ms=self._retry_ms)
        self._clear_fields()
        return event

    def _clear_fields(self) -> None:
        self._has_fields = False
        self._event = ""
        self._data = []
        self._size = 0
        self._id = None
        self._retry_ms = None

    @staticmethod
    def _check(size: int, limit: int) -> None:
        if size > limit:
            raise PeerError(f"a stream's line or event is longer than {limit:,} bytes")
