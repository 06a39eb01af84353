"""Indicators as functions over fixed state records.

Each indicator is a record type, `<name>_init(state, ...)` (returns INDICATOR_OK, or INDICATOR_BAD_SIZE and leaves the
state alone), `<name>_update(state, ...) -> float` and the field `state["value"]`, which holds what update returned last.
The types nest in any bigger record (a strategy's state), so an update is one pointer and no allocation. Types with a
window come from a factory, since the window is a size: `sma_state(20)` is the dtype of an SMA over 20 values.

Warm-up. `is_ready(state)` is true once `count` reached `warmup` inputs, of a state that no init accepted never. Before that `value` is the formula over the inputs
seen so far (0.0 before the first), never NaN; what counts as enough is stated at each init.

Inputs are finite floats, magnitude < 1e150; decoders let no NaN or infinity in, and nothing here tests for them.
float64 is right here: these are signals. Money and quantities stay int64 elsewhere. Results are the same bytes compiled and
not, on any machine: only + - * / and sqrt are used, in a written order.

Rolling sums are compensated (Kahan-Babuska, as Neumaier 1974) and restarted: beside the running sum goes a second one of the inputs since the
ring last wrapped; at the next wrap it is the sum of exactly the window, and replaces the first. So no rounding error, and
no trace of a huge input that left, outlives two windows. Rolling variance does the same with Welford's update and, when
cancellation would show (the sum of squares fell to a thousandth of its peak), is computed again from the window in two
passes; one such pass takes a fall by that factor, so its cost is bounded per input.
"""

from math import sqrt
from typing import Any, Final

import numpy as np

from twinloop.kernels.jit import njit

INDICATOR_OK: Final = 0
INDICATOR_BAD_SIZE: Final = 1

WINDOW_MAX: Final = 1 << 20
CANCELLATION: Final = 1e-3  # Fall of the sum of squares, from its peak, at which it is computed again.


def _dtype(*fields: Any) -> np.dtype[np.void]:
    common = [("value", "<f8"), ("count", "<i8"), ("warmup", "<i8")]
    return np.dtype([*common, *fields], align=True)


def _window(window: int) -> int:
    if not 1 <= window <= WINDOW_MAX:
        raise ValueError(f"window must be in 1..{WINDOW_MAX}, got {window}")
    return window


_ACCUMULATOR: Final = np.dtype(
    [("sum", "<f8"), ("carry", "<f8"), ("fresh_sum", "<f8"), ("fresh_carry", "<f8")], align=True
)

EMA: Final = _dtype(("alpha", "<f8"))
RSI: Final = _dtype(("period", "<f8"), ("last", "<f8"), ("gain", "<f8"), ("loss", "<f8"))
ATR: Final = _dtype(("period", "<f8"), ("last_close", "<f8"))
VWAP: Final = _dtype(
    ("session_ns", "<i8"),
    ("offset_ns", "<i8"),
    ("session_end_ns", "<i8"),
    ("notional", _ACCUMULATOR),
    ("volume", _ACCUMULATOR),
)


def rolling_sum_state(window: int) -> np.dtype[np.void]:
    """The record type of a rolling sum over `window` values (1..WINDOW_MAX; ValueError otherwise)."""
    return _dtype(("position", "<i8"), ("total", _ACCUMULATOR), ("buffer", "<f8", (_window(window),)))


def sma_state(window: int) -> np.dtype[np.void]:
    """The record type of a simple moving average over `window` values (1..WINDOW_MAX; ValueError otherwise)."""
    return rolling_sum_state(window)


def rolling_std_state(window: int) -> np.dtype[np.void]:
    """The record type of a rolling mean and standard deviation (1..WINDOW_MAX; ValueError otherwise)."""
    return _dtype(
        ("position", "<i8"),
        ("mean", "<f8"),
        ("squares", "<f8"),  # sum of squared deviations from the mean
        ("peak", "<f8"),  # largest `squares` since it was last exact
        ("fresh_mean", "<f8"),
        ("fresh_squares", "<f8"),
        ("total", _ACCUMULATOR),
        ("buffer", "<f8", (_window(window),)),
    )


def rolling_extreme_state(window: int) -> np.dtype[np.void]:
    """The record type of a rolling minimum or maximum (1..WINDOW_MAX; ValueError otherwise)."""
    size = _window(window)
    return _dtype(("head", "<i8"), ("length", "<i8"), ("values", "<f8", (size,)), ("indices", "<i8", (size,)))


def rolling_vwap_state(window: int) -> np.dtype[np.void]:
    """The record type of a VWAP over the last `window` trades (1..WINDOW_MAX; ValueError otherwise)."""
    size = _window(window)
    return _dtype(
        ("position", "<i8"),
        ("notional", _ACCUMULATOR),
        ("volume", _ACCUMULATOR),
        ("notionals", "<f8", (size,)),
        ("volumes", "<f8", (size,)),
    )


@njit(cache=True)
def is_ready(state: Any) -> bool:
    """Whether the indicator has seen enough inputs for its formula to hold in full; never before an init that returned INDICATOR_OK."""
    return bool(state["warmup"] > 0 and state["count"] >= state["warmup"])


# Exponential moving average.


@njit(cache=True)
def ema_init(state: Any, period: int) -> int:
    """EMA with alpha = 2 / (period + 1); period >= 1. Ready after `period` inputs."""
    if period < 1:
        return INDICATOR_BAD_SIZE
    _start(state, period)
    state["alpha"] = 2.0 / (period + 1.0)
    return INDICATOR_OK


@njit(cache=True)
def ema_init_alpha(state: Any, alpha: float, warmup: int) -> int:
    """EMA with a given alpha in (0, 1]; ready after `warmup` inputs (>= 1). Wilder's smoothing is alpha = 1 / period."""
    if not 0.0 < alpha <= 1.0 or warmup < 1:
        return INDICATOR_BAD_SIZE
    _start(state, warmup)
    state["alpha"] = alpha
    return INDICATOR_OK


@njit(cache=True)
def ema_update(state: Any, x: float) -> float:
    """Value += alpha * (x - value), from value = the first x (the recursive form, `adjust=False`)."""
    value = state["value"]
    if state["count"] == 0:
        value = x
    else:
        value += state["alpha"] * (x - value)
    state["count"] += 1
    state["value"] = value
    return value


# Rolling sum and simple moving average.


@njit(cache=True)
def rolling_sum_init(state: Any) -> int:
    """Empty the window. Ready after `window` inputs."""
    _start(state, state["buffer"].shape[0])
    state["position"] = 0
    _clear(state["total"])
    return INDICATOR_OK


@njit(cache=True)
def rolling_sum_update(state: Any, x: float) -> float:
    """The sum of the last `window` inputs (of all, while fewer)."""
    state["value"] = value = _slide(state, x)
    return value


@njit(cache=True)
def sma_init(state: Any) -> int:
    """Empty the window. Ready after `window` inputs."""
    return rolling_sum_init(state)


@njit(cache=True)
def sma_update(state: Any, x: float) -> float:
    """The mean of the last `window` inputs (of all, while fewer)."""
    total = _slide(state, x)
    state["value"] = value = total / min(state["count"], state["buffer"].shape[0])
    return value


# Rolling standard deviation.


@njit(cache=True)
def rolling_std_init(state: Any) -> int:
    """Empty the window. Ready after max(window, 2) inputs."""
    _start(state, max(state["buffer"].shape[0], 2))
    state["position"] = 0
    state["mean"] = 0.0
    state["squares"] = 0.0
    state["peak"] = 0.0
    state["fresh_mean"] = 0.0
    state["fresh_squares"] = 0.0
    _clear(state["total"])
    return INDICATOR_OK


@njit(cache=True)
def rolling_std_update(state: Any, x: float) -> float:
    """The sample standard deviation (n - 1) of the last `window` inputs; 0.0 with one. The mean is state["mean"].

    Welford (1962) for a growing window; for a sliding one the sum of squared deviations changes by
    (x - old) * (x - mean' + old - mean), mean' being the new mean.
    """
    buffer = state["buffer"]
    window = buffer.shape[0]
    position = state["position"]
    old = buffer[position]
    full = state["count"] >= window
    total = _slide(state, x)
    size = min(state["count"], window)
    old_mean = state["mean"]
    mean = total / size
    squares = state["squares"]
    if full:
        squares += (x - old) * ((x - mean) + (old - old_mean))
    else:
        squares += (x - old_mean) * (x - mean)
    # The second accumulator: inputs since the last wrap, by additions only.
    delta = x - state["fresh_mean"]
    state["fresh_mean"] += delta / (position + 1)
    state["fresh_squares"] += delta * (x - state["fresh_mean"])
    if position + 1 == window:
        squares = state["fresh_squares"]
        state["peak"] = squares
        state["fresh_mean"] = 0.0
        state["fresh_squares"] = 0.0
    if squares > state["peak"]:
        state["peak"] = squares
    elif squares < state["peak"] * CANCELLATION:
        squares = _squares(buffer, size, mean)
        state["peak"] = squares
    state["mean"] = mean
    state["squares"] = squares
    value = 0.0
    if size > 1:
        value = sqrt(squares / (size - 1))
    state["value"] = value
    return value


# Rolling minimum and maximum.


@njit(cache=True)
def rolling_min_init(state: Any) -> int:
    """Empty the window. Ready after `window` inputs. One state serves a minimum or a maximum, not both."""
    _start(state, state["values"].shape[0])
    state["head"] = 0
    state["length"] = 0
    return INDICATOR_OK


@njit(cache=True)
def rolling_max_init(state: Any) -> int:
    """Empty the window. Ready after `window` inputs. One state serves a minimum or a maximum, not both."""
    return rolling_min_init(state)


@njit(cache=True)
def rolling_min_update(state: Any, x: float) -> float:
    """The smallest of the last `window` inputs. A monotonic queue: each input is appended and removed once."""
    value = -_slide_max(state, -x)
    state["value"] = value
    return value


@njit(cache=True)
def rolling_max_update(state: Any, x: float) -> float:
    """The largest of the last `window` inputs. A monotonic queue: each input is appended and removed once."""
    value = _slide_max(state, x)
    state["value"] = value
    return value


# Wilder's RSI and ATR (New Concepts in Technical Trading Systems, 1978).


@njit(cache=True)
def rsi_init(state: Any, period: int) -> int:
    """RSI over `period` changes (>= 1). Ready after period + 1 inputs."""
    if period < 1:
        return INDICATOR_BAD_SIZE
    _start(state, period + 1)
    state["period"] = period
    state["last"] = 0.0
    state["gain"] = 0.0
    state["loss"] = 0.0
    state["value"] = 50.0
    return INDICATOR_OK


@njit(cache=True)
def rsi_update(state: Any, x: float) -> float:
    """100 * gain / (gain + loss), in 0..100; 50 while nothing has moved.

    gain and loss: plain means of the first `period` rises and falls, then Wilder's (previous * (period - 1) + new) / period.
    """
    count = state["count"]
    change = x - state["last"]
    state["last"] = x
    state["count"] = count + 1
    if count == 0:
        return state["value"]
    period = min(state["period"], count)
    gain = _wilder(state["gain"], max(0.0, change), period)
    loss = _wilder(state["loss"], -change if change < 0.0 else 0.0, period)
    state["gain"] = gain
    state["loss"] = loss
    moved = gain + loss
    state["value"] = value = 100.0 * (gain / moved) if moved > 0.0 else 50.0
    return value


@njit(cache=True)
def atr_init(state: Any, period: int) -> int:
    """ATR over `period` bars (>= 1). Ready after `period` bars."""
    if period < 1:
        return INDICATOR_BAD_SIZE
    _start(state, period)
    state["period"] = period
    state["last_close"] = 0.0
    return INDICATOR_OK


@njit(cache=True)
def atr_update(state: Any, high: float, low: float, close: float) -> float:
    """Wilder's average of the true range max(high - low, |high - last close|, |low - last close|).

    The first bar's range is high - low; plain mean of the first `period` ranges, then Wilder's smoothing.
    """
    count = state["count"] + 1
    true_range = high - low
    if count > 1:
        last_close = state["last_close"]
        true_range = max(true_range, abs(high - last_close), abs(low - last_close))
    state["last_close"] = close
    state["count"] = count
    state["value"] = value = _wilder(state["value"], true_range, min(state["period"], count))
    return value


# Volume-weighted average price.


@njit(cache=True)
def vwap_init(state: Any, session_ns: int, offset_ns: int) -> int:
    """VWAP since the session's start. session_ns: its length, 0 for never restarting; offset_ns: of starts from the epoch.

    Sessions start at offset_ns + k * session_ns (a day from midnight UTC: 86_400_000_000_000, 0). Ready after one trade of
    the session: `count` restarts with it.
    """
    if session_ns < 0:
        return INDICATOR_BAD_SIZE
    _start(state, 1)
    state["session_ns"] = session_ns
    state["offset_ns"] = offset_ns
    state["session_end_ns"] = 2**63 - 1 if session_ns == 0 else -(2**63)
    _clear(state["notional"])
    _clear(state["volume"])
    return INDICATOR_OK


@njit(cache=True)
def vwap_update(state: Any, price: float, qty: float, ts_ns: int) -> float:
    """sum(price * qty) / sum(qty) over the session; the price while no quantity was traded. ts_ns does not fall; qty >= 0."""
    notional = state["notional"]
    volume = state["volume"]
    if ts_ns >= state["session_end_ns"]:
        session_ns = state["session_ns"]
        state["session_end_ns"] = ts_ns - (ts_ns - state["offset_ns"]) % session_ns + session_ns
        _clear(notional)
        _clear(volume)
        state["count"] = 0
    state["count"] += 1
    _add(notional, price * qty)
    _add(volume, qty)
    value = price
    traded = volume["sum"] + volume["carry"]
    if traded > 0.0:
        value = (notional["sum"] + notional["carry"]) / traded
    state["value"] = value
    return value


@njit(cache=True)
def rolling_vwap_init(state: Any) -> int:
    """Empty the window. Ready after `window` trades."""
    _start(state, state["volumes"].shape[0])
    state["position"] = 0
    _clear(state["notional"])
    _clear(state["volume"])
    return INDICATOR_OK


@njit(cache=True)
def rolling_vwap_update(state: Any, price: float, qty: float) -> float:
    """sum(price * qty) / sum(qty) over the last `window` trades. qty > 0."""
    notionals = state["notionals"]
    volumes = state["volumes"]
    position = state["position"]
    full = state["count"] >= volumes.shape[0]
    last = position + 1 == volumes.shape[0]
    notional = _replace(state["notional"], price * qty, notionals[position], full, last)
    traded = _replace(state["volume"], qty, volumes[position], full, last)
    notionals[position] = price * qty
    volumes[position] = qty
    state["position"] = 0 if last else position + 1
    state["count"] += 1
    value = notional / traded if traded > 0.0 else price
    state["value"] = value
    return value


# Of the book.


@njit(cache=True)
def book_imbalance(bid_qty: float, ask_qty: float) -> float:
    """(bid - ask) / (bid + ask) in -1..1; 0.0 when both are zero. Quantities >= 0, of the best level or summed over levels.

    Stateless, always ready. Cont, Kukanov & Stoikov (2014) and Gould & Bonart (2016) study it at the best level.
    """
    total = float(bid_qty) + float(ask_qty)
    if total <= 0.0:
        return 0.0
    return (float(bid_qty) - float(ask_qty)) / total


@njit(cache=True)
def microprice(bid: float, ask: float, bid_qty: float, ask_qty: float) -> float:
    """The mid weighted by the opposite quantities, (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty); the mid if both are 0.

    Stateless, always ready. Written as bid + spread * weight, so that it lies between bid and ask.
    """
    total = float(bid_qty) + float(ask_qty)
    weight = 0.5
    if total > 0.0:
        weight = float(bid_qty) / total
    return float(bid) + (float(ask) - float(bid)) * weight


# Helpers.


@njit(cache=True)
def _start(state: Any, warmup: int) -> None:
    state["value"] = 0.0
    state["count"] = 0
    state["warmup"] = warmup


@njit(cache=True)
def _wilder(average: float, x: float, period: float) -> float:
    """One step of Wilder's smoothing; with period = the number of inputs so far it is their plain mean."""
    return average + (x - average) / period


@njit(cache=True)
def _clear(accumulator: Any) -> None:
    accumulator["sum"] = 0.0
    accumulator["carry"] = 0.0
    accumulator["fresh_sum"] = 0.0
    accumulator["fresh_carry"] = 0.0


@njit(cache=True)
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """A + b rounded, and what the rounding lost (Knuth, TAOCP 2, 4.2.2 theorem B)."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


@njit(cache=True)
def _add(accumulator: Any, x: float) -> None:
    total, lost = _two_sum(accumulator["sum"], x)
    accumulator["sum"] = total
    accumulator["carry"] += lost


@njit(cache=True)
def _replace(accumulator: Any, x: float, old: float, full: bool, wraps: bool) -> float:
    """Add x, remove old when the window is full, return the sum; at a wrap the fresh sum takes over."""
    fresh_sum, lost = _two_sum(accumulator["fresh_sum"], x)
    fresh_carry = accumulator["fresh_carry"] + lost
    if wraps:
        accumulator["sum"] = fresh_sum
        accumulator["carry"] = fresh_carry
        accumulator["fresh_sum"] = 0.0
        accumulator["fresh_carry"] = 0.0
        return fresh_sum + fresh_carry
    accumulator["fresh_sum"] = fresh_sum
    accumulator["fresh_carry"] = fresh_carry
    total, lost = _two_sum(accumulator["sum"], x)
    carry = accumulator["carry"] + lost
    if full:
        total, lost = _two_sum(total, -old)
        carry += lost
    accumulator["sum"] = total
    accumulator["carry"] = carry
    return total + carry


@njit(cache=True)
def _slide(state: Any, x: float) -> float:
    """Put x into the ring and return the sum of the window."""
    buffer = state["buffer"]
    position = state["position"]
    last = position + 1 == buffer.shape[0]
    total = _replace(state["total"], x, buffer[position], state["count"] >= buffer.shape[0], last)
    buffer[position] = x
    state["position"] = 0 if last else position + 1
    state["count"] += 1
    return total


@njit(cache=True)
def _squares(buffer: Any, size: int, mean: float) -> float:
    """Sum of squared deviations of buffer[:size] (order does not matter to a full ring), corrected for the mean's rounding."""
    squares = 0.0
    rest = 0.0
    for i in range(size):
        deviation = buffer[i] - mean
        squares += deviation * deviation
        rest += deviation
    return max(squares - rest * rest / size, 0.0)  # Chan, Golub & LeVeque (1983), equation 1.7.


@njit(cache=True)
def _slide_max(state: Any, x: float) -> float:
    """Append x to the queue of falling candidates, drop what it dominates and what left the window; return the head."""
    values = state["values"]
    indices = state["indices"]
    window = values.shape[0]
    count = state["count"]
    head = state["head"]
    length = state["length"]
    if length > 0 and indices[head] <= count - window:
        head = 0 if head + 1 == window else head + 1
        length -= 1
    while length > 0:
        tail = head + length - 1
        if tail >= window:
            tail -= window
        if values[tail] > x:
            break
        length -= 1
    tail = head + length
    if tail >= window:
        tail -= window
    values[tail] = x
    indices[tail] = count
    state["head"] = head
    state["length"] = length + 1
    state["count"] = count + 1
    return values[head]
