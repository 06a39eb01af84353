"""Bars: built from trades by time, by count, by volume, by notional; or a vendor's, as they are or put together to longer ones.

A fixed state record (BAR_STATE) that the event loop owns, one per series, and the functions that advance it. A bar is
never looked ahead at: it is written to `state["closed"]` by the row that closes it, and stays there until the next one.

When a bar closes:
- TIME_BAR: `size` ns long, on multiples of `size` since the epoch, half open: a trade at exactly the end belongs to the
  next bar. It closes on the first row (of any kind, a timer included) whose local time is at or past its end: call
  `bar_on_clock` on every row; `bar_on_trade` does it as well. An interval without a trade makes no bar, and nothing is
  carried over from the bar before it.
- TICK_BAR, VOLUME_BAR, NOTIONAL_BAR: on the trade that brings the count, the quantity, or the sum of price * quantity to
  `size`. The whole trade belongs to the bar it closes; the excess is not carried into the next one.
- A bar put together from a vendor's shorter ones (bar_on_bar): by the vendor's bar that ends where it ends; if that one is
  missing, by the next one (bar_before). It is on multiples of `size` since the epoch like any TIME_BAR.
- A TIME_BAR that a vendor's bar is counted in (bar_joined), for trades that were before our time: as if they had come one by one.

Numbers. Prices and quantities are scaled int64 with magnitude < 2**62 (quantities >= 0). The sum of price * quantity is
exact: two limbs of 62 bits, so it cannot overflow below 2**62 trades. Once per closed bar it is rounded, half to even, to
money (1e-8 of the quote currency); a value beyond 2**62 is clamped to MONEY_MAX and flagged BAR_NOTIONAL_CLAMPED, a
volume beyond 2**62 likewise (BAR_VOLUME_CLAMPED). Local time must not fall; a trade with an earlier time than the bar's
start is counted in the open bar. Prices may be negative, but a NOTIONAL_BAR then only closes when the sum reaches `size`.

This module must not decide which prints count (off-market ones are the caller's to leave out), and knows no rows.
"""

from typing import Any, Final

import numpy as np

from twinloop.kernels.jit import njit

# What the size of a bar counts.
TIME_BAR: Final = 0
TICK_BAR: Final = 1
VOLUME_BAR: Final = 2
NOTIONAL_BAR: Final = 3

# Flags of a closed bar.
BAR_NOTIONAL_CLAMPED: Final = 1
BAR_VOLUME_CLAMPED: Final = 2
BAR_PARTIAL: Final = 4  # Closed by bar_flush before its time.

# Answers of bar_init.
BAR_OK: Final = 0
BAR_BAD_KIND: Final = 1
BAR_BAD_SIZE: Final = 2
BAR_BAD_SCALE: Final = 3

MONEY_SCALE: Final = 8
MONEY_MAX: Final = 2**62
VOLUME_MAX: Final = 2**62
NEVER_NS: Final = 2**63 - 1
SCALE_MAX: Final = 18  # Digits of the price, and of the quantity.
SCALE_SUM_MAX: Final = 26  # Of both together: 10**(26 - 8) still fits in 62 bits.

# Typed, since numba compiles a callee anew for every literal it is called with.
_COMPLETE: Final[Any] = np.int64(0)
_PARTIAL: Final[Any] = np.int64(BAR_PARTIAL)

LIMB_BITS: Final = 62
LIMB_MASK: Final = 2**62 - 1
HALF_BITS: Final = 31
HALF_MASK: Final = 2**31 - 1

BAR: Final = np.dtype(
    [
        ("start_ns", "<i8"),  # TIME: the interval's start; others: local time of the first trade
        ("end_ns", "<i8"),  # TIME: the interval's end; others: local time of the last trade
        ("closed_ns", "<i8"),  # local time of the row that closed it
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),
        ("notional", "<i8"),  # money
        ("trades", "<i8"),
        ("flags", "<i8"),
    ],
    align=True,
)

BAR_STATE: Final = np.dtype(
    [
        ("due_ns", "<i8"),  # the open time bar's end; NEVER_NS when no clock can close a bar
        ("kind", "<i8"),
        ("size", "<i8"),
        ("trades", "<i8"),  # of the open bar; 0: no bar is open
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),
        ("notional_low", "<i8"),  # exact price * quantity, in [0, 2**62)
        ("notional_high", "<i8"),  # in units of 2**62
        ("start_ns", "<i8"),
        ("last_ns", "<i8"),
        ("size_low", "<i8"),  # a notional bar's size in price * quantity units, two limbs
        ("size_high", "<i8"),
        ("divisor", "<i8"),  # price * quantity units -> money: times multiplier, over divisor
        ("multiplier", "<i8"),
        ("overflow", "<i8"),  # flags gathered by the open bar
        ("parts", "<i8"),  # vendor's bars in the open bar
        ("count", "<i8"),  # bars closed so far
        ("closed", BAR),  # the last closed bar
    ],
    align=True,
)


@njit(cache=True)
def multiply_limbs(a: int, b: int) -> tuple[int, int]:
    """Exact a * b as (high, low): high * 2**62 + low, 0 <= low < 2**62. |a|, |b| < 2**62; signs allowed.

    Schoolbook multiplication on halves of 31 bits; the shifts are arithmetic, so the high halves carry the sign.
    """
    a_high = a >> HALF_BITS
    a_low = a & HALF_MASK
    b_high = b >> HALF_BITS
    b_low = b & HALF_MASK
    cross = a_high * b_low + a_low * b_high
    low = a_low * b_low + ((cross & HALF_MASK) << HALF_BITS)
    high = a_high * b_high + (cross >> HALF_BITS) + (low >> LIMB_BITS)
    return high, low & LIMB_MASK


@njit(cache=True)
def divide_limbs(high: int, low: int, divisor: int) -> tuple[int, int]:
    """(high * 2**62 + low) / divisor, rounded half to even, as (quotient, 1 if clamped to MONEY_MAX else 0).

    high >= 0, 0 <= low < 2**62, 0 < divisor < 2**62. Long division by bits: 62 rounds when high is not zero.
    """
    if high == 0:
        quotient = low // divisor
        rest = low - quotient * divisor
    else:
        if high >= divisor:  # The quotient is 2**62 or more.
            return MONEY_MAX, 1
        quotient = 0
        rest = high
        for i in range(LIMB_BITS):
            rest = (rest << 1) | ((low >> (LIMB_BITS - 1 - i)) & 1)
            quotient <<= 1
            if rest >= divisor:
                rest -= divisor
                quotient |= 1
    twice = rest << 1
    if twice > divisor or (twice == divisor and quotient & 1):
        quotient += 1
    return quotient, 0


@njit(cache=True)
def limbs_to_money(high: int, low: int, multiplier: int, divisor: int) -> tuple[int, int]:
    """A sum of price * quantity as money: (money, 1 if clamped else 0). Signs allowed, see bar_init for the factors."""
    negative = high < 0
    if negative:
        # -(high * 2**62 + low), again with the low limb in range.
        high = -high
        if low > 0:
            high -= 1
            low = (LIMB_MASK + 1) - low
    if multiplier > 1:
        if high != 0 or low > MONEY_MAX // multiplier:
            money = MONEY_MAX
            clamped = 1
        else:
            money = low * multiplier
            clamped = 0
    else:
        money, clamped = divide_limbs(high, low, divisor)
    if negative:
        money = -money
    return money, clamped


@njit(cache=True)
def bar_init(state: Any, kind: int, size: int, price_scale: int, qty_scale: int) -> int:
    """Empty the state and set what its bars count. Returns BAR_OK or what is wrong; the state is then left as it was.

    size: TIME ns; TICK trades; VOLUME scaled quantity; NOTIONAL money (1e-8 of the quote currency). All > 0, < 2**62.
    price_scale, qty_scale: decimal digits of the instrument, in 0..18, together <= 26.

    price * quantity is the notional of a linear or spot instrument with a contract size of one. For other contract sizes
    scale `size` and the result; of an inverse contract the quantity itself is the notional: use VOLUME.
    """
    if kind < TIME_BAR or kind > NOTIONAL_BAR:
        return BAR_BAD_KIND
    if size <= 0 or size > LIMB_MASK:
        return BAR_BAD_SIZE
    if price_scale < 0 or qty_scale < 0 or price_scale > SCALE_MAX or qty_scale > SCALE_MAX:
        return BAR_BAD_SCALE
    digits = price_scale + qty_scale - MONEY_SCALE
    if digits > SCALE_SUM_MAX - MONEY_SCALE:
        return BAR_BAD_SCALE
    power = 1
    for _ in range(abs(digits)):
        power *= 10
    if digits >= 0:
        state["divisor"] = power
        state["multiplier"] = 1
        high, low = multiply_limbs(size, power)
    else:
        # sum * power >= size is sum >= ceil(size / power).
        state["divisor"] = 1
        state["multiplier"] = power
        high, low = 0, (size + power - 1) // power
    state["size_high"] = high
    state["size_low"] = low
    state["kind"] = kind
    state["size"] = size
    state["count"] = 0
    closed = state["closed"]
    closed["start_ns"] = 0
    closed["end_ns"] = 0
    closed["closed_ns"] = 0
    closed["open"] = 0
    closed["high"] = 0
    closed["low"] = 0
    closed["close"] = 0
    closed["volume"] = 0
    closed["notional"] = 0
    closed["trades"] = 0
    closed["flags"] = 0
    _empty(state)
    return BAR_OK


@njit(cache=True)
def bar_on_clock(state: Any, now_ns: int) -> int:
    """1 if the open time bar ended at or before now_ns and was closed, else 0. One compare in the usual case."""
    if now_ns < state["due_ns"]:
        return 0
    if state["trades"] == 0:  # Only with now_ns at the end of time.
        return 0
    _close(state, state["due_ns"], now_ns, _COMPLETE)
    return 1


@njit(cache=True)
def bar_on_trade(state: Any, price: int, qty: int, local_ns: int) -> int:
    """1 if a bar closed (it is in state["closed"]), else 0. A trade closes at most one bar.

    Of a time bar the trade closes the bar before it and opens the next; of the other kinds it closes its own.
    """
    closed = 0
    if local_ns >= state["due_ns"]:
        closed = bar_on_clock(state, local_ns)
    trades = state["trades"]
    kind = state["kind"]
    if trades == 0:
        _open(state, price, local_ns)
    elif price > state["high"]:
        state["high"] = price
    elif price < state["low"]:
        state["low"] = price
    state["trades"] = trades + 1
    state["close"] = price
    state["last_ns"] = local_ns
    volume = state["volume"] + qty
    if volume > VOLUME_MAX:
        volume = VOLUME_MAX
        state["overflow"] |= BAR_VOLUME_CLAMPED
    state["volume"] = volume
    if (price | qty) >> HALF_BITS == 0:  # Both in [0, 2**31): the product fits one limb.
        low = state["notional_low"] + price * qty
    else:
        high, low = multiply_limbs(price, qty)
        low += state["notional_low"]
        state["notional_high"] += high
    if low > LIMB_MASK:
        state["notional_high"] += 1
        low &= LIMB_MASK
    state["notional_low"] = low
    if kind == TIME_BAR:
        return closed
    if _reached(state, kind):
        _close(state, local_ns, local_ns, _COMPLETE)
        return 1
    return 0


@njit(cache=True)
def bar_given(state: Any, bar: Any) -> None:
    """A vendor's bar, a BAR record, as the series' closed bar: nothing is computed."""
    closed = state["closed"]
    closed["start_ns"] = bar["start_ns"]
    closed["end_ns"] = bar["end_ns"]
    closed["closed_ns"] = bar["closed_ns"]
    closed["open"] = bar["open"]
    closed["high"] = bar["high"]
    closed["low"] = bar["low"]
    closed["close"] = bar["close"]
    closed["volume"] = bar["volume"]
    closed["notional"] = bar["notional"]
    closed["trades"] = bar["trades"]
    closed["flags"] = 0
    state["count"] += 1


@njit(cache=True)
def bar_before(state: Any, bar: Any) -> int:
    """1 if the open bar ended before a vendor's bar begins (its own last one is missing) and was closed, else 0."""
    if state["parts"] == 0 or bar["start_ns"] < state["start_ns"] + state["size"]:
        return 0
    _close_bars(state, bar["closed_ns"])
    return 1


@njit(cache=True)
def bar_on_bar(state: Any, bar: Any) -> int:
    """Add a vendor's bar to the open time bar: 1 if it ends there and was closed, else 0. Call bar_before first.

    No clock closes such a bar, `due_ns` stays NEVER_NS: at its end the vendor's last bar has yet to come. A bar that begins before
    the open one is counted in it. `notional` is the sum of the vendor's, money; `trades` may be 0, where the vendor does not tell.
    """
    if state["parts"] == 0:
        state["start_ns"] = bar["start_ns"] // state["size"] * state["size"]
        state["open"] = bar["open"]
        state["high"] = bar["high"]
        state["low"] = bar["low"]
    state["high"] = max(state["high"], bar["high"])
    state["low"] = min(state["low"], bar["low"])
    state["close"] = bar["close"]
    state["last_ns"] = bar["end_ns"]
    state["parts"] += 1
    state["trades"] += bar["trades"]
    state["volume"] += bar["volume"]
    if state["volume"] > VOLUME_MAX:
        state["volume"] = VOLUME_MAX
        state["overflow"] |= BAR_VOLUME_CLAMPED
    state["notional_low"] += bar["notional"]
    if state["notional_low"] > MONEY_MAX:
        state["notional_low"] = MONEY_MAX
        state["overflow"] |= BAR_NOTIONAL_CLAMPED
    if bar["end_ns"] < state["start_ns"] + state["size"]:
        return 0
    _close_bars(state, bar["closed_ns"])
    return 1


@njit(cache=True)
def bar_joined(state: Any, bar: Any) -> int:
    """Count a vendor's bar in a time bar that is built from trades, as the trades that it stands for: 1 if it was, else 0.

    It is counted only where it has trades, its length divides the series' and it lies in one interval; a clock closes the interval like any
    other. Exact where the vendor's notional is: it is turned back into price * quantity units, down to a whole one.
    """
    size = state["size"]
    start_ns = bar["start_ns"] // size * size
    length = bar["end_ns"] - bar["start_ns"]
    if state["kind"] != TIME_BAR or bar["trades"] <= 0 or length <= 0:
        return 0
    if size % length != 0 or bar["end_ns"] > start_ns + size:
        return 0
    if state["trades"] == 0:
        state["start_ns"] = start_ns
        state["due_ns"] = start_ns + size
        state["open"] = bar["open"]
        state["high"] = bar["high"]
        state["low"] = bar["low"]
    state["high"] = max(state["high"], bar["high"])
    state["low"] = min(state["low"], bar["low"])
    state["close"] = bar["close"]
    state["last_ns"] = bar["closed_ns"]
    state["trades"] += bar["trades"]
    volume = state["volume"] + bar["volume"]
    if volume > VOLUME_MAX:
        volume = VOLUME_MAX
        state["overflow"] |= BAR_VOLUME_CLAMPED
    state["volume"] = volume
    if state["multiplier"] > 1:
        high, low = np.int64(0), bar["notional"] // state["multiplier"]
    else:
        high, low = multiply_limbs(bar["notional"], state["divisor"])
    low += state["notional_low"]
    state["notional_high"] += high
    if low > LIMB_MASK:
        state["notional_high"] += 1
        low &= LIMB_MASK
    state["notional_low"] = low
    return 1


@njit(cache=True)
def _close_bars(state: Any, now_ns: int) -> None:
    """Close a bar made of a vendor's: its notional is money already."""
    money = state["notional_low"]
    state["notional_low"] = 0
    _close(state, state["start_ns"] + state["size"], now_ns, _COMPLETE)
    state["closed"]["notional"] = money


@njit(cache=True)
def bar_flush(state: Any, now_ns: int) -> int:
    """Close what is open, as at the end of a run: 1 if there was an open bar, else 0.

    A time bar keeps its interval's end; a bar closed before it was complete is flagged BAR_PARTIAL.
    """
    if state["trades"] == 0:
        return 0
    if bar_on_clock(state, now_ns):
        return 1
    end_ns = state["due_ns"] if state["kind"] == TIME_BAR else state["last_ns"]
    _close(state, end_ns, now_ns, _PARTIAL)
    return 1


@njit(cache=True)
def _reached(state: Any, kind: int) -> bool:
    if kind == TICK_BAR:
        return bool(state["trades"] >= state["size"])
    if kind == VOLUME_BAR:
        return bool(state["volume"] >= state["size"])
    high = state["notional_high"]
    size_high = state["size_high"]
    return bool(high > size_high or (high == size_high and state["notional_low"] >= state["size_low"]))


@njit(cache=True)
def _open(state: Any, price: int, local_ns: int) -> None:
    state["open"] = price
    state["high"] = price
    state["low"] = price
    if state["kind"] == TIME_BAR:
        size = state["size"]
        start_ns = local_ns // size * size
        state["start_ns"] = start_ns
        state["due_ns"] = start_ns + size
    else:
        state["start_ns"] = local_ns


@njit(cache=True)
def _close(state: Any, end_ns: int, now_ns: int, flags: int) -> None:
    money, clamped = limbs_to_money(
        state["notional_high"], state["notional_low"], state["multiplier"], state["divisor"]
    )
    closed = state["closed"]
    closed["start_ns"] = state["start_ns"]
    closed["end_ns"] = end_ns
    closed["closed_ns"] = now_ns
    closed["open"] = state["open"]
    closed["high"] = state["high"]
    closed["low"] = state["low"]
    closed["close"] = state["close"]
    closed["volume"] = state["volume"]
    closed["notional"] = money
    closed["trades"] = state["trades"]
    closed["flags"] = state["overflow"] | flags | (BAR_NOTIONAL_CLAMPED if clamped else 0)
    state["count"] += 1
    _empty(state)


@njit(cache=True)
def _empty(state: Any) -> None:
    state["due_ns"] = NEVER_NS
    state["trades"] = 0
    state["open"] = 0
    state["high"] = 0
    state["low"] = 0
    state["close"] = 0
    state["volume"] = 0
    state["notional_low"] = 0
    state["notional_high"] = 0
    state["start_ns"] = 0
    state["last_ns"] = 0
    state["overflow"] = 0
    state["parts"] = 0
