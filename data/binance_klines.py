"""A venue's klines, asked for by REST, to rows that count in time bars as the trades that they stand for. Sans-I/O.

    plan = stretches("binance-usdm", {3600 * 10**9}, 200, seam_ns)      # which klines, from when to when: each moment once
    kline_rows(body, venue, instrument, slot, length_ns, start_ns, end_ns)

Series of several lengths share one tiling of the past: no two klines of it overlap, each lies in one interval of every series that wants
it, and towards now they get short, so that the rest of the running interval can be told by trades. Nothing here reads a clock or a socket.
"""

from collections.abc import Collection
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from twinloop.data.binance_scan_py import BadLineError, scaled
from twinloop.data.errors import DecodeError
from twinloop.data.instruments import MONEY_ONE, MONEY_SCALE, Instrument
from twinloop.data.rowfile import Rows, pick
from twinloop.kernels import rows as table
from twinloop.kernels.bars import MONEY_MAX

PAGE: Final = 1000  # Klines in one answer: spot's most, and on futures what costs 5 of 2,400.
MINUTE_NS: Final = 60 * 10**9
_MS: Final = 10**6
# Those that begin on multiples of their length since the epoch, as bars do: a venue's weeks begin on Mondays.
_LENGTHS: Final = {
    "1m": MINUTE_NS, "3m": 3 * MINUTE_NS, "5m": 5 * MINUTE_NS, "15m": 15 * MINUTE_NS, "30m": 30 * MINUTE_NS, "1h": 60 * MINUTE_NS,
    "2h": 120 * MINUTE_NS, "4h": 240 * MINUTE_NS, "6h": 360 * MINUTE_NS, "8h": 480 * MINUTE_NS, "12h": 720 * MINUTE_NS, "1d": 1440 * MINUTE_NS,
}  # fmt: skip
LENGTHS_NS: Final = {
    "binance-spot": {"1s": 10**9} | _LENGTHS,
    "binance-usdm": _LENGTHS,
    "binance-coinm": _LENGTHS,
}
_PATHS: Final = {
    "binance-spot": "/api/v3/klines",
    "binance-usdm": "/fapi/v1/klines",
    "binance-coinm": "/dapi/v1/klines",
}
_TIMES: Final = {"binance-spot": "/api/v3/time", "binance-usdm": "/fapi/v1/time", "binance-coinm": "/dapi/v1/time"}
_KLINES: Final = msgspec.json.Decoder(list[tuple[int, str, str, str, str, str, int, str, int, Any, Any, Any]])
_Time: Final = msgspec.defstruct("_Time", [("serverTime", int)])
_TIME: Final = msgspec.json.Decoder(_Time)


class Stretch(NamedTuple):
    """Klines of one length, one after the other, from start_ns to end_ns: ns since the epoch, on multiples of the length."""

    length_ns: int
    start_ns: int
    end_ns: int


def shortest_ns(venue: str) -> int:
    """Length of a venue's shortest kline."""
    return min(LENGTHS_NS[venue].values())


def stretches(venue: str, sizes: Collection[int], bars: int, seam_ns: int) -> list[Stretch]:
    """The klines that give each series by time its last `bars` intervals before seam_ns and what has passed of the running one, oldest first.

    sizes: lengths of the series, ns, each a multiple of shortest_ns. The kernel counts a kline in every series whose length it divides, so
    klines of a length begin where an interval of each such series does: some get a few bars more. They end at or before seam_ns, by less
    than a minute.
    """
    found: list[tuple[int, int, set[int]]] = []  # Start, length of the klines, series that count them first.
    for first_ns, size in sorted((max(seam_ns // size - bars, 0) * size, size) for size in sizes):
        if any(size in new for _, _, new in found):
            continue
        start_ns, new = first_ns, set[int]()
        while True:
            before_ns = found[-1][1] if found else 0
            length_ns = _longest_in(venue, gcd(before_ns, size, *new))
            counted = {each for _, _, earlier in found for each in earlier}
            new |= {each for each in sizes if each % length_ns == 0 and each not in counted}
            start_ns = start_ns // (step := lcm(before_ns or 1, *new)) * step
            if not found or start_ns > found[-1][0]:
                break
            new |= found.pop()[2]  # It would begin before those: they are told by it.
        found.append((start_ns, length_ns, new))
    length_ns = _longest_in(venue, gcd(found[-1][1], MINUTE_NS))
    ends = [start_ns for start_ns, _, _ in found[1:]] + [seam_ns // found[-1][1] * found[-1][1]]
    plan = [Stretch(each, start_ns, end_ns) for (start_ns, each, _), end_ns in zip(found, ends, strict=True)]
    plan.append(Stretch(length_ns, ends[-1], seam_ns // length_ns * length_ns))
    return [each for each in plan if each.start_ns < each.end_ns]


def _longest_in(venue: str, common: int) -> int:
    return max(each for each in LENGTHS_NS[venue].values() if common % each == 0)


def klines_path(venue: str, symbol: str, length_ns: int, start_ns: int, end_ns: int) -> str:
    """Where the first PAGE klines from start_ns on are, none that begins at end_ns or later."""
    name = next(name for name, each in LENGTHS_NS[venue].items() if each == length_ns)
    return f"{_PATHS[venue]}?symbol={symbol}&interval={name}&startTime={start_ns // _MS}&endTime={end_ns // _MS - 1}&limit={PAGE}"


def time_path(venue: str) -> str:
    """Where the venue's time is."""
    return _TIMES[venue]


def venue_time_ns(body: bytes) -> int:
    """The venue's time of an answer. DecodeError for one that does not tell it."""
    try:
        told: int = _TIME.decode(body).serverTime  # type: ignore[attr-defined]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeError("the venue's time cannot be read", got=str(error)) from None
    return told * _MS


def kline_rows(
    body: bytes, venue: str, instrument: Instrument, slot: int, length_ns: int, start_ns: int, end_ns: int
) -> tuple[Rows, int]:
    """(Rows of one answer, end of its last kline or start_ns). DecodeError for an answer of which any part cannot be read.

    A BAR in its last nanosecond, so that it counts before its interval ends, and a CLOCK at its end. A kline without trades has only that.
    """
    try:
        found = _KLINES.decode(body)
        rows = np.zeros(3 * len(found), table.ROW)
        heads, tails, clocks = rows[0::3], rows[1::3], rows[2::3]
        last_ns = start_ns - length_ns
        for at, kline in enumerate(found):
            opens_ns = kline[0] * _MS
            if not last_ns < opens_ns < end_ns or opens_ns % length_ns or (kline[6] + 1) * _MS != opens_ns + length_ns:
                raise _unreadable(instrument, "klines one after the other in the time asked for", f"one that opens at {kline[0]} and ends at {kline[6]}")  # fmt: skip
            last_ns = opens_ns
            _fill(heads[at], tails[at], kline, venue, instrument)
        ends_ns = np.array([each[0] for each in found], np.int64) * _MS + length_ns
    except (msgspec.MsgspecError, UnicodeDecodeError, BadLineError) as error:
        raise _unreadable(instrument, "a list of klines", str(error)) from None
    heads["kind"], heads["flags"], heads["venue_ns"] = table.BAR, table.FLAG_CONTINUES, ends_ns
    tails["kind"], tails["flags"], tails["venue_ns"] = table.BAR, table.FLAG_TAIL, ends_ns
    heads["local_ns"] = tails["local_ns"] = ends_ns - 1
    tails["interval_ns"] = length_ns
    clocks["kind"], clocks["local_ns"] = table.CLOCK, ends_ns
    heads["instrument"] = tails["instrument"] = slot
    traded = np.repeat(tails["trades"] > 0, 3)
    traded[2::3] = True
    return pick(rows, traded), int(ends_ns[-1]) if len(found) else start_ns


def _fill(head: Any, tail: Any, kline: Any, venue: str, instrument: Instrument) -> None:
    """The words of one kline's two rows."""
    for name, text in zip(("open", "high", "low", "close"), kline[1:5], strict=True):
        head[name] = scaled(text, instrument.price_scale)
    tail["volume"], tail["trades"] = scaled(kline[5], instrument.qty_scale), kline[8]
    money = _money(kline[7]) if venue != "binance-coinm" else _inverse_notional(kline, instrument)
    tail["notional"] = min(money, MONEY_MAX - 1)
    low, high = int(head["low"]), int(head["high"])
    if kline[8] < 0 or not 0 < low <= int(head["open"]) <= high or not low <= int(head["close"]) <= high:
        raise _unreadable(instrument, "prices above 0 between low and high", f"the kline that opens at {kline[0]}")


def _money(text: str) -> int:
    """Scaled like any number, but of more digits: a day's value passes what an order's may be."""
    whole, point, fraction = text.partition(".")
    low = scaled(f"0{point}{fraction}", MONEY_SCALE)
    return scaled(whole, 0) * MONEY_ONE + low


def _inverse_notional(kline: Any, instrument: Instrument) -> int:
    """Price times contracts, as bars from trades sum it: contracts times their harmonic mean price, which is all that the venue tells."""
    base = Fraction(scaled(kline[7], MONEY_SCALE), 10**MONEY_SCALE)
    contracts = Fraction(scaled(kline[5], instrument.qty_scale), 10**instrument.qty_scale)
    size = Fraction(instrument.contract_size, 10**MONEY_SCALE)
    return round(contracts * contracts * size / base * 10**MONEY_SCALE) if base else 0


def _unreadable(instrument: Instrument, expected: str, got: str) -> DecodeError:
    return DecodeError("klines that cannot be read", field=instrument.symbol, expected=expected, got=got)
