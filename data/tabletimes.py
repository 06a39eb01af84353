"""Columns of time text to nanoseconds since the epoch, UTC: ISO and common date formats, or epoch s, ms, us, ns.

Exact: fractions are read as digits. What is inferred is returned, so that it can be stated. This module must not know what
the times belong to.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.decimals import FINE, Decimals, read_decimals, to_scale
from twinloop.data.errors import ConfigError, DataError
from twinloop.data.times import DAY_NS, MONTH_NS_MAX, MONTH_NS_MIN

UNIT_DIGITS: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}
# An epoch read in the wrong unit lands near 1970 or beyond 2200.
EPOCH_MIN_NS: Final = 365 * DAY_NS
EPOCH_MAX_NS: Final = 230 * 365 * DAY_NS
TEXT_MIN_US: Final = -9_000_000_000_000_000  # 1684; ns of it still fit int64.
TEXT_MAX_US: Final = 9_000_000_000_000_000  # 2255
_INT64_MAX: Final = 2**63 - 1
_DATES: Final = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
)
_CLOCKS: Final = ("", " %H:%M:%S", " %H:%M", "%H%M%S", " %H%M%S", " %I:%M:%S %p")
_TWINS: Final = (("%m/%d/%Y", "%d/%m/%Y"), ("%m-%d-%Y", "%d-%m-%Y"))


class Times(NamedTuple):
    """ns: (n,) int64. code: (n,) object, "" where fine. stated: what was taken, by setting."""

    ns: NDArray[np.int64]
    code: NDArray[np.object_]
    stated: dict[str, str]


def read_times(text: pl.Series, *, unit: str | None, time_format: str | None, timezone: str) -> Times:
    """Times of a column of text. unit: "s", "ms", "us", "ns", "text", or None to tell by looking.

    time_format: strptime pattern of text times. timezone: of text that names none. Raises ConfigError for settings that
    cannot be, DataError when the column is no time at all or could be read in two ways.
    """
    if unit is not None and unit not in (*UNIT_DIGITS, "text"):
        raise ConfigError("not a time unit", expected="s, ms, us, ns or text", got=unit)
    if unit != "text" and time_format is None:
        numbers = read_decimals(text, _INT64_MAX)
        fine = numbers.status == FINE
        if unit in UNIT_DIGITS or (fine.mean() > 0.5 and not _digits_are_dates(text)):
            return _from_epoch(numbers, unit)
    return _from_text(text, time_format, timezone)


def _digits_are_dates(text: pl.Series) -> bool:
    """Whether digits are dates such as 20240808, with or without a time of day."""
    dates = text.str.contains(r"^\s*(19|20)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])([0-9]{6})?\s*$").fill_null(
        value=False
    )
    return float(dates.sum()) > 0.5 * text.len()


def _from_epoch(numbers: Decimals, unit: str | None) -> Times:
    fine = numbers.status == FINE
    if not fine.any():
        raise DataError("time column holds no numbers", remedy='name the right column, or time_unit="text"')
    whole = numbers.mantissa[fine] // 10 ** np.minimum(numbers.decimals[fine], 18)
    median = int(np.sort(np.abs(whole))[whole.size // 2])
    looks_like = next((name for name, top in (("s", 10**11), ("ms", 10**14), ("us", 10**17)) if median < top), "ns")
    taken = unit or looks_like
    scaled = to_scale(numbers, UNIT_DIGITS[taken], _INT64_MAX)
    code = np.full(fine.size, "", object)
    code[scaled.status != FINE] = "time_out_of_range"
    code[~fine] = "bad_time"
    good = scaled.status == FINE
    inside = good & (scaled.mantissa >= EPOCH_MIN_NS) & (scaled.mantissa < EPOCH_MAX_NS)
    if unit is not None and taken != looks_like and inside.sum() * 2 < fine.sum():
        raise DataError(
            "times make no sense in this unit", field="time_unit", expected=f"{looks_like}, by their size", got=unit
        )
    if inside.sum() * 2 >= good.sum():
        code[good & ~inside] = "time_out_of_range"
    return Times(np.where(code == "", scaled.mantissa, 0), code, {"time_unit": taken, "timezone": "UTC"})


def _from_text(text: pl.Series, time_format: str | None, timezone: str) -> Times:
    cleaned = (
        text.cast(pl.String)
        .str.strip_chars()
        .str.replace(r"^([0-9./-]+)[T ]+([0-9])", "$1 $2")
        .str.replace(r"(Z| ?UTC| ?GMT)$", "+00:00")
    )
    fraction = cleaned.str.extract(r":[0-9]{2}[.,]([0-9]{1,9})(?:[^0-9]|$)").fill_null("")
    fraction_ns = fraction.str.pad_end(9, "0").cast(pl.Int64).to_numpy()
    plain = cleaned.str.replace(r"(:[0-9]{2})[.,][0-9]{1,9}([^0-9]|$)", "$1$2")
    zoned = plain.str.contains(r"[0-9] ?[+-][0-9]{2}:?[0-9]{2}$").fill_null(value=False)
    zone = "%z" if float(zoned.sum()) > 0.5 * text.len() else ""
    if zone:
        plain = plain.str.replace(r" ?([+-][0-9]{2}):?([0-9]{2})$", "$1$2")
    found = _best_format(plain, time_format, zone)
    if found is None:
        sample = next((value for value in text if value), "")
        raise DataError(
            "times cannot be read", expected="ISO dates, a common date format or epoch numbers", got=sample,
            remedy='pass time_format="..." (strptime) or time_unit',
        )  # fmt: skip
    pattern, parsed = found
    code = np.full(text.len(), "", object)
    code[parsed.is_null().to_numpy()] = "bad_time"
    if not zone and timezone != "UTC":
        try:
            placed = parsed.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
        except pl.exceptions.ComputeError:
            raise ConfigError("no such time zone", field="timezone", expected="an IANA name", got=timezone) from None
        code[(placed.is_null() & parsed.is_not_null()).to_numpy()] = "ambiguous_time"
        parsed = placed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    since_us = parsed.dt.epoch("us").fill_null(0).to_numpy()
    code[(since_us < TEXT_MIN_US) | (since_us > TEXT_MAX_US)] = "time_out_of_range"
    ns = np.where(code == "", since_us, 0) * 1000 + np.where(code == "", fraction_ns, 0)
    return Times(ns, code, {"time_format": pattern, "timezone": "UTC" if zone else timezone})


def _best_format(plain: pl.Series, time_format: str | None, zone: str) -> tuple[str, pl.Series] | None:
    """Pattern that reads most values, and the naive UTC or local datetimes (us) it gives."""
    patterns = [time_format] if time_format else [date + clock + zone for date in _DATES for clock in _CLOCKS]
    scores: dict[str, int] = {}
    sample = plain.drop_nulls().head(1000)
    for pattern in patterns:
        scores[pattern] = int(_parse(sample, pattern).is_not_null().sum())
    best = max(patterns, key=lambda pattern: scores[pattern])
    if not scores[best]:
        return None
    for first, second in _TWINS:
        if time_format is None and best.startswith(first):
            other = best.replace(first, second)
            mine, theirs = (int(_parse(plain, pattern).is_not_null().sum()) for pattern in (best, other))
            if theirs == mine:
                raise DataError(
                    "dates can be read in two ways",
                    expected=f"{best} or {other}",
                    remedy="pass time_format to say which",
                )
            best = other if theirs > mine else best
    return best, _parse(plain, best)


def _parse(plain: pl.Series, pattern: str) -> pl.Series:
    try:
        if not any(mark in pattern for mark in ("%H", "%I", "%s", "%T", "%R")):
            return plain.str.to_date(pattern, strict=False).cast(pl.Datetime("us"))
        parsed = plain.str.to_datetime(pattern, strict=False, time_unit="us", exact=True)
    except pl.exceptions.PolarsError as error:
        raise ConfigError("not a time format", expected="a strptime pattern", got=f"{pattern}: {error}") from None
    zone = parsed.dtype.time_zone if isinstance(parsed.dtype, pl.Datetime) else None
    return parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else parsed


def usual_step(ns: NDArray[np.int64]) -> int | None:
    """Most frequent positive difference of consecutive times, the smaller of equals; None when there is none."""
    steps = np.diff(ns)
    steps = steps[steps > 0]
    if not steps.size:
        return None
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def bar_spans(
    ns: NDArray[np.int64], interval_ns: int, stamp: str, timezone: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """(close times, lengths, rule taken) of bars stamped with their open or close times.

    Days and weeks are calendar days of the time zone (23 or 25 hours where clocks change). Months: stamps on first days are
    opens of calendar months, stamps on last days are names of the month that ends with that day.
    """
    if stamp == "close":
        return ns, np.full(ns.size, interval_ns, np.int64), "stamp is the close"
    local = pl.Series(ns).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(timezone)
    if MONTH_NS_MIN <= interval_ns <= MONTH_NS_MAX:
        if (local.dt.day() == 1).all():
            return (*_calendar(ns, local, "1mo"), "stamp opens a calendar month")
        if (local.dt.offset_by("1d").dt.day() == 1).all():
            closes, _ = _calendar(ns, local, "1d")
            starts = local.dt.month_start().dt.convert_time_zone("UTC").dt.epoch("ns").to_numpy()
            return closes, closes - starts, "stamp is the last day of a calendar month"
    if interval_ns % DAY_NS == 0:
        return (*_calendar(ns, local, f"{interval_ns // DAY_NS}d"), "stamp is the open")
    return ns + interval_ns, np.full(ns.size, interval_ns, np.int64), "stamp is the open"


def _calendar(ns: NDArray[np.int64], local: pl.Series, step: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    closes = local.dt.offset_by(step).dt.convert_time_zone("UTC").dt.epoch("ns").to_numpy()
    return closes, closes - ns
