"""Event streams of MCP servers are cut into whole events, whatever pieces they arrive in."""

from __future__ import annotations

import pytest

from antiphon.worker.tools.mcp.events import EventCutter
from support.stopwatch import Stopwatch

EVENTS = b"event: message\r\ndata: {}\r\n\r\n: note\n\ndata: [1,\ndata: 2]\n\ndata: \r\n\r\n"
WHOLE = EVENTS.replace(b"\r\n", b"\n")
MIB = 1024 * 1024


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, len(EVENTS)])
def test_events_are_whole_however_they_are_cut(size: int) -> None:
    cutter = EventCutter(bytes_max=100)
    pieces = [cutter.feed(EVENTS[start : start + size]) for start in range(0, len(EVENTS), size)]
    assert b"".join(pieces) == WHOLE
    assert all(piece.endswith(b"\n\n") for piece in pieces if piece)


def test_an_event_is_returned_when_its_last_byte_arrives() -> None:
    cutter = EventCutter(bytes_max=100)
    assert cutter.feed(b"data: 1\n\ndata: 2\r\n\r") == b"data: 1\n\n"
    assert cutter.feed(b"\n") == b"data: 2\n\n"


def test_an_event_that_is_too_large_is_refused() -> None:
    cutter = EventCutter(bytes_max=100)
    assert cutter.feed(b"data: " + b"x" * 90) == b""
    with pytest.raises(ValueError, match="more than 100 bytes"):
        cutter.feed(b"x" * 10)


def test_the_time_of_a_large_event_in_small_pieces_is_proportional_to_its_length() -> None:
    """In quadratic time half a mebibyte in single bytes takes minutes."""
    cutter, stopwatch = EventCutter(bytes_max=4 * MIB), Stopwatch()
    for _ in range(MIB // 2):
        cutter.feed(b"x")
    assert len(cutter.feed(b"\n\n")) == MIB // 2 + 2
    assert stopwatch.elapsed_s() < 10
