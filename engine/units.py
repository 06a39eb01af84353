"""Settings as people write them, to the integers the engine takes: durations, money, rates, bars, times of day.

Every text names its unit; a bare number where a unit is needed is refused. Exact: through decimals, never through a float.
Each function raises ValueError whose text says what was expected; `config.py` adds file and key.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from twinloop.data.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

MONEY_DIGITS: Final = 8
UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_NS,
    "d": DAY_NS,
}
_DURATION: Final = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zµ]+)")
_BAR: Final = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+]?[0-9]+)?)\s*([A-Za-zµ]+)")
_COUNTED: Final = {
    "tick": "tick",
    "ticks": "tick",
    "trades": "tick",
    "volume": "volume",
    "notional": "notional",
}
_LARGEST_DIGITS: Final = 40
_INT_MAX: Final = 2**62


def duration_ns(value: Any) -> int:
    """Nanoseconds of "1ms", "250us", "1.5s", "2m", "1h", "0ms". A number without its unit is refused."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise ValueError(
            f'a duration with its unit; write "{value}ms" if milliseconds are meant, or ns, us, s, m, h, d'
        )
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a duration such as "250us", "1ms", "1.5s" or "1h"')
    unit = UNITS_NS.get(found[2])
    if unit is None:
        raise ValueError(f'a duration in ns, us, ms, s, m, h or d, not in "{found[2]}"')
    exact = Decimal(found[1].replace("_", "")) * unit
    if exact != exact.to_integral_value():
        raise ValueError("a whole number of nanoseconds")
    if exact >= _INT_MAX:
        raise ValueError("a duration below 146 years")
    return int(exact)


def _decimal(value: Any, meaning: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(meaning)
    try:
        exact = Decimal(str(value).replace("_", "").strip())
    except InvalidOperation:
        raise ValueError(meaning) from None
    if not exact.is_finite():
        raise ValueError(meaning)
    if (
        exact and exact.adjusted() >= _LARGEST_DIGITS
    ):  # No arithmetic with it ends in time: whoever compares it finds it too large.
        return Decimal(10).scaleb(_LARGEST_DIGITS).copy_sign(exact)
    return exact


def money_int(value: Any) -> int:
    """Units of 1e-8 of an amount such as "100000", 250.5 or "0.00000001"."""
    exact = _decimal(value, 'an amount such as "100000" or 250.50') * 10**MONEY_DIGITS
    if exact != exact.to_integral_value():
        raise ValueError(f"an amount of at most {MONEY_DIGITS} decimals")
    if abs(exact) >= _INT_MAX:
        raise ValueError("an amount below 46 billion")
    return int(exact)


def rate_of_bps(value: Any) -> int:
    """Rate in 1e-8 of basis points: 2 or "0.5" or -0.5 (a rebate)."""
    exact = _decimal(value, "basis points such as 2 or -0.5") * 10**4
    if exact != exact.to_integral_value() or abs(exact) >= 10**MONEY_DIGITS:
        raise ValueError("basis points of at most 4 decimals, below 10000")
    return int(exact)


def bar_kind(text: Any) -> tuple[str, Decimal]:
    """("time", "tick", "volume" or "notional"; size) of "1m", "100 ticks", "10 volume" or "1e6 notional"; size in ns, trades, base or quote units."""
    expected = 'bars such as "1m", "100 ticks", "10 volume" or "1e6 notional"'
    found = _BAR.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(expected)
    kind = _COUNTED.get(found[2].lower())
    if kind is None:
        if found[2] not in UNITS_NS:
            raise ValueError(expected)
        length = duration_ns(text)
        if length < 1_000_000:
            raise ValueError("time bars of at least 1ms")
        return "time", Decimal(length)
    size = _decimal(found[1], expected)
    if size <= 0 or (kind == "tick" and size != size.to_integral_value()):
        raise ValueError("a positive size" + (", a whole number of ticks" if kind == "tick" else ""))
    return kind, size


def bar_size(kind: str, size: Decimal, qty_scale: int) -> int:
    """Size in the units of kernels/bars.py: ns, trades, scaled quantity, money."""
    if kind == "volume":
        size *= Decimal(10) ** qty_scale
    elif kind == "notional":
        size *= 10**MONEY_DIGITS
    if size != size.to_integral_value() or not 0 < size < _INT_MAX:
        raise ValueError("a bar size that the instrument's quantity can express")
    return int(size)


def time_of_day(text: Any) -> tuple[time, str]:
    """(time, zone) of "17:00 America/New_York" or "00:00 UTC"."""
    expected = 'a time and its zone such as "17:00 America/New_York" or "00:00 UTC"'
    parts = text.split() if isinstance(text, str) else []
    if len(parts) != 2:
        raise ValueError(expected)
    try:
        at = time.fromisoformat(parts[0])
        zone_of(parts[1])
    except ValueError:
        raise ValueError(expected) from None
    return at, parts[1]


def zone_of(name: str) -> Any:
    """The time zone of a name. ValueError if there is none."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"a time zone, not {name!r}") from None


def next_time_ns(after_ns: int, at: time, zone: str) -> int:
    """The first moment after after_ns at which the clock of the zone shows `at`, ns since the epoch."""
    place = zone_of(zone)
    day: date = datetime.fromtimestamp(after_ns // SECOND_NS, place).date()
    while True:
        moment = datetime.combine(day, at, place).astimezone(UTC)
        moment_ns = int(moment.timestamp()) * SECOND_NS
        if moment_ns > after_ns:
            return moment_ns
        day += timedelta(days=1)


def session_ends_ns(first_ns: int, last_ns: int, at: time, zone: str) -> list[int]:
    """Every session end of a run by the clock of its place, ns since the epoch: after first_ns, up to the first after last_ns."""
    ends = [next_time_ns(first_ns, at, zone)]
    while ends[-1] <= last_ns:
        ends.append(next_time_ns(ends[-1], at, zone))
    return ends
