"""The price path assumed through a bar, when bars are all there is: open, one extreme, the other, close, at thirds of the interval.

An order that arrives inside a bar gets the path's price at that moment; at the start, exactly the open. A limit or stop is reached when
the path crosses it. Between the four points the path is a straight line; prices are rounded to the tick against us.
"""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import CEILING, FLOOR, mul_div
from twinloop.kernels.node import NEVER
from twinloop.kernels.venue import PATH_NEAREST, PATH_OHLC, PATH_OLHC


@njit(cache=True)
def _high_first(venue: Any, bar: Any, side: int) -> bool:
    path = venue["path"]
    if path == PATH_OHLC:
        return True
    if path == PATH_OLHC:
        return False
    if path == PATH_NEAREST:
        return bar["high"] - bar["open"] <= bar["open"] - bar["low"]
    return side > 0


@njit(cache=True)
def _point(venue: Any, bar: Any, side: int, index: int) -> int:
    if index == 0:
        return int(bar["open"])
    if index == 3:
        return int(bar["close"])
    return int(bar["high"]) if (index == 1) == _high_first(venue, bar, side) else int(bar["low"])


@njit(cache=True)
def _time(bar: Any, index: int) -> int:
    return int(bar["start_ns"]) + (int(bar["end_ns"]) - int(bar["start_ns"])) * index // 3


@njit(cache=True)
def _to_tick(price: int, tick: int, side: int) -> int:
    """Nearest tick that is not better for us: up for a buy, down for a sell."""
    if tick <= 0:
        return price
    return -(-price // tick) * tick if side > 0 else price // tick * tick


@njit(cache=True)
def _between(start: int, end: int, elapsed_ns: int, span_ns: int, side: int) -> int:
    """Where a straight line from start to end stands after elapsed_ns of span_ns, rounded against us to a whole unit."""
    moved, _ = mul_div(end - start, elapsed_ns, span_ns, CEILING if side > 0 else FLOOR)
    return start + moved


@njit(cache=True)
def path_price(venue: Any, market: Any, side: int, now_ns: int) -> int:
    """What a taker of a side pays at a moment of the current bar; 0 outside it."""
    out_of_line()
    bar = market["bar"]
    if bar["open"] == 0 or now_ns >= bar["end_ns"]:
        return 0
    if now_ns <= bar["start_ns"]:
        return int(bar["open"])
    for index in range(3):
        end_ns = _time(bar, index + 1)
        if now_ns <= end_ns:
            start_ns = _time(bar, index)
            start = _point(venue, bar, side, index)
            if end_ns == start_ns:
                return start
            price = _between(start, _point(venue, bar, side, index + 1), now_ns - start_ns, end_ns - start_ns, side)
            return _to_tick(price, int(market["tick_size"]), side)
    return int(bar["close"])


@njit(cache=True)
def schedule(venue: Any, market: Any, order: Any) -> None:
    """Find when the current bar's path reaches an order's price after its arrival, and the fill's price; NEVER if not in this bar.

    A limit order is reached when the path trades through its price (or touches it, where so configured), at its own price; a stop when the
    path is at its trigger, at the trigger. Where the path is there already - at the open, or when a stop arrives - at the path's price.
    """
    out_of_line()
    bar = market["bar"]
    order["path_ns"] = NEVER
    if bar["open"] == 0:
        return
    from_ns = max(int(order["arrived_ns"]), int(bar["start_ns"]))
    if from_ns >= bar["end_ns"]:
        return
    side = int(order["side"])
    stop = order["working"] == 2
    level = int(order["trigger_price"]) if stop else int(order["price"])
    upward = (side > 0) == stop  # Reached by a rising path: a stop to buy, a limit to sell.
    here = path_price(venue, market, side, from_ns)
    if here >= level if upward else here <= level:
        order["path_ns"] = from_ns
        order["path_price"] = here
        return
    margin = 0 if stop or venue["touch_fills"] == 1 else 1
    order["path_price"] = level
    for index in range(3):
        end_ns = _time(bar, index + 1)
        start_ns = _time(bar, index)
        end = _point(venue, bar, side, index + 1)
        if end_ns <= from_ns or (end < level + margin if upward else end > level - margin):
            continue
        start = _point(venue, bar, side, index)
        at_ns = start_ns
        if start < level if upward else start > level:
            waited, _ = mul_div(level - start, end_ns - start_ns, end - start, CEILING)
            at_ns = start_ns + waited
        order["path_ns"] = max(at_ns, from_ns)
        return


@njit(cache=True)
def is_market_like(order: Any) -> bool:
    """Whether an order takes whatever price there is."""
    return bool(order["type"] == codes.MARKET or order["type"] == codes.STOP)


@njit(cache=True)
def is_immediate(order: Any) -> bool:
    """Whether what an order cannot take at once expires."""
    in_force = int(order["flags"]) & codes.TIME_IN_FORCE_MASK
    return bool(in_force == codes.IOC or in_force == codes.FOK)
