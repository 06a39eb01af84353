"""The compiled part of the synthetic market: one symbol's order flow around a moving fundamental, as rows.

An event is one message of the venue at one venue time: trades against the book as it was shown, then limit orders and
cancels, then the changed levels and, if the best changed, a quote. The model's parts and where they come from:
- event times: a self-exciting intensity, base * (1 + heat), heat raised by the events that bring market orders (Hawkes 1971); it decays as
  1 / (1 + dt / decay), a rational stand-in for the exponential, and holds between events;
- limit prices: distance from the own best with a power-law tail (Zovko & Farmer 2002), sizes likewise (Gopikrishnan et
  al. 2000); adds and cancels balance at a target depth, so that the book is stationary (Smith et al. 2003 in spirit);
- the fundamental: a random walk on a time grid with a factor shared by symbols and an own part that may revert; the book
  jumps to it once it is more than a threshold away, so that the best price rests most of the time, as it does in reality.

Bytes. Randomness comes as words in arrays, drawn by the caller; a row depends on how many were used before it and on
nothing else, so chunks may be of any size. Only + - * / on float64 and table look-ups are used: no libm, the same bytes
on every machine, compiled or not. This module must not draw, allocate, or know of files and instruments.
"""

from typing import Any, Final

import numpy as np

from twinloop.kernels.jit import njit
from twinloop.kernels.rows import (
    FLAG_EVENT_END,
    FLAG_SYNTHETIC,
    LEVEL,
    QUOTE,
    SNAPSHOT_BEGIN,
    SNAPSHOT_END,
    SNAPSHOT_LEVEL,
    TRADE,
)

FLOW_FULL: Final = 1  # out has no room for another event
FLOW_WORDS: Final = 2  # own words run low: refill
FLOW_COMMON_WORDS: Final = 3  # shared words are used up: refill
FLOW_DONE: Final = 4  # the next event is at or past stop_ns
FLOW_START: Final = 5  # flow_start must come first

RING: Final = 8192  # Ticks of the book held at once, a power of two: 2 * DEPTH_MAX + the widest spread.
RING_MASK: Final = RING - 1
DEPTH_MAX: Final = 1024  # Levels a side, in ticks.
JUMP_MAX: Final = 256  # Ticks the book follows the fundamental in one event.
DIRTY_MAX: Final = 4 * DEPTH_MAX
ACTIONS_MAX: Final = 60
PRINTS_MAX: Final = 16
LEVELS_TAKEN_MAX: Final = 3
EVENT_ROWS_MAX: Final = DIRTY_MAX + PRINTS_MAX + 1
EVENT_WORDS_MAX: Final = 2 * ACTIONS_MAX + PRINTS_MAX + 40
FUNDAMENTAL_MIN: Final = 4.0  # Ticks.
TABLE: Final = 1024
NO_LIMIT: Final = 2**60  # Ticks, beyond any price.
GAP_MIN_NS: Final = 1000

# Typed constants: numba compiles a callee anew for every literal it is called with.
_ZERO: Final[Any] = np.int64(0)
_ONE: Final[Any] = np.int64(1)
_TRADE: Final[Any] = np.int64(TRADE)
_QUOTE: Final[Any] = np.int64(QUOTE)
_LEVEL: Final[Any] = np.int64(LEVEL)
_BEGIN: Final[Any] = np.int64(SNAPSHOT_BEGIN)
_SNAPSHOT: Final[Any] = np.int64(SNAPSHOT_LEVEL)
_END: Final[Any] = np.int64(SNAPSHOT_END)
_FRACTION_BITS: Final = 53
_FRACTION_MASK: Final = 2**53 - 1
_FRACTION: Final = 2.0**-53
_TAIL_BITS: Final = 43
_TAIL_MASK: Final = 2**43 - 1
_TAIL: Final = 2.0**-43
_UNIT16: Final = 65536
_NORMAL_SCALE: Final = 1.0 / 18918.613584684
_SPIKE_FACTOR: Final = 5.0
_EVENT_END_BIT: Final = FLAG_EVENT_END << 40

FLOW: Final = np.dtype(
    [
        # Settings.
        ("tick_size", "<i8"),
        ("lot_size", "<i8"),
        ("depth_ticks", "<i8"),  # levels further from the best than this are dropped
        ("grid_ns", "<i8"),  # step of the fundamental
        ("start_ns", "<i8"),
        ("start_ticks", "<f8"),
        ("gap_ns", "<f8"),  # mean gap between events at zero heat
        ("excitation", "<f8"),  # heat per event of that share
        ("decay_ns", "<f8"),
        ("market_share", "<i8"),  # of 65536 events, those that start with a market order
        ("actions", "<f8"),  # mean limit orders and cancels per event, less one
        ("best_lots", "<f8"),  # target quantity of the best level
        ("trade_lots", "<f8"),  # scale of a print's size
        ("offset_ticks", "<f8"),  # scale of a limit order's distance
        ("threshold_ticks", "<f8"),  # mean distance of the fundamental at which the book follows
        ("common_ticks", "<f8"),  # standard deviation of one grid step, shared part
        ("own_ticks", "<f8"),  # the same, own part
        ("reversion", "<f8"),  # share of the own part that decays in one grid step
        ("latency_ns", "<i8"),
        ("jitter_ns", "<f8"),
        # State.
        ("started", "<i8"),
        ("filled", "<i8"),  # rows written by the last call
        ("next_ns", "<i8"),
        ("now_ns", "<i8"),
        ("local_ns", "<i8"),
        ("grid_at_ns", "<i8"),
        ("words_at", "<i8"),
        ("common_at", "<i8"),
        ("heat", "<f8"),
        ("common", "<f8"),
        ("own", "<f8"),
        ("fundamental", "<f8"),
        ("threshold", "<f8"),
        ("bid", "<i8"),  # best prices, ticks
        ("ask", "<i8"),
        ("quote_bid", "<i8"),  # what the last quote said
        ("quote_ask", "<i8"),
        ("quote_bid_lots", "<i8"),
        ("quote_ask_lots", "<i8"),
        ("update_id", "<i8"),
        ("trade_id", "<i8"),
        ("last_side", "<i8"),
        ("events", "<i8"),
        ("dirty_count", "<i8"),
        ("dirty", "<i8", (DIRTY_MAX,)),  # tick * 2 + (1 for an ask)
        ("before", "<i8", (DIRTY_MAX,)),  # its quantity before the event
        ("seen", "<i8", (2 * RING,)),  # the event that last touched a level of a side
        ("lots", "<i8", (RING,)),  # quantity at tick & RING_MASK: a bid up to `bid`, an ask from `ask`
        ("exponential", "<f8", (TABLE,)),  # quantiles -ln(1 - i / TABLE)
        ("pareto", "<f8", (TABLE,)),  # quantiles (1 - i / TABLE) ** (-1 / exponent)
    ],
    align=True,
)


@njit(cache=True)
def flow_start(flow: Any, words: np.ndarray, out: np.ndarray) -> int:
    """Fill the book and write its snapshot and first quote. Returns the rows written.

    flow: settings and tables filled in, state zero. words: (>= 4 * DEPTH_MAX,) int64 in 0..2**63. out: (n, 8) int64 words
    of rows, n >= 2 * DEPTH_MAX + 3.
    """
    depth = flow["depth_ticks"]
    flow["fundamental"] = flow["start_ticks"]
    flow["bid"] = int(flow["start_ticks"])
    flow["ask"] = flow["bid"] + 1
    flow["now_ns"] = flow["start_ns"]
    flow["grid_at_ns"] = flow["start_ns"]
    flow["threshold"] = flow["threshold_ticks"]
    flow["last_side"] = 1
    flow["update_id"] = 1
    _receive(flow, words)
    filled = _put(flow, out, _ZERO, _BEGIN, _ZERO, _ONE, _ZERO, _ZERO, _ONE, _ZERO)
    for side in (1, -1):
        best = flow["bid"] if side > 0 else flow["ask"]
        for offset in range(depth):
            tick = best - side * offset
            word = _word(flow, words)
            if tick < 1 or (offset > 0 and word & 1):
                continue
            lots = _size(flow, word, 0.7 * _target(flow, offset))
            flow["lots"][tick & RING_MASK] = lots
            price = tick * flow["tick_size"]
            qty = lots * flow["lot_size"]
            filled = _put(flow, out, filled, _SNAPSHOT, _ONE * side, _ONE, price, qty, _ONE, _ZERO)
    filled = _put(flow, out, filled, _END, _ZERO, _ONE, _ZERO, _ZERO, _ONE, _ZERO)
    filled = _quote(flow, out, filled)
    flow["started"] = 1
    _schedule(flow, words)
    return filled


@njit(cache=True)
def flow_run(flow: Any, words: np.ndarray, common_words: np.ndarray, out: np.ndarray, stop_ns: int) -> int:
    """Write whole events to out until something runs out; flow["filled"] rows were written. Returns FLOW_*.

    words, common_words: int64 in 0..2**63, read from flow["words_at"] and flow["common_at"] on; the caller refills by
    moving the rest to the front. common_words are the same for all symbols of a market. out: (n, 8) int64 words of rows.
    """
    filled = _ZERO
    status = FLOW_START
    while flow["started"]:  # At most one event per EVENT_WORDS_MAX words or GAP_MIN_NS.
        status = _move(flow, words, common_words)
        if status:
            break
        if flow["next_ns"] >= stop_ns:
            status = FLOW_DONE
            break
        if out.shape[0] - filled < EVENT_ROWS_MAX:
            status = FLOW_FULL
            break
        if words.shape[0] - flow["words_at"] < EVENT_WORDS_MAX:
            status = FLOW_WORDS
            break
        filled = _event(flow, words, out, filled)
    flow["filled"] = filled
    return status


@njit(cache=True)
def _event(flow: Any, words: np.ndarray, out: np.ndarray, filled: int) -> int:
    flow["now_ns"] = flow["next_ns"]
    flow["events"] += 1
    flow["dirty_count"] = 0
    old_bid = flow["bid"]
    old_ask = flow["ask"]
    _receive(flow, words)
    word = _word(flow, words)
    away = flow["fundamental"] - 0.5 * (old_bid + old_ask)
    market = word & 0xFFFF < flow["market_share"]
    if market:
        flow["heat"] += flow["excitation"]
    if abs(away) > flow["threshold"]:
        filled = _jump(flow, words, out, filled, 1 if away > 0.0 else -1, word)
    elif market:
        filled = _market_order(flow, words, out, filled, away, word >> 16)
    _orders(flow, words)
    _trim(flow, old_bid, old_ask)
    filled = _levels(flow, out, filled)
    filled = _quote(flow, out, filled)
    _schedule(flow, words)
    return filled


@njit(cache=True)
def _jump(flow: Any, words: np.ndarray, out: np.ndarray, filled: int, side: int, word: int) -> int:
    """Follow the fundamental: side +1 up. What rests before it is bought or withdrawn, and new bests are placed."""
    best = flow["ask"] if side > 0 else flow["bid"]
    target = int(flow["fundamental"])
    if side > 0:
        target = min(max(target + 1, best + 1), best + JUMP_MAX)
    else:
        target = max(min(target, best - 1), best - JUMP_MAX, 2)
    if side * (target - best) <= 0:
        return filled
    if word & 7 < 5:
        filled = _take(flow, words, out, filled, side, target)
    tick = flow["ask"] if side > 0 else flow["bid"]
    while side * (target - tick) > 0:
        if flow["lots"][tick & RING_MASK] > 0:
            _touch(flow, tick, -side, _ZERO)
        tick += side
    if side > 0:
        flow["ask"] = target
    else:
        flow["bid"] = target
    if flow["lots"][target & RING_MASK] == 0:
        _touch(flow, target, -side, _size(flow, _word(flow, words), 0.3 * flow["best_lots"]))
    if (word >> 3) & 1:
        tick = target - side
        if side > 0:
            flow["bid"] = tick
        else:
            flow["ask"] = tick
        _touch(flow, tick, side, _size(flow, _word(flow, words), 0.3 * flow["best_lots"]))
    flow["threshold"] = flow["threshold_ticks"] * (0.5 + 0.5 * _exponential(flow["exponential"], _word(flow, words)))
    return filled


@njit(cache=True)
def _market_order(flow: Any, words: np.ndarray, out: np.ndarray, filled: int, away: float, bits: int) -> int:
    """A market order: half of them repeat the last side (orders are split), half lean towards the fundamental."""
    side = flow["last_side"]
    if bits & 1:
        lean = 0.5 + 0.45 * away / flow["threshold"]  # |away| <= threshold here.
        side = 1 if ((bits >> 1) & 0xFFFF) < lean * _UNIT16 else -1
        flow["last_side"] = side
    return _take(flow, words, out, filled, side, NO_LIMIT * side)


@njit(cache=True)
def _take(flow: Any, words: np.ndarray, out: np.ndarray, filled: int, side: int, limit: int) -> int:
    """Buy (+1) or sell (-1) from the best level on, one row per resting order met; limit: first tick not taken."""
    prints = 1 + min(int(3.4 * _exponential(flow["exponential"], _word(flow, words))), PRINTS_MAX - 1)
    levels = 0
    for _ in range(prints):
        tick = flow["ask"] if side > 0 else flow["bid"]
        if side * (limit - tick) <= 0:
            break
        shown = flow["lots"][tick & RING_MASK]
        lots = min(_size(flow, _word(flow, words), flow["trade_lots"]), shown)
        if lots == shown and side < 0 and tick <= 2:
            lots -= 1  # A price never reaches zero.
            if lots == 0:
                break
        flow["trade_id"] += 1
        filled = _put(
            flow,
            out,
            filled,
            _TRADE,
            side,
            flow["trade_id"],
            tick * flow["tick_size"],
            lots * flow["lot_size"],
            flow["trade_id"],
            _ZERO,
        )
        _touch(flow, tick, -side, shown - lots)
        flow["before"][flow["dirty_count"] - 1] = -1  # A level that traded is always shown again.
        if lots == shown:
            found = _next_best(flow, side, tick)
            levels += 1
            if not found or levels == LEVELS_TAKEN_MAX:
                break
    return filled


@njit(cache=True)
def _next_best(flow: Any, side: int, tick: int) -> bool:
    """The level at tick, taken from `side`, is gone: find the next one. False: the side was empty and one was put there."""
    lots = flow["lots"]
    best = tick + side
    found = False
    for offset in range(1, flow["depth_ticks"] + 1):
        at = tick + side * offset
        if at < 1:
            break
        if lots[at & RING_MASK] > 0:
            best = at
            found = True
            break
    if not found:
        _touch(flow, best, -side, 1 + int(flow["best_lots"]))
    if side > 0:
        flow["ask"] = best
    else:
        flow["bid"] = best
    return found


@njit(cache=True)
def _orders(flow: Any, words: np.ndarray) -> None:
    """Limit orders and cancels of one event."""
    exponential = flow["exponential"]
    lots = flow["lots"]
    depth = flow["depth_ticks"]
    actions = 1 + min(int(flow["actions"] * _exponential(exponential, _word(flow, words))), ACTIONS_MAX - 1)
    for action in range(actions):
        word = _word(flow, words)
        size_word = _word(flow, words)
        side = 1 - 2 * (word & 1)
        coin = (word >> 1) & 0xFFFF
        chance = size_word & 0xFFFF
        offset = 0
        if action > 0 or coin > 52428:  # Four events in five touch a best level.
            offset = int(flow["offset_ticks"] * (_pareto(flow["pareto"], word) - 1.0))
            if offset >= depth:
                offset = size_word % depth
        elif coin & 1 and flow["ask"] - flow["bid"] > 1:
            _improve(flow, side, size_word)
            continue
        best = flow["bid"] if side > 0 else flow["ask"]
        tick = best - side * offset
        if tick < 1:
            continue
        held = lots[tick & RING_MASK]
        target = _target(flow, offset)
        if chance * (held + target) < _UNIT16 * target:
            scale = 0.1 * target if offset == 0 else target
            _touch(flow, tick, side, held + _size(flow, size_word, scale))
        elif offset > 0 and coin & 2:
            if held > 0:
                _touch(flow, tick, side, _ZERO)
        elif held > 1:
            _touch(flow, tick, side, held - min(held - 1, _size(flow, size_word, 0.1 * held)))


@njit(cache=True)
def _improve(flow: Any, side: int, word: int) -> None:
    """A limit order inside the spread, up to the fundamental."""
    target = int(flow["fundamental"])
    if side > 0:
        target = min(target, flow["ask"] - 1, flow["bid"] + JUMP_MAX)
        if target <= flow["bid"]:
            return
        flow["bid"] = target
    else:
        target = max(target + 1, flow["bid"] + 1, flow["ask"] - JUMP_MAX)
        if target >= flow["ask"]:
            return
        flow["ask"] = target
    _touch(flow, target, side, _size(flow, word, 0.3 * flow["best_lots"]))


@njit(cache=True)
def _trim(flow: Any, old_bid: int, old_ask: int) -> None:
    """Drop levels that the move of the best left too far behind."""
    depth = flow["depth_ticks"]
    for tick in range(max(old_bid - depth, 0) + 1, flow["bid"] - depth + 1):
        if flow["lots"][tick & RING_MASK] > 0:
            _touch(flow, tick, _ONE, _ZERO)
    for tick in range(flow["ask"] + depth, old_ask + depth):
        if flow["lots"][tick & RING_MASK] > 0:
            _touch(flow, tick, -_ONE, _ZERO)


@njit(cache=True)
def _levels(flow: Any, out: np.ndarray, filled: int) -> int:
    """Rows of the levels that changed, absolute quantities."""
    first = filled
    count = flow["dirty_count"]
    tick_size = flow["tick_size"]
    lot_size = flow["lot_size"]
    update_id = flow["update_id"] + count
    for i in range(count):
        key = flow["dirty"][i]
        tick = key >> 1
        lots = flow["lots"][tick & RING_MASK]
        side = 1
        if key & 1:
            side = -1
            if tick < flow["ask"]:
                lots = 0
        elif tick > flow["bid"]:
            lots = 0
        if lots != flow["before"][i]:
            filled = _put(
                flow, out, filled, _LEVEL, side, update_id, tick * tick_size, lots * lot_size, update_id, _ZERO
            )
    if filled > first:
        flow["update_id"] = update_id
        out[filled - 1, 3] |= _EVENT_END_BIT
    return filled


@njit(cache=True)
def _quote(flow: Any, out: np.ndarray, filled: int) -> int:
    """A row of the best bid and ask, if they or their quantities changed."""
    bid = flow["bid"]
    ask = flow["ask"]
    bid_lots = flow["lots"][bid & RING_MASK]
    ask_lots = flow["lots"][ask & RING_MASK]
    if (
        bid == flow["quote_bid"]
        and ask == flow["quote_ask"]
        and bid_lots == flow["quote_bid_lots"]
        and ask_lots == flow["quote_ask_lots"]
    ):
        return filled
    flow["quote_bid"] = bid
    flow["quote_ask"] = ask
    flow["quote_bid_lots"] = bid_lots
    flow["quote_ask_lots"] = ask_lots
    return _put(
        flow,
        out,
        filled,
        _QUOTE,
        _ZERO,
        flow["update_id"],
        bid * flow["tick_size"],
        bid_lots * flow["lot_size"],
        ask * flow["tick_size"],
        ask_lots * flow["lot_size"],
    )


@njit(cache=True)
def _move(flow: Any, words: np.ndarray, common_words: np.ndarray) -> int:
    """Bring the fundamental to the next event's time, one grid step at a time; 0 when there, else what runs out."""
    while flow["grid_at_ns"] + flow["grid_ns"] <= flow["next_ns"]:
        if flow["words_at"] >= words.shape[0]:
            return FLOW_WORDS
        if flow["common_at"] >= common_words.shape[0]:
            return FLOW_COMMON_WORDS
        common_word = common_words[flow["common_at"]]
        flow["common_at"] += 1
        flow["common"] += flow["common_ticks"] * _normal(common_word)
        own = flow["own"]
        flow["own"] = own - flow["reversion"] * own + flow["own_ticks"] * _normal(_word(flow, words))
        flow["grid_at_ns"] += flow["grid_ns"]
    fundamental = flow["start_ticks"] + flow["common"] + flow["own"]
    flow["fundamental"] = max(fundamental, FUNDAMENTAL_MIN)
    return 0


@njit(cache=True)
def _schedule(flow: Any, words: np.ndarray) -> None:
    """Draw the next event's time."""
    gap = flow["gap_ns"] * _exponential(flow["exponential"], _word(flow, words)) / (1.0 + flow["heat"])
    gap_ns = max(int(gap), GAP_MIN_NS)
    flow["next_ns"] = flow["now_ns"] + gap_ns
    flow["heat"] /= 1.0 + gap_ns / flow["decay_ns"]


@njit(cache=True)
def _receive(flow: Any, words: np.ndarray) -> None:
    """Draw the event's local time: latency, jitter and a rare spike; messages of a feed do not overtake."""
    word = _word(flow, words)
    delay = flow["jitter_ns"] * _exponential(flow["exponential"], word)
    if word & 63 == 0:
        delay += _SPIKE_FACTOR * flow["jitter_ns"] * _exponential(flow["exponential"], _word(flow, words))
    flow["local_ns"] = max(flow["local_ns"], flow["now_ns"] + flow["latency_ns"] + int(delay))


@njit(cache=True)
def _target(flow: Any, offset: int) -> float:
    """Mean lots of a level: high at the best, thin behind it, growing again further out."""
    if offset == 0:
        return flow["best_lots"]
    return flow["best_lots"] * (0.01 + 0.0001 * min(offset, 200))


@njit(cache=True)
def _size(flow: Any, word: int, scale: float) -> int:
    """At least one lot; the tail is a power law (Lomax), capped at about 10^4 scales."""
    return 1 + int(scale * (_pareto(flow["pareto"], word) - 1.0))


@njit(cache=True)
def _touch(flow: Any, tick: int, side: int, lots: int) -> None:
    """Set a level of a side and remember that it changed in this event."""
    slot = tick & RING_MASK
    ask_bit = 0 if side > 0 else 1
    if flow["seen"][2 * slot + ask_bit] != flow["events"]:
        flow["seen"][2 * slot + ask_bit] = flow["events"]
        count = flow["dirty_count"]
        flow["dirty"][count] = 2 * tick + ask_bit
        flow["before"][count] = flow["lots"][slot]
        flow["dirty_count"] = count + 1
    flow["lots"][slot] = lots


@njit(cache=True)
def _put(
    flow: Any,
    out: np.ndarray,
    at: int,
    kind: int,
    side: int,
    sequence: int,
    word_32: int,
    word_40: int,
    word_48: int,
    word_56: int,
) -> int:
    row = out[at]
    row[0] = flow["now_ns"]
    row[1] = flow["local_ns"]
    row[2] = sequence
    row[3] = kind | ((side & 0xFF) << 8) | (FLAG_SYNTHETIC << 40)
    row[4] = word_32
    row[5] = word_40
    row[6] = word_48
    row[7] = word_56
    return at + 1


@njit(cache=True)
def _word(flow: Any, words: np.ndarray) -> int:
    at = flow["words_at"]
    flow["words_at"] = at + 1
    return words[at]


@njit(cache=True)
def _normal(word: int) -> float:
    """About standard normal: the sum of four uniform parts of 15 bits, range +-3.46."""
    total = (word & 0x7FFF) + ((word >> 15) & 0x7FFF) + ((word >> 30) & 0x7FFF) + ((word >> 45) & 0x7FFF)
    return (total - 65534) * _NORMAL_SCALE


@njit(cache=True)
def _exponential(table: np.ndarray, word: int) -> float:
    """Unit exponential by interpolated quantiles; beyond the last one it starts again from there (it has no memory)."""
    cell = word >> _FRACTION_BITS
    fraction = word & _FRACTION_MASK
    if cell < TABLE - 1:
        return table[cell] + (table[cell + 1] - table[cell]) * (fraction * _FRACTION)
    return table[TABLE - 1] + _tail(table, fraction)


@njit(cache=True)
def _pareto(table: np.ndarray, word: int) -> float:
    """Pareto from 1 by interpolated quantiles; beyond the last one it starts again from there (it has no scale)."""
    cell = word >> _FRACTION_BITS
    fraction = word & _FRACTION_MASK
    if cell < TABLE - 1:
        return table[cell] + (table[cell + 1] - table[cell]) * (fraction * _FRACTION)
    return table[TABLE - 1] * _tail(table, fraction)


@njit(cache=True)
def _tail(table: np.ndarray, fraction: int) -> float:
    cell = fraction >> _TAIL_BITS
    if cell >= TABLE - 1:
        return table[TABLE - 1]
    return table[cell] + (table[cell + 1] - table[cell]) * ((fraction & _TAIL_MASK) * _TAIL)
