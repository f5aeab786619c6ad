"""Times and durations are written as Go writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import PeerError
from antiphon.wire.gotime import ZERO_TIME, Time, format_duration, format_time_us, parse_time_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LAST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
instants = st.integers(FIRST_US, LAST_US)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m0s"), (65, "1m5s"), (3600, "1h0m0s"), (5400, "1h30m0s"), (90061, "25h1m1s")],
)
def test_a_duration_is_written_in_whole_seconds(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text
    assert format_duration(seconds + 0.999) == text


def test_a_negative_duration_has_one_sign() -> None:
    assert format_duration(-65) == "-1m5s"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000, "1970-01-01T00:00:01.5Z"),
        (1_000_001, "1970-01-01T00:00:01.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (FIRST_US, "0001-01-01T00:00:00Z"),
        (LAST_US, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_has_z_and_no_digit_too_many(us: int, text: str) -> None:
    assert format_time_us(us) == text
    assert parse_time_us(text) == us


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-05-05T22:00:00.123456789Z", "2026-05-05T22:00:00.123456Z"),
        ("2026-05-05T22:00:00.1Z", "2026-05-05T22:00:00.1Z"),
        ("2026-05-06T00:30:00+02:30", "2026-05-05T22:00:00Z"),
        ("2026-05-05T14:00:00.000000-08:00", "2026-05-05T22:00:00Z"),
        ("2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00Z"),
    ],
)
def test_an_offset_and_any_fraction_are_read(text: str, same: str) -> None:
    assert format_time_us(parse_time_us(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-05-05",
        "2026-05-05T22:00:00",
        "2026-05-05 22:00:00Z",
        "2026-05-05t22:00:00z",
        "2026-05-05T22:00:00.Z",
        "2026-05-05T22:00:00,5Z",
        "2026-05-05T22:00:00+0200",
        "2026-05-05T22:00:00+24:00",
        "2026-05-05T24:00:00Z",
        "2026-05-05T22:00:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "٢٠٢٦-05-05T22:00:00Z",
        "2026-05-05T22:00:00Z\n",
    ],
)
def test_what_is_not_rfc_3339_is_a_peers_error(text: str) -> None:
    with pytest.raises(PeerError, match="Not an RFC 3339 time"):
        parse_time_us(text)


@settings(derandomize=True)
@given(instants)
def test_a_written_time_is_read_back(us: int) -> None:
    assert parse_time_us(format_time_us(us)) == us


@settings(derandomize=True)
@given(instants)
def test_a_time_and_its_microseconds_are_the_same_instant(us: int) -> None:
    time = Time.from_us(us)
    assert isinstance(time, Time)
    assert time.us == us
    assert time == EPOCH + timedelta(microseconds=us)


@settings(derandomize=True)
@given(st.text())
def test_any_other_text_raises_nothing_but_a_peers_error(text: str) -> None:
    with pytest.raises(PeerError):
        parse_time_us(text)


def test_the_zero_time_is_gos() -> None:
    assert format_time_us(ZERO_TIME.us) == "0001-01-01T00:00:00Z"
