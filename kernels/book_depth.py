"""Questions asked of an order book: a level's quantity, the next level, depth, imbalance, the cost of a sweep.

Nothing here changes a book. Side index 0 is bid, 1 is ask; prices and quantities are scaled int64. How levels are stored is
explained in kernels/book_window.py; callers import these functions from kernels/book.py.
"""

from typing import Final

import numpy as np

from twinloop.kernels.bits import Int, grid_offset
from twinloop.kernels.book_window import BOOK_INNER, NO_KEY, overflow_search, window_find, window_is_empty
from twinloop.kernels.jit import njit
from twinloop.kernels.money import OK, checked_add, checked_mul

NO_PRICE: Final = -(2**63)  # No level, or no limit; never a price.


@njit(cache=True)
def qty_at(book: np.void, side_index: Int, price: Int) -> Int:
    """Quantity of a level, 0 if there is none."""
    key = -int(price) if side_index else int(price)
    window = book["qty"].shape[1]
    offset = grid_offset(key, book["base_key"][side_index], book["tick_inverse"], book["tick_shift"])
    if 0 <= offset < window:
        return book["qty"][side_index, (book["base_slot"][side_index] + offset) & (window - 1)]
    at = overflow_search(book, side_index, key)
    if at < book["overflow_count"][side_index] and book["overflow_key"][side_index, at] == key:
        return book["overflow_qty"][side_index, at]
    return np.int64(0)


@njit(cache=True)
def next_level(book: np.void, side_index: Int, price: Int) -> Int:
    """Price of the next level farther from the market than price, which need not be a level; NO_PRICE after the last."""
    key, _ = _next_key(book, side_index, -int(price) if side_index else int(price))
    if key == NO_KEY:
        return NO_PRICE
    return -key if side_index else key


@njit(cache=True)
def depth(book: np.void, side_index: Int, levels: Int, out_prices: np.ndarray, out_qtys: np.ndarray) -> Int:
    """Write the best levels, best first, to (>= levels,) int64 arrays; return how many there were."""
    count = np.int64(0)
    key = book["best_key"][side_index]
    qty = book["best_ask_qty"] if side_index else book["best_bid_qty"]
    while key != NO_KEY and count < levels:
        out_prices[count] = -key if side_index else key
        out_qtys[count] = qty
        count += 1
        key, qty = _next_key(book, side_index, key)
    return count


@njit(cache=True)
def depth_qty(book: np.void, side_index: Int, levels: Int) -> Int:
    """Total quantity of the best levels."""
    total = np.int64(0)
    key = book["best_key"][side_index]
    qty = book["best_ask_qty"] if side_index else book["best_bid_qty"]
    for _ in range(levels):
        if key == NO_KEY:
            break
        total += qty
        key, qty = _next_key(book, side_index, key)
    return total


@njit(cache=True)
def imbalance(book: np.void, levels: Int) -> float:
    """(bid quantity - ask quantity) / their sum over the best levels, within -1..1; 0.0 of an empty book.

    The sums are exact; the one rounding is the division's, and the conversions' above 2**53. A signal, not an amount.
    """
    bid = depth_qty(book, 0, levels)
    ask = depth_qty(book, 1, levels)
    total = bid + ask
    return (bid - ask) / total if total > 0 else 0.0


@njit(cache=True)
def sweep_cost(book: np.void, side_index: Int, qty: Int, limit_price: Int) -> tuple[Int, Int, Int, Int]:
    """What taking qty from one side (1: buying from the asks) would fill now, level by level, without changing the book.

    limit_price: the worst price accepted, inclusive; NO_PRICE takes all. Returns (filled quantity, notional = sum of price *
    quantity, last price touched or NO_PRICE, money.OK or money.OVERFLOW). On OVERFLOW the notional is 0, the rest still holds.
    O(levels taken).
    """
    limit_key = np.int64(NO_KEY)
    if limit_price != NO_PRICE:
        limit_key = -limit_price if side_index else limit_price
    filled = np.int64(0)
    notional: Int = np.int64(0)
    last_key = np.int64(NO_KEY)
    status = np.int64(OK)
    key = book["best_key"][side_index]
    level_qty = book["best_ask_qty"] if side_index else book["best_bid_qty"]
    while filled < qty and key != NO_KEY and key >= limit_key:
        taken = min(level_qty, qty - filled)
        cost, first = checked_mul(-key if side_index else key, taken)
        notional, second = checked_add(notional, cost)
        status |= first | second
        filled += taken
        last_key = key
        key, level_qty = _next_key(book, side_index, key)
    last_price = np.int64(NO_PRICE)
    if last_key != NO_KEY:
        last_price = -last_key if side_index else last_key
    return filled, notional if status == OK else np.int64(0), last_price, status


@njit(**BOOK_INNER)
def _next_key(book: np.void, side: Int, key: Int) -> tuple[Int, Int]:
    """Key and quantity of the best level with a key < key; (NO_KEY, 0) if there is none."""
    window = book["qty"].shape[1]
    base_key = book["base_key"][side]
    next_key = np.int64(NO_KEY)
    next_qty = np.int64(0)
    if key > base_key and not window_is_empty(book, side):
        offset = grid_offset(key, base_key, book["tick_inverse"], book["tick_shift"])
        if not 0 <= offset < window:  # Above the window, or off the grid: round up to the grid.
            offset = min((key - base_key - 1) // book["tick_size"] + 1, window)
        found = window_find(book, side, offset - 1)
        if found >= 0:
            next_key = base_key + found * book["tick_size"]
            next_qty = book["qty"][side, (book["base_slot"][side] + found) & (window - 1)]
    count = book["overflow_count"][side]
    if count > 0 and not (next_key > book["overflow_key"][side, count - 1]):
        at = overflow_search(book, side, key) - 1
        if at >= 0 and book["overflow_key"][side, at] > next_key:
            next_key = book["overflow_key"][side, at]
            next_qty = book["overflow_qty"][side, at]
    return next_key, next_qty
