"""Times and durations in Go's formats.

Times are RFC 3339. The project's own times are integer microseconds since the epoch; `Time` is the same
instant in a value of the reference protocols.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from antiphon.errors import PeerError

SECOND_US = 1_000_000

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


class Time(datetime):
    """An instant in UTC, to the microsecond. Create it with `Time.from_us`.

    This is a separate class because msgspec encodes a plain datetime itself, always with six digits; the codec
    encodes this class as Go does.
    """

    @staticmethod
    def from_us(us: int) -> Time:
        """The instant `us` microseconds after the epoch (OverflowError outside the years 1 to 9999)."""
        return _EPOCH + timedelta(microseconds=us)

    @property
    def us(self) -> int:
        """Microseconds since the epoch."""
        return (self - _EPOCH) // _MICROSECOND


_EPOCH = Time(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ZERO_TIME = Time(1, 1, 1, tzinfo=UTC)
"""Go's zero time, `0001-01-01T00:00:00Z`: the value of a missing time field."""
_FIRST_US = ZERO_TIME.us
_LAST_US = Time(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC).us
"""The first and the last instant that can be decoded, in microseconds since the epoch."""


def format_time_us(us: int) -> str:
    """RFC 3339 in UTC: `Z`, and only the digits of the fraction that are needed.

    This runs for every event, so the text up to the second is cached.
    """
    second, fraction = divmod(us, SECOND_US)
    if not fraction:
        return _second_text(second) + "Z"
    return f"{_second_text(second)}.{fraction:06d}".rstrip("0") + "Z"


def parse_time_us(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time with `Z` or an offset; finer digits are truncated.

    Raises PeerError for any other text, and for instants outside the years 1 to 9999 in UTC.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise _not_a_time(text)
    second, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        us = _second_us(second)
    except ValueError as error:
        raise _not_a_time(text) from error
    if fraction:
        us += int(fraction[:6].ljust(6, "0"))
    if sign:
        offset_us = (int(offset_hours) * 60 + int(offset_minutes)) * 60 * SECOND_US
        us += offset_us if sign == "-" else -offset_us
    if not _FIRST_US <= us <= _LAST_US:
        raise _not_a_time(text)
    return us


def format_duration(seconds: float) -> str:
    """Go's text of a duration, truncated to whole seconds: `0s`, `59s`, `1m5s`, `25h1m1s`."""
    whole = int(seconds)
    sign = "-" if whole < 0 else ""
    minutes, second = divmod(abs(whole), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minute}m{second}s"
    return f"{sign}{minute}m{second}s" if minute else f"{sign}{second}s"


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:19]


@lru_cache(maxsize=64)
def _second_us(text: str) -> int:
    # Field by field, because datetime.fromisoformat accepts hour 24 in newer versions of Python.
    fields = (text[0:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    year, month, day, hour, minute, second = map(int, fields)
    return Time(year, month, day, hour, minute, second, tzinfo=UTC).us


def _not_a_time(text: str) -> PeerError:
    return PeerError(f"Not an RFC 3339 time: {text[:64]!r}.")
