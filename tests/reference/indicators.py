"""Indicators from their definitions: whole prefixes, Fractions, no running state."""

from fractions import Fraction
from itertools import pairwise
from math import sqrt
from typing import Any


def tail(xs: Any, window: Any) -> Any:
    return xs[max(0, len(xs) - window) :]


def root(x: Any) -> Any:
    """Square root of a Fraction as a float, without overflow for the sizes used in tests."""
    return sqrt(x)


def rolling_sum(xs: Any, window: Any) -> Any:
    return [float(sum(map(Fraction, tail(xs[: i + 1], window)))) for i in range(len(xs))]


def sma(xs: Any, window: Any) -> Any:
    out = []
    for i in range(len(xs)):
        part = tail(xs[: i + 1], window)
        out.append(float(sum(map(Fraction, part)) / len(part)))
    return out


def rolling_std(xs: Any, window: Any) -> Any:
    out = []
    for i in range(len(xs)):
        part = [Fraction(x) for x in tail(xs[: i + 1], window)]
        mean = sum(part) / len(part)
        squares = sum((x - mean) ** 2 for x in part)
        out.append(root(squares / (len(part) - 1)) if len(part) > 1 else 0.0)
    return out


def rolling_min(xs: Any, window: Any) -> Any:
    return [min(tail(xs[: i + 1], window)) for i in range(len(xs))]


def rolling_max(xs: Any, window: Any) -> Any:
    return [max(tail(xs[: i + 1], window)) for i in range(len(xs))]


def ema(xs: Any, period: Any) -> Any:
    alpha = Fraction(2, period + 1)
    out: list[Any] = []
    for x in map(Fraction, xs):
        value = x if not out else alpha * x + (1 - alpha) * out[-1]
        out.append(value.limit_denominator(10**60) if value.denominator > 10**400 else value)
    return [float(x) for x in out]


def wilder(xs: Any, period: Any) -> Any:
    """Plain mean of the first `period`, then Wilder's smoothing; while fewer, the mean of what there is."""
    out = []
    for i, x in enumerate(xs):
        if i < period:
            out.append(sum(xs[: i + 1]) / (i + 1))
        else:
            out.append((out[-1] * (period - 1) + x) / period)
    return out


def rsi(xs: Any, period: Any) -> Any:
    changes = [b - a for a, b in pairwise(xs)]
    gains = wilder([max(c, 0.0) for c in changes], period)
    losses = wilder([max(-c, 0.0) for c in changes], period)
    out = [50.0]
    for gain, loss in zip(gains, losses, strict=True):
        if gain == 0.0 and loss == 0.0:
            out.append(50.0)
        elif loss == 0.0:
            out.append(100.0)
        else:
            out.append(100.0 - 100.0 / (1.0 + gain / loss))
    return out[: len(xs)]


def atr(bars: Any, period: Any) -> Any:
    ranges = []
    for i, (high, low, _) in enumerate(bars):
        if i == 0:
            ranges.append(high - low)
        else:
            last = bars[i - 1][2]
            ranges.append(max(high - low, abs(high - last), abs(low - last)))
    return wilder(ranges, period)


def vwap(trades: Any, session_ns: Any, offset_ns: Any) -> Any:
    """trades: (price, qty, ts_ns)."""
    out = []
    for i, (price, _, ts_ns) in enumerate(trades):
        part = [
            (Fraction(p), Fraction(q))
            for p, q, t in trades[: i + 1]
            if session_ns == 0 or (t - offset_ns) // session_ns == (ts_ns - offset_ns) // session_ns
        ]
        volume = sum(q for _, q in part)
        out.append(float(sum(p * q for p, q in part) / volume) if volume else price)
    return out


def rolling_vwap(trades: Any, window: Any) -> Any:
    """trades: (price, qty)."""
    out = []
    for i in range(len(trades)):
        part = [(Fraction(p), Fraction(q)) for p, q in tail(trades[: i + 1], window)]
        out.append(float(sum(p * q for p, q in part) / sum(q for _, q in part)))
    return out
