"""Times as a user writes them, to int64 nanoseconds since the epoch, UTC; exact, never through a float.

Must not read the clock.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

from twinloop.data.errors import ConfigError

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
MONTH_NS_MIN: Final = 28 * DAY_NS
MONTH_NS_MAX: Final = 31 * DAY_NS
_UNITS: Final = (
    ("d", DAY_NS),
    ("h", HOUR_NS),
    ("m", MINUTE_NS),
    ("s", SECOND_NS),
    ("ms", 10**6),
    ("us", 10**3),
    ("ns", 1),
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION: Final = re.compile(r"(.*T?\d\d:\d\d:\d\d)\.(\d{1,9})(.*)", re.DOTALL)

Moment = int | str | date | datetime


def to_ns(moment: Moment) -> int:
    """Nanoseconds since the epoch of an int (already ns), an ISO 8601 date or time, or a date or datetime object.

    What names no time zone is UTC; a date is its midnight. Raises ConfigError.
    """
    if isinstance(moment, int):
        return moment
    fraction_ns = 0
    if isinstance(moment, str):
        text = moment.strip()
        found = _FRACTION.fullmatch(text)
        if found:
            text = found[1] + found[3]
            fraction_ns = int(found[2].ljust(9, "0"))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigError(
                "not a time", expected='ISO 8601 such as "2024-08-08" or "2024-08-08T23:54:15.030Z"', got=moment
            ) from None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * SECOND_NS + since.microseconds * 1000 + fraction_ns


def to_text(ts_ns: int) -> str:
    """ISO 8601 text of nanoseconds since the epoch, UTC, with as many decimals as it has (0, 3, 6 or 9)."""
    seconds, rest = divmod(int(ts_ns), SECOND_NS)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{ts_ns} ns"
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def span_text(start: Moment | None, end: Moment | None) -> str:
    """A span as a person reads it, such as "2024-08-08T00:00:00Z to the end"; a side that is None is open."""
    first = "the start" if start is None else to_text(to_ns(start))
    return f"{first} to {'the end' if end is None else to_text(to_ns(end))}"


def parse_interval(text: str | int) -> int:
    """Length in ns of "1m", "4h", "1d", "250ms" or an int of ns; "1mo" is MONTH_NS_MAX, a calendar month. ConfigError."""
    if isinstance(text, int):
        if text <= 0:
            raise ConfigError("not an interval", expected="a positive number of nanoseconds", got=text)
        return text
    found = re.fullmatch(r"(\d{1,9})\s*(mo|ms|us|ns|d|h|m|s|w)", text.strip())
    if not found or not int(found[1]):
        raise ConfigError("not an interval", expected='a length such as "1m", "4h", "1d", "1w" or "1mo"', got=text)
    count, unit = int(found[1]), found[2]
    if unit == "mo":
        if count != 1:
            raise ConfigError("not an interval", expected='"1mo" as the only length in months', got=text)
        return MONTH_NS_MAX
    return count * dict((*_UNITS, ("w", 7 * DAY_NS)))[unit]


def interval_label(interval_ns: int) -> str:
    """Shortest label of a length: "1m", "4h", "1d"; 28 to 31 days are "1mo"."""
    if MONTH_NS_MIN <= interval_ns <= MONTH_NS_MAX:
        return "1mo"
    for label, unit_ns in _UNITS:
        if interval_ns % unit_ns == 0:
            return f"{interval_ns // unit_ns}{label}"
    raise AssertionError("every length is a number of nanoseconds")
