"""Server-sent events from bytes, in any chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import PeerError
from antiphon.wire.sse import SseEvent, SseReader

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
NAMES = st.sampled_from([b"data", b"event", b"id", b"retry", b"", b"other", b"dat", "\ufeffdata".encode()])
VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode),
    st.sampled_from([b"5000", b" 1", b"", "ü\u2028\u2029\x85".encode(), b"a:b", b"\xff\xfe"]),
)
LINES = st.one_of(
    st.just(b""),
    st.tuples(NAMES, st.sampled_from([b":", b": ", b""]), VALUES).map(b"".join),
)
STREAMS = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=30).map(b"".join)


def read(*chunks: bytes) -> list[SseEvent]:
    reader = SseReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def by_the_rules(data: bytes) -> list[SseEvent]:
    """The rules of the standard, applied to the whole stream."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[SseEvent] = []
    fields: dict[str, list[bytes]] = {}
    for line in text.split(b"\n")[:-1]:
        if not line:
            if fields.get("data"):
                name = (fields.get("event") or [b""])[-1].decode(errors="replace") or "message"
                ids, retries = fields.get("id"), fields.get("retry")
                events.append(
                    SseEvent(
                        event=name,
                        data=b"\n".join(fields["data"]),
                        id=ids[-1].decode(errors="replace") if ids else None,
                        retry_ms=int(retries[-1]) if retries else None,
                    )
                )
            fields = {}
            continue
        name_bytes, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        is_taken = name_bytes in (b"data", b"event")
        is_taken |= name_bytes == b"id" and b"\0" not in value
        is_taken |= name_bytes == b"retry" and value.isdigit()
        if is_taken:
            fields.setdefault(name_bytes.decode(), []).append(value)
    return events


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=12))
def test_chunks_change_nothing_and_the_rules_hold(data: bytes, places: list[int]) -> None:
    assert read(*cut(data, places)) == by_the_rules(data)


@given(STREAMS)
def test_single_bytes_change_nothing(data: bytes) -> None:
    assert read(*(bytes([byte]) for byte in data)) == read(data)


def test_an_event_is_returned_with_its_last_byte() -> None:
    reader = SseReader()
    assert reader.feed(b"id: 7.12\nevent: delta\ndata: {}\n") == []
    assert reader.feed(b"\n") == [SseEvent(event="delta", data=b"{}", id="7.12")]
    assert reader.feed(b"data: 1\r\r") == [SseEvent(event="message", data=b"1")]
    assert reader.feed(b"\ndata: 2\r\n\r") == [SseEvent(event="message", data=b"2")]


def test_lines_of_data_are_joined_and_comments_passed_over() -> None:
    assert read(b": hi\ndata: a\n: there\ndata:  b\ndata\n\n") == [SseEvent(event="message", data=b"a\n b\n")]


def test_an_incomplete_event_is_not_returned() -> None:
    assert read(b"data: whole\n\ndata: torn\n") == [SseEvent(event="message", data=b"whole")]


def test_an_id_belongs_to_its_own_event_only() -> None:
    assert [event.id for event in read(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")] == ["1", None, ""]


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_line_that_is_too_long_is_refused(end: bytes) -> None:
    reader = SseReader(line_bytes_max=10)
    assert reader.feed(b"data: 4444") == []
    with pytest.raises(PeerError, match="longer than 10 bytes"):
        reader.feed(b"5" + end)


def test_an_event_that_is_too_long_is_refused() -> None:
    reader = SseReader(event_bytes_max=10)
    reader.feed(b"data: 234\ndata: 678\n")
    with pytest.raises(PeerError, match="longer than 10 bytes"):
        reader.feed(b"data: 012\n")
