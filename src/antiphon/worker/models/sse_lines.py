"""The bytes of an answer's body, cut into the JSON texts in it."""

from __future__ import annotations

BODY_BYTES_MAX = 64 * 1024 * 1024
"""One line, or one answer that is no stream: an answer of 16 MiB with every character escaped fits."""


class TooLong(Exception):
    """More bytes than BODY_BYTES_MAX without an end."""


class SseLines:
    """Cuts server-sent events. Comments, names and ids are passed over; each `data:` line stands alone, as all
    servers of this kind send it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes | bytearray]:
        """The `data:` lines that are complete now, without `data:`."""
        self._rest += chunk
        if b"\n" not in chunk:
            if len(self._rest) > BODY_BYTES_MAX:
                raise TooLong
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def end(self) -> list[bytes | bytearray]:
        """Nothing: a line that was not ended is a torn one."""
        return []


class WholeBody:
    """For a server that answers with one JSON text where a stream was asked."""

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[bytes | bytearray]:
        self._body += chunk
        if len(self._body) > BODY_BYTES_MAX:
            raise TooLong
        return []

    def end(self) -> list[bytes | bytearray]:
        return [self._body]
