"""Cuts an event stream into whole events, in time proportional to its length however small its pieces are."""

from __future__ import annotations


class EventCutter:
    """`feed` it the stream; it returns the events that are complete, as bytes with `\\n` for each `\\r\\n`."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._ends_in_cr = False

    def feed(self, data: bytes) -> bytes:
        """The events that these bytes complete. Raises ValueError if the event after them is too large."""
        if self._ends_in_cr:
            data = b"\r" + data
        self._ends_in_cr = data.endswith(b"\r")  # it may be half of a line end
        data = data.removesuffix(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        start = max(len(self._rest) - 1, 0)  # everything before it was searched
        self._rest += data
        end = self._rest.rfind(b"\n\n", start) + 2
        whole = b""
        if end > 1:
            whole = bytes(self._rest[:end])
            del self._rest[:end]
        if len(self._rest) > self._bytes_max:
            raise ValueError(f"a message has more than {self._bytes_max:,} bytes")
        return whole
