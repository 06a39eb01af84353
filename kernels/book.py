"""The L2 order book: absolute quantities by price, kept from level and snapshot rows; best prices are plain fields.

One record per book (`book_dtype`), used for what a strategy sees and for what the simulated venue holds. Zeroed memory is an empty
book; `book_clear` gives it a tick size. Side index 0 is bid, 1 is ask. Prices and quantities are scaled int64, |price| < 2**61,
quantity >= 0; an absent best has quantity 0 and price 0. Nothing is dropped silently: a level off the tick grid is kept aside and
counted, a level without room or a row without meaning makes the book INVALID and is counted, until the next clear or snapshot.
This module must not know of orders, time or sequence numbers: whether the feed has a gap is a row that the edge writes.

Work per row: near the market O(1), a few instructions. The worst row moves at most `window` levels between window and overflow and
shifts or searches the overflow once (O(window + overflow levels)). The window moves only when the best comes above it, falls into
its lower half or leaves it empty, and then to three quarters, so that a quarter of the window has to be crossed between two moves in
one direction. `set_tick_size` and clears are O(levels).
"""

from functools import lru_cache
from typing import Final

import numpy as np

from twinloop.kernels import rows
from twinloop.kernels.bits import (
    BIT_MASK,
    WORD_BITS,
    WORD_SHIFT,
    Int,
    bit,
    bits_through,
    grid_offset,
    highest_bit,
    odd_inverse,
    set_word,
)
from twinloop.kernels.book_depth import NO_PRICE, depth, imbalance, next_level, qty_at, sweep_cost
from twinloop.kernels.book_window import (
    BOOK_INNER,
    NO_KEY,
    overflow_set,
    window_anchor,
    window_clear,
    window_copy,
    window_evict,
    window_find,
    window_is_empty,
    window_lower,
    window_raise,
    window_refill,
)
from twinloop.kernels.intrinsics import out_of_line, word_at
from twinloop.kernels.jit import njit

__all__ = [
    "NO_PRICE",
    "book_apply",
    "book_clear",
    "book_copy",
    "book_dtype",
    "book_event_end",
    "book_gap",
    "book_set",
    "book_snapshot_begin",
    "book_snapshot_end",
    "book_snapshot_level",
    "depth",
    "imbalance",
    "next_level",
    "qty_at",
    "set_tick_size",
    "sweep_cost",
]

BID: Final = 0
ASK: Final = 1

# States (`book["state"]`). Only LIVE and CROSSED books are complete; only of a LIVE one are the prices tradable.
BOOK_EMPTY: Final = 0  # Cleared and nothing seen since. Levels without a snapshot make it LIVE: some feeds have none.
BOOK_SNAPSHOT: Final = 1  # Between SNAPSHOT_BEGIN and SNAPSHOT_END.
BOOK_LIVE: Final = 2
BOOK_CROSSED: Final = 3  # At the last event end the best bid was at or above the best ask.
BOOK_GAP: Final = 4  # The feed lost messages: levels are kept and updated, and not to be trusted until a snapshot.
BOOK_INVALID: Final = 5  # A level was lost or a row made no sense: not to be trusted until a clear or snapshot.

# Statuses of a call. From BOOK_FULL to BOOK_MISPLACED the book has become INVALID.
BOOK_OK: Final = 0
BOOK_OFF_GRID: Final = 1  # Kept, aside, and counted in `off_grid`.
BOOK_IGNORED: Final = 2  # Not a kind that concerns a book.
BOOK_FULL: Final = 3  # The overflow had no room; counted in `lost`.
BOOK_BAD_PRICE: Final = 4  # This and the following were refused; counted in `invalid`.
BOOK_BAD_QTY: Final = 5
BOOK_BAD_TICK: Final = 6  # No tick size was given, or one outside 1..2**40.
BOOK_MISPLACED: Final = 7  # A snapshot level or end outside a snapshot; the level itself is applied.

_MOVED: Final = 16

HEADER_WORDS: Final = 24  # Words before `summary`: three cache lines.
PRICE_MAX: Final = 2**61
TICK_MAX: Final = 2**40
OVERFLOW_LEVELS: Final = 8192  # A busy BTC perpetual shows 5,400 levels a side, 4,200 of them beyond 1,536 ticks.


@lru_cache
def book_dtype(window_levels: int, overflow_levels: int = OVERFLOW_LEVELS) -> np.dtype[np.void]:
    """The record of a book whose window spans window_levels ticks a side (a power of two, 64 .. 2**18).

    Three quarters of the window lie behind the best price. The record holds 16 bytes per window level and 32 per overflow
    level. Raises ValueError.
    """
    if not WORD_BITS <= window_levels <= 2**18 or window_levels & (window_levels - 1):
        raise ValueError(f"book window must be a power of two within {WORD_BITS}..{2**18} levels, got {window_levels}")
    if overflow_levels < 1:
        raise ValueError(f"book overflow must hold at least one level a side, got {overflow_levels}")
    words = window_levels // WORD_BITS
    summary_words = (words + WORD_BITS - 1) // WORD_BITS
    dtype = np.dtype(
        [
            # One cache line: what most rows and most readers touch. The first four are words 0 + side and 2 + side of _store_best.
            ("best_bid", "<i8"),
            ("best_ask", "<i8"),
            ("best_bid_qty", "<i8"),
            ("best_ask_qty", "<i8"),
            ("best_key", "<i8", (2,)),  # NO_KEY without levels
            ("base_key", "<i8", (2,)),  # key of the window's offset 0
            ("base_slot", "<i8", (2,)),
            ("tick_inverse", "<i8"),
            ("tick_shift", "<i8"),
            ("tick_size", "<i8"),
            ("state", "<i8"),
            ("replaced_qty", "<i8"),  # what the level of the last book_set held before
            ("lost", "<i8"),  # levels the overflow had no room for, ever
            ("overflow_count", "<i8", (2,)),  # levels now in the overflow; those in the window have their bits
            ("off_grid", "<i8"),  # sets of a price off the tick grid, ever
            ("rebases", "<i8"),  # moves of a window, ever
            ("invalid", "<i8"),  # rows refused, ever
            ("crossed", "<i8"),  # times the book became crossed, ever
            ("rest_of_line", "<i8", (2,)),
            ("summary", "<i8", (2, summary_words)),
            ("occupied", "<i8", (2, words)),
            ("qty", "<i8", (2, window_levels)),
            ("overflow_key", "<i8", (2, overflow_levels)),
            ("overflow_qty", "<i8", (2, overflow_levels)),
        ],
        align=True,
    )
    assert dtype.fields is not None
    assert [dtype.fields[name][1] for name in ("best_bid", "best_ask", "best_bid_qty", "best_ask_qty")] == [
        0,
        8,
        16,
        24,
    ]
    assert dtype.fields["summary"][1] == 8 * HEADER_WORDS
    return dtype


@njit(cache=True, forceinline=True)
def book_apply(book: np.void, row: np.void) -> Int:
    """Apply one ROW of this book's instrument; return a status. An event end (FLAG_EVENT_END) settles the state."""
    kind = row["kind"]
    if kind not in (rows.LEVEL, rows.SNAPSHOT_LEVEL):
        return _apply_other(book, row)
    status = book_set(book, np.int64(row["side"] < 0), row["price"], row["qty"])
    if kind == rows.SNAPSHOT_LEVEL:
        return _check_snapshot(book, status)
    if row["flags"] & rows.FLAG_EVENT_END:
        book_event_end(book)
    return status


@njit(cache=True, forceinline=True)
def book_set(book: np.void, side_index: Int, price: Int, qty: Int) -> Int:
    """Set the quantity of a level, 0 removing it (also one that is not there); return a status.

    `replaced_qty` then holds what the level held before. The state changes only to INVALID; see book_event_end.
    """
    status = np.int64(BOOK_OK)
    side = side_index & 1
    key = -int(price) if side else int(price)
    offset = grid_offset(key, book["base_key"][side], book["tick_inverse"], book["tick_shift"])
    if not (0 <= offset < book["qty"].shape[1] and qty >= 0):
        status = set_outside(book, side, key, qty)
        if status < _MOVED:
            return status
        status -= _MOVED
        offset = grid_offset(key, book["base_key"][side], book["tick_inverse"], book["tick_shift"])
    slot = (book["base_slot"][side] + offset) & (book["qty"].shape[1] - 1)
    old = book["qty"][side, slot]
    # Whether a level appears or vanishes, and whether it is the best, no processor can predict: neither is a branch here.
    flips = (old > 0) != (qty > 0)
    if flips & (book["tick_inverse"] == 0):  # Never cleared: every price seems to be offset 0.
        return _refuse(book, BOOK_BAD_TICK)
    word = slot >> WORD_SHIFT
    before = book["occupied"][side, word]
    bits = before ^ (np.int64(flips) << (slot & BIT_MASK))
    book["occupied"][side, word] = bits
    if (before == 0) != (bits == 0):
        book["summary"][side, word >> WORD_SHIFT] ^= bit(word & BIT_MASK)
    book["qty"][side, slot] = qty
    book["replaced_qty"] = old
    best_key = book["best_key"][side]
    if (qty == 0) & (key == best_key):
        # The next level is mostly near: in the same word of bits, so with no wrap of the ring between.
        below = bits & bits_through(slot & BIT_MASK)
        steps = (slot & BIT_MASK) - highest_bit(below) if below != 0 else offset
        following = key - steps * book["tick_size"]
        count = book["overflow_count"][side]
        if offset - steps < book["qty"].shape[1] // 2 or (
            count > 0 and book["overflow_key"][side, count - 1] > following
        ):
            _leave_best(book, side)
        else:
            _store_best(book, side, following, book["qty"][side, slot - steps])
    else:
        best = (qty > 0) & (key >= best_key)
        book["best_key"][side] = key if best else best_key
        set_word(book, side, (-key if side else key) if best else word_at(book, side))
        set_word(book, 2 + side, qty if best else word_at(book, 2 + side))
    return status


@njit(cache=True)
def book_event_end(book: np.void) -> None:
    """Settle the state after the last row of a venue message: LIVE or CROSSED, EMPTY while no level was ever seen.

    A book whose last level went stays LIVE. GAP, SNAPSHOT and INVALID wait for their end, a snapshot or a clear.
    """
    crossed = book["best_key"][BID] + book["best_key"][ASK] >= 0
    state = book["state"]
    if state == (BOOK_CROSSED if crossed else BOOK_LIVE):
        return
    if state in (BOOK_EMPTY, BOOK_LIVE, BOOK_CROSSED):
        _settle(book, crossed)


@njit(cache=True)
def book_clear(book: np.void, tick_size: Int) -> Int:
    """Remove all levels, set the tick size, state EMPTY; counters stay. BOOK_BAD_TICK (and INVALID) outside 1..2**40."""
    for side in range(2):
        window_clear(book, side)
        book["overflow_count"][side] = 0
        _store_best(book, side, NO_KEY, 0)
    book["replaced_qty"] = 0
    if not 0 < tick_size <= TICK_MAX:
        return _refuse(book, BOOK_BAD_TICK)
    _store_tick(book, tick_size)
    book["state"] = BOOK_EMPTY
    return BOOK_OK


@njit(cache=True)
def set_tick_size(book: np.void, tick_size: Int) -> Int:
    """Change the tick size and lay all levels out anew; return a status.

    Each side's levels pass through the overflow: BOOK_FULL (and INVALID) if they do not fit there all at once. Levels that
    are off the new grid stay aside, without being counted in `off_grid`, which counts rows.
    """
    if not 0 < tick_size <= TICK_MAX:
        return _refuse(book, BOOK_BAD_TICK)
    if tick_size == book["tick_size"]:
        return BOOK_OK
    lost = np.int64(0)
    for side in range(2):
        lost += window_evict(book, side, book["qty"].shape[1])
    _store_tick(book, tick_size)
    for side in range(2):
        window_refill(book, side)
        _find_best(book, side)
    return _lose(book, lost) if lost > 0 else BOOK_OK


@njit(cache=True)
def book_snapshot_begin(book: np.void) -> Int:
    """Remove all levels and await the snapshot's; return a status."""
    status = book_clear(book, book["tick_size"])
    if status == BOOK_OK:
        book["state"] = BOOK_SNAPSHOT
    return status


@njit(cache=True)
def book_snapshot_level(book: np.void, side_index: Int, price: Int, qty: Int) -> Int:
    """Set one level of a snapshot; return a status."""
    return _check_snapshot(book, book_set(book, side_index, price, qty))


@njit(cache=True)
def book_snapshot_end(book: np.void) -> Int:
    """End a snapshot: EMPTY, LIVE or CROSSED, or still INVALID if a level was lost; return a status."""
    if book["state"] == BOOK_SNAPSHOT:
        _settle(book, book["best_key"][BID] + book["best_key"][ASK] >= 0)
        return BOOK_OK
    if book["state"] == BOOK_INVALID:
        return BOOK_OK
    return _refuse(book, BOOK_MISPLACED)


@njit(cache=True)
def book_gap(book: np.void) -> Int:
    """The feed lost messages: state GAP until the next snapshot or clear (an INVALID book stays so)."""
    if book["state"] != BOOK_INVALID:
        book["state"] = BOOK_GAP
    return BOOK_OK


@njit(**BOOK_INNER)
def book_copy(book: np.void, source: np.void) -> None:
    """Make a book what another of the same size is. O(levels of both)."""
    out_of_line()
    for side in range(2):
        window_copy(book, source, side)
    for place in range(HEADER_WORDS):
        set_word(book, place, word_at(source, place))


# Helpers. None may be called from elsewhere.


@njit(**BOOK_INNER)
def _apply_other(book: np.void, row: np.void) -> Int:
    """Apply a row that is not a level."""
    out_of_line()
    kind = row["kind"]
    if kind == rows.SNAPSHOT_BEGIN:
        return book_snapshot_begin(book)
    if kind == rows.SNAPSHOT_END:
        return book_snapshot_end(book)
    if kind == rows.CLEAR:
        return book_clear(book, book["tick_size"])
    if kind == rows.FEED_GAP:
        return book_gap(book)
    if kind == rows.INSTRUMENT and not row["flags"] & rows.FLAG_TAIL:
        return set_tick_size(book, row["tick_size"])
    return BOOK_IGNORED


@njit(**BOOK_INNER)
def _check_snapshot(book: np.void, status: Int) -> Int:
    """The status of a snapshot level: outside a snapshot it is misplaced."""
    if book["state"] == BOOK_SNAPSHOT or status >= BOOK_FULL:
        return status
    return _refuse(book, BOOK_MISPLACED)


@njit(**BOOK_INNER)
def set_outside(book: np.void, side: Int, key: Int, qty: Int) -> Int:
    """Set a level that the window does not cover, or refuse what no level can be; return a status.

    Where the window was moved over the level's price instead, the level is still to be set: returns _MOVED + status.
    """
    out_of_line()
    tick_size = book["tick_size"]
    if tick_size <= 0:
        return _refuse(book, BOOK_BAD_TICK)
    if not -PRICE_MAX < key < PRICE_MAX:
        return _refuse(book, BOOK_BAD_PRICE)
    if qty < 0:
        return _refuse(book, BOOK_BAD_QTY)
    on_grid = key % tick_size == 0
    window = book["qty"].shape[1]
    if on_grid and (window_is_empty(book, side) or key > book["base_key"][side]):
        # An empty window, or a price above it: there is no such level yet.
        book["replaced_qty"] = 0
        if qty == 0:
            return BOOK_OK
        steps = (key - book["base_key"][side]) // tick_size - (window - window // 4)
        if steps >= window or steps <= -window or window_is_empty(book, side):
            lost = window_evict(book, side, window)
            window_anchor(book, side, key)
            book["rebases"] += 1
        else:
            lost = window_raise(book, side, steps)
        return _MOVED + (_lose(book, lost) if lost > 0 else BOOK_OK)
    book["off_grid"] += 0 if on_grid else 1
    best_key = book["best_key"][side]
    lost = overflow_set(book, side, key, qty)
    if qty > 0 and key >= best_key:
        _store_best(book, side, key, qty)
    elif qty == 0 and key == best_key:
        _leave_best(book, side)
    if lost > 0:
        return _lose(book, lost)
    return BOOK_OK if on_grid else BOOK_OFF_GRID


@njit(**BOOK_INNER)
def _leave_best(book: np.void, side: Int) -> None:
    """The best level was removed: find the next one, and move the window after it when it lies in the lower half."""
    out_of_line()
    window = book["qty"].shape[1]
    if window_is_empty(book, side):
        window_refill(book, side)
    else:
        top = window_find(book, side, window - 1)
        if top < window // 2:
            window_lower(book, side, window - window // 4 - top)
    _find_best(book, side)


@njit(**BOOK_INNER)
def _find_best(book: np.void, side: Int) -> None:
    """Store the best level, from the window's top and the overflow's last entry (better than that only if off the grid)."""
    key = NO_KEY
    qty = np.int64(0)
    window = book["qty"].shape[1]
    top = window_find(book, side, window - 1)
    if top >= 0:
        key = book["base_key"][side] + top * book["tick_size"]
        qty = book["qty"][side, (book["base_slot"][side] + top) & (window - 1)]
    count = book["overflow_count"][side]
    if count > 0 and book["overflow_key"][side, count - 1] > key:
        key = book["overflow_key"][side, count - 1]
        qty = book["overflow_qty"][side, count - 1]
    _store_best(book, side, key, qty)


@njit(**BOOK_INNER)
def _store_best(book: np.void, side: Int, key: Int, qty: Int) -> None:
    book["best_key"][side] = key
    price = np.int64(0) if qty == 0 else (-key if side else key)
    set_word(book, side, price)  # Two fields by number: which side it is cannot be predicted.
    set_word(book, 2 + side, qty)


@njit(**BOOK_INNER)
def _store_tick(book: np.void, tick_size: Int) -> None:
    """Store the tick size as itself and as what grid_offset divides by; put empty windows onto the grid."""
    shift = np.int64(0)
    while (tick_size >> shift) & 1 == 0:
        shift += 1
    book["tick_size"] = tick_size
    book["tick_shift"] = shift
    book["tick_inverse"] = odd_inverse(tick_size >> shift)
    for side in range(2):
        book["base_key"][side] = 0
        book["base_slot"][side] = 0


@njit(**BOOK_INNER)
def _settle(book: np.void, crossed: bool) -> None:
    out_of_line()
    if crossed:
        book["state"] = BOOK_CROSSED
        book["crossed"] += 1
    elif book["state"] == BOOK_CROSSED or max(book["best_key"][BID], book["best_key"][ASK]) > NO_KEY:
        book["state"] = BOOK_LIVE
    else:
        book["state"] = BOOK_EMPTY


@njit(**BOOK_INNER)
def _lose(book: np.void, levels: Int) -> Int:
    book["lost"] += levels
    book["state"] = BOOK_INVALID
    return BOOK_FULL


@njit(**BOOK_INNER)
def _refuse(book: np.void, status: Int) -> Int:
    out_of_line()
    book["invalid"] += 1
    book["state"] = BOOK_INVALID
    return status
